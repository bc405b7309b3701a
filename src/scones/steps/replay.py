"""Replay: reproduce a recorded decision exactly, or show what another model or threshold would have decided."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scones.aws.connection import Aws
from scones.dispatch.order_book import Item
from scones.domain.decision import PHOTO_LIMIT_BYTES, Outcome, decide, outcome_of_confidence
from scones.domain.errors import EvaluationError, require_writable
from scones.domain.naming import MODELS_PREFIX, split_prefix
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.text import plural
from scones.model.inference import Model
from scones.model.model_file import ModelFile, open_model_file
from scones.serving.image_input import read_photos
from scones.serving.options import Limits
from scones.serving.responses import ModelInfo, Refusal, prediction

_VERBOSE = b"application/json;verbose=true"
_COMPARED = ("model_version", "inferences", "unfamiliarity", "unfamiliar", "label", "confidence", "outcome")


class CannotReplay(EvaluationError):
    """The decision is not recorded, or its photo or model no longer exists."""


@dataclass(frozen=True, slots=True)
class ReplayResult(StepResult):
    """One execution's decision, reproduced; *differences* is empty if it is identical."""

    execution: str
    photo_id: str
    photo: str
    model_version: str
    outcome: str
    label: str
    confidence: float
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RejudgeResult(StepResult):
    """The newest recorded decision of each photo, decided again."""

    FIGURE = ("changes", "name", "value")

    photos: int
    same: int
    changes: Mapping[str, int]
    """The number of photos by change of decision: `bicycle classified -> bicycle below_threshold`."""
    missing: int
    """Photos that are no longer in S3, so that another model cannot classify them."""
    model_version: str
    """The other model; empty if the recorded probabilities were used."""
    threshold: float | None


MAX_EXPLAINED = 30
"""The most decisions that one page explains."""


@dataclass(frozen=True, slots=True)
class ExplanationPage(StepResult):
    """A page of explanations: its path, and how many photos it explains."""

    page: str
    photos: int


def replay(aws: Aws, execution: str, model_uri: str, report: Reporter) -> ReplayResult:
    """Reproduce the decision of *execution* from its photo, model and threshold.

    Tries the model at *model_uri* first, then all others in the bucket.

    Raises:
        CannotReplay: there is no such decision, or its photo or model no longer exists.
    """
    record = _find(aws, execution)
    photo = _photo(aws, record)
    version = str(record.get("model_version", ""))
    if record["outcome"] == Outcome.UNREADABLE:
        found: dict[str, Any] = {"outcome": Outcome.UNREADABLE if _is_unreadable(photo) else "readable"}
    else:
        with _model(aws, version, model_uri) as model_file:
            report.tell(f"model {model_file.version}, photo {record['s3_key']}")
            found = _reproduce(model_file, photo, record)
    return ReplayResult(
        execution=execution,
        photo_id=str(record["photo_id"]),
        photo=f"s3://{record['s3_bucket']}/{record['s3_key']}",
        model_version=version,
        outcome=found["outcome"],
        label=found.get("label", ""),
        confidence=found.get("confidence", 0.0),
        differences=tuple(_differences(record, found)),
    )


def explain(aws: Aws, executions: Mapping[str, str], page: Path, model_uri: str, report: Reporter) -> ExplanationPage:
    """Explain the decisions of *executions* on a page; each name maps to the photo's true class, "" if unknown.

    The page is about the model of the first decision. Photos that could not be read, those that are gone, and decisions
    of other models are left out.

    Raises:
        CannotReplay: a decision is not recorded, none can be explained, or the model no longer exists.
    """
    require_writable(page)
    from scones.reports.explanations import ExplainedPhoto, render_explanations  # noqa: PLC0415 - Pillow loads to draw

    records = [_find(aws, execution) for execution in list(executions)[:MAX_EXPLAINED]]
    records = [record for record in records if record["outcome"] != Outcome.UNREADABLE]
    if not records:
        raise CannotReplay("none of these photos could be read, so there is no prediction to explain")
    version = str(records[0].get("model_version", ""))
    same_model = [record for record in records if record.get("model_version", "") == version]
    if others := len(records) - len(same_model):
        report.tell(f"not on the page: {plural(others, 'decision')} of other models; explain each by its execution")
    with _model(aws, version, model_uri) as model_file:
        model, cards = Model(model_file), []
        for done, record in enumerate(same_model, start=1):
            try:
                photo = _photo(aws, record)
            except CannotReplay as reason:
                report.tell(f"not on the page: {reason}")
                continue
            pixels = read_photos(b"application/x-image", photo, model.size, Limits())[0][0]
            cards.append(
                ExplainedPhoto(
                    name=str(record["s3_key"]).rpartition("/")[2],
                    photo=photo,
                    truth=executions[str(record["execution"])],
                    outcome=str(record["outcome"]),
                    confidence=float(str(record["confidence"])),
                    explanation=model.explain(pixels[None])[1][0],
                )
            )
            report.progress(done, len(same_model), "predictions explained")
        if not cards:
            raise CannotReplay("none of these photos exists any more, so there is no prediction to explain")
        prefix = split_prefix(model_file.data_version, "train")
        names = {neighbor.name for card in cards for neighbor in card.explanation.neighbors}
        photos = {name: found for name in sorted(names) if (found := aws.bucket.find(f"{prefix}{name}")) is not None}
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render_explanations(cards, photos, model.classes, model.version), "utf-8")
    return ExplanationPage(str(page), len(cards))


def rejudge(aws: Aws, model_file: Path | None, threshold: float | None, report: Reporter) -> RejudgeResult:
    """Decide again about all recorded photos: with another model, or with their recorded probabilities.

    *threshold* None keeps each decision's own; unreadable photos are left out.

    Raises:
        CannotReplay: nothing was recorded yet.
        InvalidModelFile: *model_file* cannot be read.
    """
    records = [record for record in _newest(aws.tables.decisions.scan()) if record["outcome"] != Outcome.UNREADABLE]
    if not records:
        raise CannotReplay("no decision is recorded in this environment yet; run: scones classify")
    if model_file is None:
        kept = [_decide(record, record["inferences"], record.get("unfamiliar"), threshold) for record in records]
        return _compare(records, kept, "", threshold)
    with open_model_file(model_file) as other:
        decided = list(_classify(aws, other, records, threshold, report))
        return _compare(records, decided, other.version, threshold)


def _compare(
    records: Sequence[Item], decisions: Sequence[tuple[str, str] | None], version: str, threshold: float | None
) -> RejudgeResult:
    before = [(str(record["label"]), str(record["outcome"])) for record in records]
    pairs = [(old, new) for old, new in zip(before, decisions, strict=True) if new is not None]
    changes = Counter(f"{' '.join(old)} -> {' '.join(new)}" for old, new in pairs if old != new)
    return RejudgeResult(
        photos=len(records),
        same=sum(old == new for old, new in pairs),
        changes=dict(changes.most_common()),
        missing=len(records) - len(pairs),
        model_version=version,
        threshold=threshold,
    )


def _find(aws: Aws, execution: str) -> Item:
    for key in aws.tables.decisions.query({"execution": execution}, "by_execution"):
        record = aws.tables.decisions.get({"photo_id": key["photo_id"], "execution": execution})
        if record:
            return _with_outcome(record)
    raise CannotReplay(f"no decision of execution {execution!r} is recorded; `scones classify` shows their names")


def _photo(aws: Aws, record: Item) -> bytes:
    photo = aws.bucket.beside(str(record["s3_bucket"])).find(str(record["s3_key"]))
    if photo is None:
        raise CannotReplay(f"photo s3://{record['s3_bucket']}/{record['s3_key']} is gone, or travelled in its event")
    # What was too large was never read, and goes by another name than its hash.
    if len(photo) <= PHOTO_LIMIT_BYTES and hashlib.sha256(photo).hexdigest() != record["photo_id"]:
        raise CannotReplay(f"another photo lies at {record['s3_key']} now: its SHA-256 is not {record['photo_id']}")
    return photo


@contextmanager
def _model(aws: Aws, version: str, first: str) -> Iterator[ModelFile]:
    """Open the model of that *version*, wherever in the bucket it lies."""
    first_key = aws.bucket.key(first)
    keys = [item.key for item in aws.bucket.list(MODELS_PREFIX) if item.key.endswith("model.tar.gz")]
    for key in sorted(keys, key=lambda key: key != first_key):
        with open_model_file(aws.bucket.get(key)) as model_file:
            if model_file.version == version:
                yield model_file
                return
    raise CannotReplay(f"model {version} is gone from the bucket; train it again with its seed and data")


def _is_unreadable(photo: bytes) -> bool:
    if len(photo) > PHOTO_LIMIT_BYTES:
        return True
    try:
        read_photos(b"application/x-image", photo, 32, Limits())
    except Refusal:
        return True
    return False


def _reproduce(model_file: ModelFile, photo: bytes, record: Item) -> dict[str, Any]:
    """Answer as the server did: photos that came together went through the model together, up to its batch."""
    model = Model(model_file)
    for together in range(1, Limits().batch + 1):
        found = _answers(model, [photo] * together)[0]
        if found["probabilities"] == record["inferences"]:
            break
    decision = decide(found["probabilities"], [str(name) for name in _list(record["classes"])])
    outcome = outcome_of_confidence(
        decision.confidence, float(str(record["threshold"])), out_of_distribution=bool(found.get("unfamiliar"))
    )
    return {
        **found,
        "inferences": found["probabilities"],
        "label": decision.label,
        "confidence": decision.confidence,
        "outcome": outcome.value,
    }


def _answers(model: Model, photos: Sequence[bytes]) -> list[dict[str, Any]]:
    info = ModelInfo(model.classes, model.version, model.unfamiliar_above)
    pixels = [read_photos(b"application/x-image", photo, model.size, Limits())[0][0] for photo in photos]
    rows = model.answer(np.stack(pixels)).tolist()
    found: list[dict[str, Any]] = json.loads(prediction(_VERBOSE, rows, info, many=True).body)
    return found


def _differences(record: Item, found: Mapping[str, Any]) -> Iterator[str]:
    for name in _COMPARED:
        if name in record and record[name] != found.get(name):
            yield f"{name} was {record[name]}, is {found.get(name)}"


def _newest(records: Iterator[Item]) -> list[Item]:
    """The newest decision of each photo; the table also holds marks of dispatches, which have no outcome."""
    decisions = [_with_outcome(record) for record in records if "outcome" in record or "ruling" in record]
    decisions.sort(key=lambda record: str(record["recorded"]))
    return list({record["photo_id"]: record for record in decisions}.values())


def _decide(record: Item, probabilities: object, unfamiliar: object, threshold: float | None) -> tuple[str, str]:
    classes = [str(name) for name in _list(record["classes"])]
    line = float(str(record["threshold"])) if threshold is None else threshold
    numbers = [float(str(number)) for number in _list(probabilities)]
    decision = decide(numbers, classes)
    outcome = outcome_of_confidence(decision.confidence, line, out_of_distribution=bool(unfamiliar))
    return decision.label, outcome.value


def _with_outcome(record: Item) -> Item:
    """The record with its outcome; version 0.1.0 called the attribute `ruling`."""
    return {**record, "outcome": Outcome(str(record.get("outcome") or record["ruling"])).value}


def _classify(
    aws: Aws, model_file: ModelFile, records: Sequence[Item], threshold: float | None, report: Reporter
) -> Iterator[tuple[str, str] | None]:
    """Ask another model about each photo; None for a photo that is gone."""
    model = Model(model_file)
    for done, record in enumerate(records, start=1):
        try:
            found = _answers(model, [_photo(aws, record)])[0]
        except CannotReplay:
            yield None
        else:
            yield _decide(
                {**record, "classes": list(model.classes)}, found["probabilities"], found.get("unfamiliar"), threshold
            )
        report.progress(done, len(records), "photos judged again")


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise CannotReplay(f"the record is damaged: {value!r} is no list")
    return value
