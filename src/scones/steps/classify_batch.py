"""Classify a batch: run the batch workflow on all photos of a folder or S3 prefix, with one result for each."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from scones.aws.client import ContactLost, WaitTimeout, wait
from scones.aws.connection import Aws
from scones.aws.stepfunctions import ExecutionStatus, execution_arn
from scones.batch.results import (
    NoPhotos,
    Photo,
    Result,
    RunFiles,
    account,
    columns,
    count,
    failures,
    manifest_lines,
    read_part,
    result_lines,
    run_name,
    to_parquet,
)
from scones.data.dataset import ExcludedFile
from scones.data.image_header import UnreadablePhoto, read_header
from scones.data.sources.files import choose_by_name, open_folder, user_path
from scones.deployment.pricing import Bill, batch_bill
from scones.domain.decision import Outcome
from scones.domain.errors import WorkflowError
from scones.domain.naming import ASKED_PREFIX, READABLE_PREFIXES
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.text import plural, printable

_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp"),
    *(".heic", ".heif", ".avif", ".tif", ".tiff", ".jp2"),
}
"""Files that are meant to be photos: one that cannot be read has a result that says why."""


@dataclass(frozen=True, slots=True)
class BatchSource:
    """The photos below *uri*, and a result or a reason for every other file that was found there."""

    uri: str
    photos: tuple[Photo, ...]
    unreadable: tuple[Result, ...] = ()
    left_out: tuple[ExcludedFile, ...] = ()


class PhotosNotGranted(WorkflowError):
    """The stack's functions have no permission to read the photos."""

    def __init__(self, source: str, bucket: str) -> None:
        ways = f"put them below s3://{bucket}/{ASKED_PREFIX}, or set photo_bucket to their bucket and run: scones up"
        super().__init__(f"the functions may not read {source}; {ways}")
        self.source = source


def open_batch(aws: Aws, source: str, photo_bucket: str, report: Reporter) -> BatchSource:
    """Find the photos below the S3 prefix *source*, or upload those of a folder.

    *photo_bucket* is the bucket that `up` has let the functions read.

    Raises:
        NoPhotos: there are none.
        PhotosNotGranted: the stack's functions have no permission to read the photos.
    """
    if not source.startswith("s3://"):
        found = upload(aws, user_path(source), report)
    else:
        granted = [aws.bucket.uri(prefix) for prefix in READABLE_PREFIXES]
        if photo_bucket:
            granted.append(f"s3://{photo_bucket}/")
        if not source.startswith(tuple(granted)):
            raise PhotosNotGranted(source, aws.bucket.name)
        found = _list(aws, source)
    if not (found.photos or found.unreadable):
        raise NoPhotos(printable(source))
    return found


def _list(aws: Aws, source: str) -> BatchSource:
    name, _, prefix = source.removeprefix("s3://").partition("/")
    # An empty object whose key ends with a slash is a folder of the S3 console.
    listed = [item for item in aws.bucket.beside(name).list(prefix) if item.size or not item.key.endswith("/")]
    above = len(prefix.rpartition("/")[0]) + ("/" in prefix)
    items, left_out = choose_by_name(listed, lambda item: item.key[above:])
    return BatchSource(
        uri=source,
        photos=tuple(Photo(item.key, item.etag) for item in items if item.size),
        unreadable=tuple(_unreadable(item.key, "is empty") for item in items if not item.size),
        left_out=tuple(left_out),
    )


def upload(aws: Aws, folder: Path, report: Reporter) -> BatchSource:
    """Upload the photos in *folder* that are not in the bucket yet.

    The prefix mirrors the folder: photos that were taken out of it are deleted there too.

    Raises:
        NoPhotos: there is no such folder.
        SourceError: it cannot be read.
    """
    if not folder.is_dir():
        raise NoPhotos(printable(str(folder)))
    prefix = f"{ASKED_PREFIX}{hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:12]}/"
    found = open_folder(folder)
    there = {item.key: item.etag for item in aws.bucket.list(prefix)}
    left_out, unreadable, photos, new = list(found.left_out), [], [], []
    for item in sorted(found.items, key=lambda item: item.path):
        key = f"{prefix}{item.path}"
        try:
            photo = Photo(key, _tag(item.read()))
        except UnreadablePhoto as error:
            if PurePosixPath(item.path).suffix.lower() in _SUFFIXES:
                unreadable.append(_unreadable(key, error.reason))
            else:
                left_out.append(ExcludedFile(item.path, error.reason))
            continue
        photos.append(photo)
        if there.get(key) != photo.etag:
            new.append((key, item.read))
    aws.bucket.put_all(new, report.progress)
    aws.bucket.remove(set(there) - {photo.key for photo in photos})
    return BatchSource(aws.bucket.uri(prefix), tuple(photos), tuple(unreadable), tuple(left_out))


def _tag(photo: bytes) -> str:
    """S3's ETag of an object that is uploaded in one part: its MD5; raises UnreadablePhoto for what is no photo."""
    read_header(photo)
    return hashlib.md5(photo, usedforsecurity=False).hexdigest()


def _unreadable(key: str, reason: str) -> Result:
    return Result(key, Outcome.UNREADABLE, error=UnreadablePhoto.__name__, reason=reason)


_MAX_SECONDS = 7 * 24 * 3600.0
_MAX_SHOWN = 10


class BatchStillRunning(WorkflowError):
    """The command was stopped, but the run that it started continues."""

    exit_code = 130

    def __init__(self, name: str, photos: int, why: str = "") -> None:
        cost = f"about ${batch_bill(photos).total_dollars:.4f} in all, besides the endpoint"
        price = f"its {plural(photos, 'photo')} cost {cost}"
        because = f" ({why})" if why else ""
        super().__init__(
            f"stopped waiting{because}; run {name} continues; the same command waits for it again; on AWS {price}"
        )
        self.name = name


class BatchGone(WorkflowError):
    """The run that a command waits for does not exist any more."""

    def __init__(self, name: str) -> None:
        super().__init__(f"run {name} does not exist any more; run the same command again")
        self.name = name


@dataclass(frozen=True, slots=True)
class BatchTerms:
    """What decides about a photo besides its pixels, and how many batches run at once."""

    model: str
    classes: tuple[str, ...]
    threshold: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class BatchRunResult(StepResult):
    """The number of photos by outcome, how many this command classified, and where the results are."""

    FIGURE = ("counts", "name", "value")

    run: str
    photos: int
    counts: dict[str, int]
    newly_classified: int
    already_classified: int
    """Photos that had results of an earlier attempt."""
    seconds: float
    photos_per_second: float
    results: tuple[str, ...]
    failed: tuple[str, ...]
    """The first photos that failed, each with its error and reason."""
    unreadable: tuple[str, ...]
    """The first photos that cannot be read, each with its reason."""
    left_out: tuple[ExcludedFile, ...]
    """Files that are no photos, and why."""
    cost: Bill


def classify_batch(aws: Aws, source: BatchSource, terms: BatchTerms, report: Reporter) -> BatchRunResult:
    """Classify every photo of *source*; photos with results of an earlier attempt are skipped.

    Raises:
        BatchStillRunning: Ctrl-C, or AWS gave no usable reply for ten minutes; the run itself continues.
    """
    return _Run(aws, source, terms, report).finish(time.monotonic())


class _Run:
    """One run, identified by its photos and terms, attempted until each photo has a result."""

    def __init__(self, aws: Aws, source: BatchSource, terms: BatchTerms, report: Reporter) -> None:
        self._aws, self._terms, self._report = aws, terms, report
        self._source, self._photos = source, source.photos
        self._bucket = source.uri.removeprefix("s3://").partition("/")[0]
        decided_by = (terms.model, terms.classes, terms.threshold)
        self._files = RunFiles(run_name(self._bucket, self._photos, decided_by))

    def finish(self, began: float) -> BatchRunResult:
        """Wait for a running attempt, or start one with the remaining photos; then write the results."""
        attempt = sum(1 for _ in self._aws.bucket.list(self._files.manifests))
        # In this order, so that all parts of an attempt that ends meanwhile are read.
        execution = self._find(attempt)
        done = self._done()
        before = set(done)
        running = execution is not None and execution.running
        if not running and (left := [p for p in self._photos if p.key not in done]):
            attempt += 1
            self._start(attempt, left, len(before))
            # A short attempt may have ended already; its parts are read all the same.
            running = True
        if running:
            execution = self._wait(attempt)
            done = self._done()
        ended = (execution.error or execution.status) if execution else "NotStarted"
        results = account(self._photos, done, self._failed(attempt), ended)
        results = sorted((*results, *self._source.unreadable), key=lambda result: result.key)
        answered = {key for key, result in done.items() if result.outcome != Outcome.FAILED}
        newly, files = len(answered - before), self._write(results)
        seconds = time.monotonic() - began
        return BatchRunResult(
            run=self._files.name,
            photos=len(results),
            counts=count(results),
            newly_classified=newly,
            already_classified=len(answered & before),
            seconds=seconds,
            photos_per_second=newly / seconds,
            results=files,
            failed=tuple(f"{r.key}: {r.error}: {r.reason}" for r in results if r.outcome == Outcome.FAILED)[
                :_MAX_SHOWN
            ],
            unreadable=tuple(f"{r.key}: {r.reason}" for r in results if r.outcome == Outcome.UNREADABLE)[:_MAX_SHOWN],
            left_out=self._source.left_out,
            cost=batch_bill(len(done) - len(before)),
        )

    def _done(self) -> dict[str, Result]:
        keys = [item.key for item in self._aws.bucket.list(self._files.parts)]
        parts = zip(keys, self._aws.bucket.get_all(keys), strict=True)
        return {result.key: result for key, body in parts for result in read_part(key, body)}

    def _failed(self, attempt: int) -> dict[str, Result]:
        found = [item.key for item in self._aws.bucket.list(self._files.outcomes(attempt)) if "/FAILED_" in item.key]
        return {result.key: result for body in self._aws.bucket.get_all(found) for result in failures(body)}

    def _arn(self, attempt: int) -> str:
        return execution_arn(self._aws.batch_machine, self._execution(attempt))

    def _execution(self, attempt: int) -> str:
        return f"{self._files.name}-{attempt:04d}"

    def _find(self, attempt: int) -> ExecutionStatus | None:
        return self._aws.batches.find(self._arn(attempt)) if attempt else None

    def _start(self, attempt: int, left: Sequence[Photo], before: int) -> None:
        already = f"; {before:,} have results already" if before else ""
        self._report.tell(f"run {self._files.name}: {plural(len(left), 'photo')} to classify{already}")
        bucket, manifest = self._aws.bucket, self._files.manifest(attempt)
        bucket.put(manifest, manifest_lines(left), "application/jsonl")
        event: dict[str, object] = {
            "photos": self._bucket,
            "bucket": bucket.name,
            "manifest": manifest,
            "parts": self._files.parts,
            "outcomes": self._files.outcomes(attempt),
            "concurrency": self._terms.concurrency,
        }
        self._aws.batches.start(self._aws.batch_machine, self._execution(attempt), event)

    def _wait(self, attempt: int) -> ExecutionStatus:
        total = len(self._photos)

        def ended() -> ExecutionStatus | None:
            execution = self._find(attempt)
            if execution is None:
                raise BatchGone(self._files.name)
            if not execution.running:
                return execution
            if left := self._aws.batches.items_left(self._arn(attempt)):
                self._report.progress(total - left, total, "photos classified")
            return None

        try:
            execution = wait(f"the end of run {self._files.name}", ended, _MAX_SECONDS)
        except KeyboardInterrupt:
            raise BatchStillRunning(self._files.name, total) from None
        except (WaitTimeout, ContactLost) as error:
            raise BatchStillRunning(self._files.name, total, str(error)) from error
        self._report.progress(total, total, "photos classified")
        return execution

    def _write(self, results: Sequence[Result]) -> tuple[str, ...]:
        bucket, prefix = self._aws.bucket, self._files.prefix
        table = to_parquet(columns(results, self._terms.classes))
        return (
            bucket.put(f"{prefix}results.jsonl", result_lines(results), "application/jsonl"),
            bucket.put(f"{prefix}results.parquet", table, "application/vnd.apache.parquet"),
            bucket.put_json(f"{prefix}summary.json", self._summary(results)),
        )

    def _summary(self, results: Sequence[Result]) -> dict[str, object]:
        left_out = [asdict(item) for item in self._source.left_out]
        return {"photos": len(results), "counts": count(results), "left_out": left_out}
