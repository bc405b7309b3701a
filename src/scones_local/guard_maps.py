"""Guard, Map states: what belongs to which mode, and what the local Distributed Map does not do."""

from collections.abc import Iterator

from scones_local.wire import Json

Fault = tuple[str, str]
"""Where below the state, and what is wrong."""

DISTRIBUTED_ONLY = (
    *("ItemReader", "ItemBatcher", "ResultWriter", "Label"),
    *("ToleratedFailureCount", "ToleratedFailureCountPath"),
    *("ToleratedFailurePercentage", "ToleratedFailurePercentagePath"),
)
READERS = ("arn:aws:states:::s3:getObject", "arn:aws:states:::s3:listObjectsV2")
WRITER = "arn:aws:states:::s3:putObject"
INPUT_TYPES = ("CSV", "JSON", "JSONL")
BATCHER = {"MaxItemsPerBatch", "MaxInputBytesPerBatch", "BatchInput"}
LARGEST_INPUT_BYTES = 262_144
LONGEST_LABEL = 40


def map_faults(state: Json, language: str) -> Iterator[Fault]:
    """Everything that is wrong with the fields that only Map states have."""
    if ("ItemProcessor" in state) == ("Iterator" in state):
        yield "", "exactly one of 'ItemProcessor' and 'Iterator' is required"
        return
    processor = state.get("ItemProcessor")
    config = processor.get("ProcessorConfig") if isinstance(processor, dict) else None
    if not isinstance(config, dict) or config.get("Mode", "INLINE") == "INLINE":
        yield from _inline(state)
    else:
        yield from _distributed(state, config, language)


def _inline(state: Json) -> Iterator[Fault]:
    for name in DISTRIBUTED_ONLY:
        if name in state:
            yield f"/{name}", f"{name!r} needs a Distributed Map"
    if "MaxConcurrencyPath" in state:
        yield "/MaxConcurrencyPath", "the local cloud ignores it in an inline Map, so it refuses it"


def _distributed(state: Json, config: Json, language: str) -> Iterator[Fault]:
    if language == "JSONata":
        yield "", "the local cloud runs a Distributed Map in JSONPath only"
    if config.get("Mode") != "DISTRIBUTED" or config.get("ExecutionType") not in ("STANDARD", "EXPRESS"):
        yield "/ItemProcessor/ProcessorConfig", "DISTRIBUTED and an ExecutionType, STANDARD or EXPRESS, are required"
    if len(str(state.get("Label", ""))) > LONGEST_LABEL:
        yield "/Label", f"a label has at most {LONGEST_LABEL} characters"
    for name in ("ToleratedFailureCount", "ToleratedFailurePercentage", "MaxConcurrency"):
        if name in state and f"{name}Path" in state:
            yield f"/{name}", f"{name!r} and '{name}Path' exclude each other"
    yield from _reader(state.get("ItemReader"))
    yield from _batcher(state.get("ItemBatcher"))
    yield from _writer(state.get("ResultWriter"))


def _reader(reader: object) -> Iterator[Fault]:
    if reader is None:
        return
    if not isinstance(reader, dict) or reader.get("Resource") not in READERS:
        yield "/ItemReader/Resource", f"one of {', '.join(READERS)} is required"
        return
    config = reader.get("ReaderConfig", {})
    if not isinstance(config, dict):
        yield "/ItemReader/ReaderConfig", "an object is required"
    elif reader["Resource"] == READERS[0] and config.get("InputType") not in INPUT_TYPES:
        yield "/ItemReader/ReaderConfig/InputType", f"the local cloud reads {', '.join(INPUT_TYPES)} only"


def _batcher(batcher: object) -> Iterator[Fault]:
    if batcher is None:
        return
    if not isinstance(batcher, dict) or not BATCHER & set(batcher) - {"BatchInput"}:
        yield "/ItemBatcher", "'MaxItemsPerBatch' or 'MaxInputBytesPerBatch' is required"
        return
    for name in set(batcher) - BATCHER:
        yield f"/ItemBatcher/{name}", f"the local cloud ignores {name!r}, so it refuses it"
    for name in BATCHER - {"BatchInput"}:
        value = batcher.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            yield f"/ItemBatcher/{name}", f"{value!r} is not a whole number of at least 1"
        elif name == "MaxInputBytesPerBatch" and value > LARGEST_INPUT_BYTES:
            yield f"/ItemBatcher/{name}", f"at most {LARGEST_INPUT_BYTES} bytes are allowed"


def _writer(writer: object) -> Iterator[Fault]:
    if writer is None:
        return
    if not isinstance(writer, dict) or writer.get("Resource") != WRITER or "Parameters" not in writer:
        yield "/ResultWriter", f"the resource {WRITER} and its 'Parameters' are required"
        return
    for name in set(writer) - {"Resource", "Parameters"}:
        yield f"/ResultWriter/{name}", f"the local cloud ignores {name!r}, so it refuses it"
