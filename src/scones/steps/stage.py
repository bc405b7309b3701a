"""Stage: upload labelled photos with manifests, under a version that names their content, and report on them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from scones.aws.connection import Aws
from scones.aws.s3 import open_prefix
from scones.config.settings import Settings
from scones.data.dataset import (
    ONE_SOURCE,
    Dataset,
    ExcludedFile,
    LabelledPhoto,
    Sample,
    folder_below,
    from_lines,
    to_lines,
    to_list,
)
from scones.data.loading import load_configured_dataset
from scones.deployment.template import create_base_stack
from scones.domain.naming import list_key, manifest_key, outliers_prefix, report_key, split_prefix, version_prefix
from scones.domain.progress import Reporter
from scones.model.model_file import InvalidModelFile, open_model_file
from scones.model.out_of_fold import InvalidOutOfFold, OutOfFoldPredictions
from scones.training.label_issues import rank_label_issues

if TYPE_CHECKING:
    from scones.reports.dataset import LabelIssue

_VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True)
class StageResult:
    """The staged dataset, as training and evaluation need to know it."""

    name: str
    kind: Literal["photos", "rendered"]
    """`photos`, or `rendered` for drawings in place of photos."""
    notice: str
    """What the user must know about these photos; empty if nothing."""
    version: str
    classes: tuple[str, ...]
    train: int
    test: int
    uploaded: int
    """How many photos were not in the bucket yet."""
    left_out: tuple[ExcludedFile, ...]
    leakage: int = 0
    """Training photos left out because they are near duplicates of a test photo; they are in `left_out`, too."""
    reassigned: int = 0
    """Photos that were moved to the split of a near duplicate."""
    warnings: tuple[str, ...] = ()
    """How the folders were understood, where that may surprise, and classes of very unequal size."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model, by the job that trained it, and the dataset version that it was trained on."""

    job: str
    model_uri: str
    data_version: str


@dataclass(frozen=True, slots=True)
class DatasetReportOptions:
    """Where to copy the dataset report on this machine, and a model whose predictions check the labels."""

    page: Path | None = None
    model: TrainedModel | None = None


def load_photos(aws: Aws, settings: Settings, report: Reporter) -> Dataset:
    """Load the photos that the settings name, from S3 or this machine.

    Raises:
        SourceError: the source cannot be used.
    """
    return load_configured_dataset(settings, report, lambda uri: open_prefix(aws.bucket, uri))


def stage(
    aws: Aws,
    settings: Settings,
    collection: Dataset,
    report: Reporter,
    options: DatasetReportOptions = DatasetReportOptions(),
) -> StageResult:
    """Upload the photos of *collection* that are not in the bucket yet, and the report on them.

    The photos of a version are never overwritten: those of an interrupted upload are kept. Its lists number the
    classes, and are written again when these are staged in another order.
    """
    if len({photo.source for photo in collection.photos}) < 2:
        collection = replace(collection, warnings=(*collection.warnings, ONE_SOURCE))
    create_base_stack(aws, settings, report.tell)
    version = _version(collection.photos, collection.outliers)
    existing = {item.key for item in aws.bucket.list(version_prefix(version))}
    missing = [(key, _reader(photo)) for key, photo in _files(collection, version) if key not in existing]
    if missing:
        aws.bucket.put_all(missing, report.progress)
    # The lists come last: where they exist, all their photos do.
    for key, body in _lists(collection, version, aws.bucket.name):
        if key not in existing or aws.bucket.get(key) != body:
            aws.bucket.put(key, body)
    result = StageResult(
        name=collection.name,
        kind=collection.kind,
        notice=collection.notice,
        version=version,
        classes=collection.classes,
        train=sum(photo.split == "train" for photo in collection.photos),
        test=sum(photo.split == "test" for photo in collection.photos),
        uploaded=len(missing),
        left_out=collection.left_out,
        leakage=len(collection.findings.leakage),
        reassigned=collection.findings.reassigned,
        warnings=collection.warnings,
    )
    report.tell(f"{result.train} training and {result.test} test photos staged as version {version}")
    _write_report(aws, collection, version, options, report)
    return result


def _files(collection: Dataset, version: str) -> Iterator[tuple[str, LabelledPhoto]]:
    """Every photo with its key."""
    for photo in collection.photos:
        yield _key(photo, version), photo
    for photo in collection.outliers:
        yield f"{outliers_prefix(version)}{photo.label}/{photo.name}", photo


def _lists(collection: Dataset, version: str, bucket: str) -> Iterator[tuple[str, bytes]]:
    for split in ("train", "test"):
        samples = [_sample(photo, version) for photo in collection.photos if photo.split == split]
        yield list_key(version, split), to_list(samples, collection.classes)
        yield manifest_key(version, split), to_lines(samples, bucket, collection.classes)


def _reader(photo: LabelledPhoto) -> Callable[[], bytes]:
    return lambda: photo.data


def _key(photo: LabelledPhoto, version: str) -> str:
    return f"{split_prefix(version, photo.split)}{photo.label}/{photo.name}"


def _sample(photo: LabelledPhoto, version: str) -> Sample:
    return Sample(_key(photo, version), photo.label, photo.split, photo.sha256, photo.source)


def _version(photos: Sequence[LabelledPhoto], outliers: Sequence[LabelledPhoto]) -> str:
    whole = hashlib.sha256()
    for photo in [*_ordered(photos), *_ordered(outliers)]:
        for part in (photo.split, photo.label, photo.name):
            whole.update(hashlib.sha256(part.encode()).digest())
        if photo.source != folder_below(f"{photo.label}/{photo.name}"):
            whole.update(hashlib.sha256(photo.source.encode()).digest())
        whole.update(bytes.fromhex(photo.sha256))
    return whole.hexdigest()[:_VERSION_DIGITS]


def _ordered(photos: Sequence[LabelledPhoto]) -> list[LabelledPhoto]:
    return sorted(photos, key=lambda photo: (photo.split, photo.label, photo.name))


def _write_report(aws: Aws, collection: Dataset, version: str, options: DatasetReportOptions, report: Reporter) -> None:
    """Write the report as a page and as JSON, into the bucket and, if requested, on this machine."""
    from scones.reports.dataset import dataset_figures, render_dataset  # noqa: PLC0415 - loads the page's libraries

    checked_by, issues = _label_issues(aws, collection, options.model, report) if options.model else ("", ())
    figures = dataset_figures(collection, version, issues, checked_by)
    html = render_dataset(collection, figures, issues).encode()
    as_json = msgspec.json.format(msgspec.json.encode(figures), indent=1)
    aws.bucket.put(report_key(version, "html"), html, "text/html")
    aws.bucket.put(report_key(version, "json"), as_json, "application/json")
    if options.page:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_bytes(html)
        options.page.with_suffix(".json").write_bytes(as_json)
        report.tell(f"report {options.page}, figures {options.page.with_suffix('.json')}")


def _label_issues(
    aws: Aws, collection: Dataset, model: TrainedModel, report: Reporter
) -> tuple[str, tuple["LabelIssue", ...]]:
    """Rank the photos whose label the model contradicts; names the model's job, or nothing if it knows none of them."""
    from scones.reports.dataset import LabelIssue  # noqa: PLC0415 - loads the page's libraries

    known = _out_of_fold(aws, model, report)
    if known is None:
        return "", ()
    manifest = aws.bucket.find(manifest_key(model.data_version, "train")) or b""
    contents = {sample.key: sample.sha256 for sample in from_lines(manifest, aws.bucket.name)}
    # Compared by content: the photos staged now may be others with the same names.
    staged = {(photo.sha256, photo.label): photo for photo in collection.photos}
    photos = {}
    for name, label in zip(known.names, known.labels, strict=True):
        photo = staged.get((contents.get(f"{split_prefix(model.data_version, 'train')}{name}", ""), label))
        if photo:
            photos[name] = photo
    suspects = rank_label_issues(known.names, known.labels, known.probabilities, known.classes, known.votes)
    issues = (LabelIssue(photos[it.name], it.predicted, it.confidence) for it in suspects if it.name in photos)
    return model.job if photos else "", tuple(issues)


def _out_of_fold(aws: Aws, model: TrainedModel, report: Reporter) -> OutOfFoldPredictions | None:
    archive = aws.bucket.find(aws.bucket.key(model.model_uri))
    if archive is None:
        return None
    try:
        with open_model_file(archive) as model_file:
            return OutOfFoldPredictions.kept(model_file)
    except (InvalidModelFile, InvalidOutOfFold) as error:
        report.tell(f"the report lists no label issues: {error}")
        return None
