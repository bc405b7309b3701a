"""Hold requests and replies against botocore's own models: members, types, enumerations, lengths, and error codes."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "character": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (datetime, int, float, str),
    "blob": (bytes, str),
}

COMMON_CODES = frozenset(
    {
        *("AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"),
        *("ThrottlingException", "ValidationError", "ValidationException", "UnrecognizedClientException"),
        # S3 models few of its errors; these are documented:
        # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        *("404", "BucketNotEmpty", "NoSuchBucket", "NoSuchKey", "NoSuchTagSet", "NoSuchUpload"),
        *("PreconditionFailed", "413"),
        # SQS goes on giving the code of its older protocol, which botocore prefers.
        "AWS.SimpleQueueService.NonExistentQueue",
    }
)
"""Codes that any operation may answer with, and that the models therefore leave out."""

JAVA_ONLY = ("\\p", "\\uD", "(?i)")
"""Unicode classes, pairs of surrogates and flags in the middle of a pattern: Python does not know them."""

UNMODELLED = frozenset({"REVIEW_IN_PROGRESS"})
"""Values that AWS gives although its own models do not list them: the first event of a stack made by a change set."""


def faults(shape: Shape | None, value: Any, path: str = "", *, raw: bool = False) -> Iterator[str]:
    """Where *value* departs from *shape*; *raw* is JSON off the wire, where unknown members show."""
    if value is None:
        return
    if isinstance(shape, StructureShape):
        yield from _structure(shape, value, path, raw=raw)
    elif isinstance(shape, ListShape):
        if not isinstance(value, list | tuple):
            yield f"{path}: {type(value).__name__} instead of a list"
            return
        for index, item in enumerate(value):
            yield from faults(shape.member, item, f"{path}[{index}]", raw=raw)
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from faults(shape.value, item, f"{path}.{key}", raw=raw)
    elif shape is not None:
        yield from _scalar(shape, value, path)


def _structure(shape: StructureShape, value: Any, path: str, *, raw: bool) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {type(value).__name__} instead of a structure"
        return
    names = {m.serialization.get("name", n) if raw else n: m for n, m in shape.members.items()}
    for name in value:
        if name not in names:
            yield f"{path}.{name}: not a member of {shape.name}"
        else:
            yield from faults(names[name], value[name], f"{path}.{name}", raw=raw)
    wanted = {shape.members[n].serialization.get("name", n) if raw else n for n in shape.required_members}
    for name in wanted - value.keys():
        yield f"{path}.{name}: required, and missing"


def _scalar(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if shape.name == "policyDocumentType" and isinstance(value, dict):
        return  # botocore has read the JSON already
    expected = TYPES[shape.type_name]
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        if not hasattr(value, "read"):
            yield f"{path}: {value!r} instead of a {shape.type_name}"
        return
    choices = shape.metadata.get("enum")
    if choices and value not in choices and value not in UNMODELLED:
        yield f"{path}: {value!r} is not one of {choices}"
    pattern = shape.metadata.get("pattern")
    if (
        pattern
        and not any(words in pattern for words in JAVA_ONLY)
        and isinstance(value, str)
        and not re.fullmatch(pattern, value)
    ):
        yield f"{path}: {value!r} does not match {pattern}"


def request_faults(operation: OperationModel, members: dict[str, Any]) -> list[str]:
    """Everything in a request that AWS's model does not allow, lengths and sizes included."""
    found = list(faults(operation.input_shape, members, operation.name))
    return found + list(_sizes(operation.input_shape, members, operation.name))


def _sizes(shape: Shape | None, value: Any, path: str) -> Iterator[str]:
    """Where a text, a list, a map or a number is outside the bounds of its shape."""
    if shape is None or value is None:
        return
    size = value if shape.type_name in ("integer", "long", "float", "double") else _length(value)
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if size is not None and ((least is not None and size < least) or (most is not None and size > most)):
        yield f"{path}: {size} is not between {least} and {most}"
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name in value.keys() & shape.members.keys():
            yield from _sizes(shape.members[name], value[name], f"{path}.{name}")
    elif isinstance(shape, ListShape):
        for index, item in enumerate(value):
            yield from _sizes(shape.member, item, f"{path}[{index}]")
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from _sizes(shape.key, key, f"{path}.{key}")
            yield from _sizes(shape.value, item, f"{path}.{key}")


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str | bytes | list | tuple | dict) else None


def reply_faults(operation: OperationModel, parsed: dict[str, Any], body: bytes) -> list[str]:
    """Everything that is wrong with a successful reply."""
    members = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    found = list(faults(operation.output_shape, members, operation.name))
    protocol = operation.service_model.metadata["protocol"]
    payload = operation.output_shape.serialization.get("payload") if operation.output_shape else None
    if protocol in ("json", "rest-json") and body and operation.output_shape and not payload:
        found += faults(operation.output_shape, json.loads(body), operation.name, raw=True)
    return found


def error_faults(operation: OperationModel, parsed: dict[str, Any]) -> list[str]:
    """Whether an error's code is one that the operation may give."""
    modelled = {shape.metadata.get("error", {}).get("code", shape.name) for shape in operation.error_shapes}
    modelled |= {shape.name for shape in operation.error_shapes}
    code = parsed.get("Error", {}).get("Code")
    if code in modelled | COMMON_CODES:
        return [] if parsed["Error"].get("Message") else [f"{operation.name}: {code} has no message"]
    return [f"{operation.name}: the code {code!r} is not among {sorted(modelled)}"]
