"""Classify a batch: run the batch workflow on all photos of a folder or S3 prefix, with one result for each."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scones.aws.client import poll
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
from scones.deployment.pricing import Bill, batch_bill
from scones.domain.errors import SconesError, WorkflowError
from scones.domain.naming import ASKED_PREFIX, READABLE_PREFIXES
from scones.domain.progress import Reporter

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}


class PhotosNotGranted(WorkflowError):
    """The stack's functions have no permission to read the photos."""

    def __init__(self, source: str, bucket: str) -> None:
        ways = f"put them below s3://{bucket}/{ASKED_PREFIX}, or set photo_bucket to their bucket and run: scones up"
        super().__init__(f"the functions may not read {source}; {ways}")
        self.source = source


def readable_source(aws: Aws, source: str, photo_bucket: str, report: Reporter) -> str:
    """Return the S3 prefix *source*, or that of an uploaded folder; *photo_bucket* is the bucket granted by `up`.

    Raises:
        NoPhotos: the folder holds none.
        PhotosNotGranted: the stack's functions have no permission to read the photos.
    """
    if not source.startswith("s3://"):
        return upload(aws, Path(source), report)
    granted = [aws.bucket.uri(prefix) for prefix in READABLE_PREFIXES]
    if photo_bucket:
        granted.append(f"s3://{photo_bucket}/")
    if not source.startswith(tuple(granted)):
        raise PhotosNotGranted(source, aws.bucket.name)
    return source


def upload(aws: Aws, folder: Path, report: Reporter) -> str:
    """Upload the photos in *folder* that are not in the bucket yet, and return the URI of their prefix.

    The prefix mirrors the folder: photos that were taken out of it are deleted there too.

    Raises:
        NoPhotos: the folder holds none.
    """
    prefix = f"{ASKED_PREFIX}{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]}/"
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        raise NoPhotos(str(folder))
    there = {item.key: item.etag for item in aws.bucket.list(prefix)}
    wanted = {f"{prefix}{path.relative_to(folder).as_posix()}": path for path in paths}
    new = [(key, path.read_bytes) for key, path in wanted.items() if there.get(key) != _tag(path)]
    aws.bucket.put_all(new, report.progress)
    aws.bucket.remove(set(there) - set(wanted))
    return aws.bucket.uri(prefix)


def _tag(path: Path) -> str:
    """S3's ETag of an object that is uploaded in one part: its MD5."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.md5).hexdigest()


_MAX_SECONDS = 7 * 24 * 3600.0
_MAX_FAILURES_SHOWN = 10


class BatchStillRunning(WorkflowError):
    """The command was stopped, but the run that it started continues."""

    exit_code = 130

    def __init__(self, name: str) -> None:
        super().__init__(f"stopped waiting; run {name} continues; the same command waits for it again")
        self.name = name


@dataclass(frozen=True, slots=True)
class BatchTerms:
    """What decides about a photo besides its pixels, and how many batches run at once."""

    model: str
    classes: tuple[str, ...]
    threshold: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class BatchRunResult:
    """The number of photos by outcome, how many this command classified, and where the results are."""

    run: str
    photos: int
    counts: dict[str, int]
    newly_classified: int
    seconds: float
    photos_per_second: float
    results: tuple[str, ...]
    failed: tuple[str, ...]
    """The first photos that failed, each with its error and reason."""
    cost: Bill


def classify_batch(aws: Aws, source: str, terms: BatchTerms, report: Reporter) -> BatchRunResult:
    """Classify every photo below *source*, `s3://bucket/prefix`; photos with results of an earlier attempt are skipped.

    Raises:
        NoPhotos: there are none.
        BatchStillRunning: Ctrl-C; the run itself continues.
    """
    began = time.monotonic()
    name, _, prefix = source.removeprefix("s3://").partition("/")
    photos = [Photo(item.key, item.etag) for item in aws.bucket.beside(name).list(prefix) if item.size]
    if not photos:
        raise NoPhotos(source)
    return _Run(aws, name, photos, terms, report).finish(began)


class _Run:
    """One run, identified by its photos and terms, attempted until each photo has a result."""

    def __init__(self, aws: Aws, bucket: str, photos: Sequence[Photo], terms: BatchTerms, report: Reporter) -> None:
        self._aws, self._terms, self._report = aws, terms, report
        self._bucket, self._photos = bucket, photos
        decided_by = (terms.model, terms.classes, terms.threshold)
        self._files = RunFiles(run_name(bucket, photos, decided_by))

    def finish(self, began: float) -> BatchRunResult:
        """Wait for a running attempt, or start one with the remaining photos; then write the results."""
        attempt = sum(1 for _ in self._aws.bucket.list(self._files.manifests))
        # In this order, so that all parts of an attempt that ends meanwhile are read.
        execution = self._find(attempt)
        done = self._done()
        before = len(done)
        running = execution is not None and execution.running
        if not running and (left := [p for p in self._photos if p.key not in done]):
            attempt += 1
            self._start(attempt, left, before)
            # A short attempt may have ended already; its parts are read all the same.
            running = True
        if running:
            execution = self._wait(attempt)
            done = self._done()
        ended = (execution.error or execution.status) if execution else "NotStarted"
        results = account(self._photos, done, self._failed(attempt), ended)
        done_now, files = len(done) - before, self._write(results)
        seconds = time.monotonic() - began
        return BatchRunResult(
            run=self._files.name,
            photos=len(results),
            counts=count(results),
            newly_classified=done_now,
            seconds=seconds,
            photos_per_second=done_now / seconds,
            results=files,
            failed=tuple(f"{r.key}: {r.error}: {r.reason}" for r in results if r.outcome == "failed")[
                :_MAX_FAILURES_SHOWN
            ],
            cost=batch_bill(done_now),
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
        self._report.tell(f"run {self._files.name}: {len(left):,} photos to classify{already}")
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
        try:
            for _ in poll(f"the end of run {self._files.name}", _MAX_SECONDS):
                execution = self._find(attempt)
                if execution is None or not execution.running:
                    break
                left = self._aws.batches.items_left(self._arn(attempt))
                if left:
                    self._report.progress(total - left, total, "photos classified")
        except KeyboardInterrupt:
            raise BatchStillRunning(self._files.name) from None
        if execution is None:
            raise SconesError(f"run {self._files.name} does not exist any more; run the same command again")
        self._report.progress(total, total, "photos classified")
        return execution

    def _write(self, results: Sequence[Result]) -> tuple[str, ...]:
        bucket, prefix = self._aws.bucket, self._files.prefix
        table = to_parquet(columns(results, self._terms.classes))
        return (
            bucket.put(f"{prefix}results.jsonl", result_lines(results), "application/jsonl"),
            bucket.put(f"{prefix}results.parquet", table, "application/vnd.apache.parquet"),
            bucket.put_json(f"{prefix}summary.json", {"photos": len(results), "counts": count(results)}),
        )
