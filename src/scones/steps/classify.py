"""Classify: run the Step Functions workflow on photos, and report the outcome of each execution."""

import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from scones.aws.connection import Aws
from scones.aws.stepfunctions import ExecutionResult
from scones.batch.results import Result
from scones.data.dataset import Sample
from scones.data.image_header import UnreadablePhoto, read_header
from scones.data.sources.files import MAX_FILE_BYTES, require_photo_size
from scones.domain.decision import Outcome, outcome_of_error, read_refusal
from scones.domain.errors import WorkflowError, raise_as
from scones.domain.naming import ASKED_PREFIX
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.text import printable

# With the prefix, a name must fit into an S3 key of 1,024 bytes.
_MAX_NAME_CHARACTERS = 200


class NoSuchPhoto(WorkflowError):
    """A photo to classify cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"photo {printable(str(path))} {reason}; name a PNG, JPEG or WebP file")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ClassifiedPhoto:
    """One photo's execution; a failed one has an *error* and no decision.

    A file that cannot be read has no execution: its *name* is empty, and its *key* the file's path.
    """

    name: str
    key: str
    truth: str
    """The photo's label, if known."""
    outcome: Outcome
    label: str
    confidence: float
    probabilities: tuple[float, ...]
    error: str
    cause: str
    started: datetime
    stopped: datetime
    photo: str = ""
    """The file as it was named; empty where no file was."""


@dataclass(frozen=True, slots=True)
class ClassifyResult(StepResult):
    """All executions, in the order of their photos."""

    TABLE = "executions"
    FIGURE = ("executions", "confidence", "")

    executions: tuple[ClassifiedPhoto, ...]

    def count(self, outcome: Outcome) -> int:
        """The number of photos with this outcome."""
        return sum(execution.outcome == outcome for execution in self.executions)

    def unread(self) -> list[ClassifiedPhoto]:
        """Return the files that could not be read, and have no execution."""
        return [execution for execution in self.executions if not execution.name]

    def to_explain(self) -> dict[str, str]:
        """Return the name and true class of each execution with a decision: wrong ones first, then the least sure."""
        found = [item for item in self.executions if item.label]
        found.sort(key=lambda item: (item.truth in ("", item.label), item.confidence))
        return {item.name: item.truth for item in found}

    def results(self) -> list[Result]:
        """Return one row of a table for each photo."""
        return [
            Result(
                item.key,
                item.outcome,
                item.label,
                item.confidence if item.label else None,
                item.probabilities,
                item.error,
                item.cause,
            )
            for item in self.executions
        ]

    def photos(self) -> list[str]:
        """Return the file of each photo as it was named, or its key."""
        return [item.photo or item.key for item in self.executions]

    def decided(self) -> list[tuple[str, str, float]]:
        """Return key, vehicle and confidence of each photo with a decision; below the threshold, no vehicle."""
        sure = {Outcome.CLASSIFIED: True, Outcome.BELOW_THRESHOLD: False}
        return [
            (item.key, item.label if sure[item.outcome] else "", item.confidence)
            for item in self.executions
            if item.outcome in sure
        ]


def read_file(path: Path) -> bytes:
    """Read the photo in the file at *path*.

    Raises:
        NoSuchPhoto: the file cannot be read, or is no photo.
    """
    if str(path).startswith("s3:"):
        raise NoSuchPhoto(path, "is in S3 (name one prefix alone to classify its photos in batches)")
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for some names
        raise NoSuchPhoto(path, "is a folder (name it alone to classify its photos in batches)")
    try:
        with path.open("rb") as file:
            photo = file.read(MAX_FILE_BYTES + 1)
        require_photo_size(len(photo))
        with raise_as(UnreadablePhoto):
            read_header(photo)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NoSuchPhoto(path, f"cannot be read ({reason})") from error
    except UnreadablePhoto as error:
        raise NoSuchPhoto(path, error.reason) from error
    return photo


def upload_photo(aws: Aws, name: str, photo: bytes, label: str = "") -> Sample:
    """Upload one photo to classify; below `incoming/` it would start an execution by itself."""
    digest = hashlib.sha256(photo).hexdigest()
    key = f"{ASKED_PREFIX}{digest[:12]}-{printable(name)[-_MAX_NAME_CHARACTERS:]}"
    aws.bucket.put(key, photo, "application/x-image")
    return Sample(key, label, "asked", digest)


def classify_files(
    aws: Aws, workflow_arn: str, paths: Sequence[Path], clients: int, report: Reporter
) -> ClassifyResult:
    """Upload the photos in the files at *paths*, and run one execution for each; a file that is no photo has none.

    Raises:
        NoSuchPhoto: a single file cannot be read, or is no photo.
    """
    samples: list[Sample] = []
    unread: dict[int, ClassifiedPhoto] = {}
    for number, path in enumerate(paths):
        try:
            samples.append(upload_photo(aws, path.name, read_file(path)))
        except NoSuchPhoto as error:
            if len(paths) == 1:
                raise
            report.tell(str(error))
            unread[number] = _unread(error)
    executions = iter(classify(aws, workflow_arn, samples, clients, report).executions)
    found = (unread.get(number) or next(executions) for number in range(len(paths)))
    return ClassifyResult(
        tuple(replace(item, photo=printable(str(path))) for item, path in zip(found, paths, strict=True))
    )


def _unread(error: NoSuchPhoto) -> ClassifiedPhoto:
    now = datetime.now(UTC)
    return ClassifiedPhoto(
        name="",
        key=printable(str(error.path)),
        truth="",
        outcome=Outcome.UNREADABLE,
        label="",
        confidence=0.0,
        probabilities=(),
        error=UnreadablePhoto.__name__,
        cause=error.reason,
        started=now,
        stopped=now,
    )


def classify(aws: Aws, workflow_arn: str, samples: Sequence[Sample], clients: int, report: Reporter) -> ClassifyResult:
    """Run one execution per photo, *clients* at a time.

    A photo that fails is counted, not raised: only a workflow that cannot be started at all raises AwsError.
    """

    def run(sample: Sample) -> ClassifiedPhoto:
        return classify_one(aws, workflow_arn, sample, uuid.uuid4().hex)

    executions = []
    pool = ThreadPoolExecutor(clients)
    try:
        for execution in pool.map(run, samples):
            executions.append(execution)
            report.progress(len(executions), len(samples), "photos classified")
    finally:
        # After Ctrl-C no further photo starts.
        pool.shutdown(cancel_futures=True)
    return ClassifyResult(tuple(executions))


def classify_one(
    aws: Aws, workflow_arn: str, sample: Sample, name: str, courier: Mapping[str, object] | None = None
) -> ClassifiedPhoto:
    """Run the execution called *name* on one photo, of this *courier* if there is one."""
    event = {"image_data": "", "s3_bucket": aws.bucket.name, "s3_key": sample.key}
    seen = {"courier": courier} if courier else {}
    return _execution(name, sample, aws.workflow.run(workflow_arn, name, {**event, **seen}))


def _execution(name: str, sample: Sample, ended: ExecutionResult) -> ClassifiedPhoto:
    decision = ended.output or read_refusal(ended.cause)
    return ClassifiedPhoto(
        name=name,
        key=sample.key,
        truth=sample.label,
        outcome=Outcome.CLASSIFIED if ended.status == "SUCCEEDED" else outcome_of_error(ended.error or ended.status),
        label=decision.get("label", ""),
        confidence=decision.get("confidence", 0.0),
        probabilities=tuple(decision.get("inferences", ())),
        error=ended.error,
        cause=ended.cause,
        started=ended.started,
        stopped=ended.stopped,
    )
