"""Stage: upload labelled photos with manifests, under a version that names their content, and report on them."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from scones.aws.connection import Aws
from scones.aws.s3 import SCHEME, Bucket, open_prefix
from scones.config.settings import Settings
from scones.data.dataset import (
    ONE_SOURCE,
    ClassCounts,
    Dataset,
    ExcludedFile,
    LabelledPhoto,
    Sample,
    SourceError,
    Split,
    choose_model_size,
    folder_below,
    from_lines,
    to_lines,
    to_list,
)
from scones.data.growth import LabelledTraffic, grow, provenance_of_name
from scones.data.image_header import UnreadablePhoto, read_header
from scones.data.labels import Label
from scones.data.loading import load_configured_dataset
from scones.deployment.reviews import is_photo_id
from scones.deployment.template import create_base_stack
from scones.dispatch.order_book import Write
from scones.domain.errors import DataError
from scones.domain.naming import (
    DATA_PREFIX,
    FORGOTTEN_KEY,
    list_key,
    manifest_key,
    outliers_prefix,
    report_key,
    split_prefix,
    version_prefix,
)
from scones.domain.progress import FEW_NAMES, Reporter, fold
from scones.domain.result import StepResult
from scones.domain.text import plural
from scones.model.model_file import InvalidModelFile, open_model_file
from scones.model.out_of_fold import InvalidOutOfFold, OutOfFoldPredictions
from scones.training.label_issues import find_suspects

if TYPE_CHECKING:
    from scones.reports.dataset import LabelIssue

_VERSION_DIGITS = 12
_MEASURED = 200
"""So many photos show how large the photos are."""


@dataclass(frozen=True, slots=True)
class StageResult(StepResult):
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
    base: str = ""
    """The version that this one has grown from by labels; empty if the source's photos were staged."""
    labelled: int = 0
    """Training photos and outliers that come from labels, or whose labels people corrected."""
    photo_pixels: int = 0
    """The median of the photos' shorter sides."""
    model_pixels: int = 0
    """The side to which the model will scale them: the setting `image_size`, or what training will choose."""
    counts: tuple[ClassCounts, ...] = ()
    sources: Mapping[str, int] = field(default_factory=dict)
    """How many photos come from each source, such as a phone or a city, the largest first."""
    outliers: int = 0
    """Photos of other things, for the out-of-distribution detector."""
    report: str = ""
    """The path of the page about these photos on this machine."""

    def lines(self) -> Iterator[str]:
        """What was staged: the summary, then what may surprise, then each file that is left out."""
        if self.notice:
            yield self.notice
        yield f"{self.name}: {self.train:,} training and {self.test:,} test photos of {', '.join(self.classes)}"
        yield from fold([f"  {it.label}: {it.train:,} training, {it.test:,} test" for it in self.counts], "  ")
        if self.outliers:
            yield f"  and {plural(self.outliers, 'photo')} of other things"
        yield f"version {self.version}, {plural(self.uploaded, 'photo')} uploaded"
        if self.photo_pixels:
            size = f"median {self.photo_pixels} px on the shorter side"
            yield f"photo size: {size}; the model sees {self.model_pixels} px"
        if len(self.sources) > 1:
            most = [f"{name or 'not named'} {number:,}" for name, number in self.sources.items()][:FEW_NAMES]
            more = len(self.sources) - len(most)
            yield f"photos by source: {', '.join(most)}{f' and {more} more sources' if more else ''}"
        if self.base:
            labelled = plural(self.labelled, "photo has its label", "photos have their labels")
            yield f"grown from version {self.base}; {labelled} from people"
        if self.leakage:
            yield f"{plural(self.leakage, 'training photo')} left out as duplicates of a test photo"
        if self.reassigned:
            yield f"{plural(self.reassigned, 'photo')} moved to the split that has a photo of the same picture"
        if self.left_out:
            yield f"left out: {plural(sum(item.files for item in self.left_out), 'file')}, listed below"
        yield from self.warnings
        said = "\n".join(self.warnings)
        files = [item for item in self.left_out if f"LEFT OUT: {item.name} " not in said]
        yield from fold([f"left out: {item.name}: {item.why}" for item in files])
        if self.report:
            yield f"report {self.report}; the figures are beside it as JSON"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model, by the job that trained it, and the dataset version that it was trained on."""

    job: str
    model_uri: str
    data_version: str


@dataclass(frozen=True, slots=True)
class DatasetReportOptions:
    """Where to copy the dataset report on this machine, and a model whose predictions check the labels.

    *base* is the version from which the photos have grown by labels, if they have.
    """

    page: Path | None = None
    model: TrainedModel | None = None
    base: str = ""


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
    collection = _without(collection, aws.bucket.find_json(FORGOTTEN_KEY) or ())
    version = _version(collection.photos, collection.outliers)
    existing = {item.key for item in aws.bucket.list(version_prefix(version))}
    missing = [(key, _reader(photo)) for key, photo in _files(collection, version) if key not in existing]
    if missing:
        aws.bucket.put_all(missing, report.progress)
    # The lists come last: where they exist, all their photos do.
    for key, body in _lists(collection, version, aws.bucket.name):
        if key not in existing or aws.bucket.get(key) != body:
            aws.bucket.put(key, body)
    sides = list(_shorter_sides([photo for photo in collection.photos if photo.split == "train"]))
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
        base=options.base,
        labelled=sum(photo.provenance is not None for photo in (*collection.photos, *collection.outliers)),
        photo_pixels=sorted(sides)[len(sides) // 2] if sides else 0,
        model_pixels=settings.image_size or choose_model_size(sides)[0],
        counts=collection.counts(),
        sources=dict(Counter(photo.source for photo in collection.photos).most_common()),
        outliers=len(collection.outliers),
    )
    _write_report(aws, collection, version, options, report)
    if options.page:
        result = replace(result, report=str(options.page.absolute()))
    for line in result.lines():
        report.tell(line)
    return result


def _shorter_sides(photos: Sequence[LabelledPhoto]) -> Iterator[int]:
    """The shorter sides of some photos, evenly over all."""
    for photo in photos[:: max(1, len(photos) // _MEASURED)]:
        with suppress(UnreadablePhoto):
            header = read_header(photo.data)
            yield min(header.width, header.height)


def load_grown(aws: Aws, before: StageResult, labels: Iterable[Label], report: Reporter) -> Dataset:
    """Load the photos of the version *before*, and those that people labelled.

    Raises:
        TooFewPhotos: corrections left too few training photos of a class.
        SourceError: a photo of the version before is gone.
    """
    bucket, version = aws.bucket, before.version
    samples = [
        it for split in ("train", "test") for it in from_lines(bucket.get(manifest_key(version, split)), bucket.name)
    ]
    known = [(it, it.key.partition(f"/{it.split}/{it.label}/")[2]) for it in samples]
    photos = tuple(
        LabelledPhoto(
            name,
            it.label,
            cast("Split", it.split),
            it.sha256,
            partial(_staged, bucket, it.key),
            it.source,
            it.provenance,
        )
        for it, name in known
    )
    base = Dataset(before.name, before.kind, photos, before.classes, (), _outliers(bucket, version), before.notice)
    return grow(
        base,
        LabelledTraffic.of(labels, bucket.find_json(FORGOTTEN_KEY) or ()),
        partial(_labelled, aws),
        report.progress,
    )


def _outliers(bucket: Bucket, version: str) -> tuple[LabelledPhoto, ...]:
    """The photos of other things; no manifest lists them, so those that a label brought are known by their names."""
    prefix = outliers_prefix(version)
    keys = [item.key for item in bucket.list(prefix)]
    found = []
    for key, data in zip(keys, bucket.get_all(keys), strict=True):
        label, _, name = key.removeprefix(prefix).partition("/")
        photo = LabelledPhoto(name, label, "train", hashlib.sha256(data).hexdigest(), partial(_staged, bucket, key))
        found.append(replace(photo, provenance=provenance_of_name(name)))
    return tuple(found)


def _staged(bucket: Bucket, key: str) -> bytes:
    data = bucket.find(key)
    if data is None:
        raise SourceError(f"{bucket.uri(key)} is gone; stage the photos again from their source: run: scones stage")
    return data


def _labelled(aws: Aws, label: Label) -> bytes:
    """Read the photo of a label from wherever it is."""
    data = aws.bucket.find_uri(label.uri)
    if data is None:
        raise UnreadablePhoto("is gone: it was deleted between its label and now")
    return data


def _without(collection: Dataset, forgotten: Container[str]) -> Dataset:
    def kept(photos: Iterable[LabelledPhoto]) -> tuple[LabelledPhoto, ...]:
        return tuple(
            it
            for it in photos
            if it.sha256 not in forgotten and not (it.provenance and it.provenance.photo in forgotten)
        )

    return replace(collection, photos=kept(collection.photos), outliers=kept(collection.outliers))


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
    key = _key(photo, version)
    return Sample(key, photo.label, photo.split, photo.sha256, photo.source, photo.provenance)


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


def _label_issues(
    aws: Aws, collection: Dataset, model: TrainedModel, report: Reporter
) -> tuple[str, tuple["LabelIssue", ...]]:
    """Rank the photos whose label the model contradicts; names the model's job, or nothing if it knows none of them."""
    from scones.reports.dataset import LabelIssue  # noqa: PLC0415 - loads the page's libraries

    known = _out_of_fold(aws, model, report)
    if known is None:
        return "", ()
    prefix = split_prefix(model.data_version, "train")
    samples = aws.training_samples(model.data_version)
    contents = {sample.key.removeprefix(prefix): sample.sha256 for sample in samples}
    suspects = find_suspects(known, contents, {(photo.sha256, photo.label): photo for photo in collection.photos})
    if suspects is None:
        return "", ()
    return model.job, tuple(LabelIssue(photo, it.predicted, it.confidence) for photo, it in suspects)


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


class NotAPhotoId(DataError):
    """A photo's id is the SHA-256 of its bytes."""

    def __init__(self, given: str) -> None:
        super().__init__(
            f"{given!r} is no photo's id, the SHA-256 of its bytes in 64 hexadecimal digits: sha256sum FILE"
        )


@dataclass(frozen=True, slots=True)
class ForgottenPhoto(StepResult):
    """What was deleted of a photo, and what was made of it.

    *elsewhere* are copies in buckets that are not the environment's, which are left to their owners. Captured requests
    and the monitor's pages may show the photo: the first are deleted after *capture_days*.
    """

    photo: str
    objects: int
    versions: tuple[str, ...]
    """The data versions that held it."""
    models: tuple[int, ...]
    """The registered models that were trained on those."""
    elsewhere: tuple[str, ...]
    capture_days: int


def forget(aws: Aws, photo: str, capture_days: int, report: Reporter) -> ForgottenPhoto:
    """Delete a photo wherever the environment keeps it as a file of its own; staging never takes it again.

    Labels and decisions about it stay: they hold its hash, and no picture. It may be run again after an interruption.

    Raises:
        NotAPhotoId: *photo* is no SHA-256.
    """
    photo = photo.strip().lower()
    if not is_photo_id(photo):
        raise NotAPhotoId(photo)
    _remember(aws, photo)
    versions: list[str] = []
    keys: list[str] = []
    places = list(dict.fromkeys(_places(aws, photo)))
    ours = [aws.bucket.key(uri) for uri in places if uri.startswith(aws.bucket.uri(""))]
    for version in _versions(aws):
        found = list(_remove_from(aws, version, photo))
        if found:
            versions.append(version)
            keys += [*found, *(report_key(version, form) for form in ("html", "json"))]
    objects = aws.bucket.purge([*ours, *keys])
    if aws.tables.reviews.exists() and aws.tables.reviews.get({"photo_id": photo}):
        # A photo that came inside its event is in the item itself.
        aws.tables.reviews.write(Write({"photo_id": photo}, {"image": None}))
    models = [aws.registry.get(number) for number in aws.registry.numbers()] if versions else []
    report.tell(
        f"{plural(objects, 'object')} deleted; "
        f"it was in {', '.join(versions) or 'no'} data version{'s'[: len(versions) != 1]}"
    )
    return ForgottenPhoto(
        photo=photo,
        objects=objects,
        versions=tuple(versions),
        models=tuple(sorted(it.number for it in models if it.properties.get("data-version") in versions)),
        elsewhere=tuple(uri for uri in places if not uri.startswith(aws.bucket.uri(""))),
        capture_days=capture_days,
    )


def _remember(aws: Aws, photo: str) -> None:
    """Note the photo first: after an interruption it is not staged again."""
    while True:
        body, tag = aws.bucket.find_version(FORGOTTEN_KEY)
        known = sorted({*(json.loads(body) if body else ()), photo})
        if aws.bucket.replace(FORGOTTEN_KEY, json.dumps(known).encode(), tag) is not None:
            return


def _places(aws: Aws, photo: str) -> Iterator[str]:
    """Where the photo was classified from, and where people labelled it."""
    if aws.tables.decisions.exists():
        for record in aws.tables.decisions.query({"photo_id": photo}):
            if record.get("s3_key"):
                yield f"{SCHEME}{record['s3_bucket']}/{record['s3_key']}"
    if aws.tables.labels.exists():
        yield from (label.uri for label in aws.tables.labels.of_photo(photo) if label.uri.startswith(SCHEME))


def _versions(aws: Aws) -> list[str]:
    return sorted({item.key.removeprefix(DATA_PREFIX).partition("/")[0] for item in aws.bucket.list(DATA_PREFIX)})


def _remove_from(aws: Aws, version: str, photo: str) -> Iterator[str]:
    """Take the photo off the lists of a data version; yield the keys of its files."""
    bucket = aws.bucket
    for split in ("train", "test"):
        body = bucket.find(manifest_key(version, split))
        samples = from_lines(body or b"", bucket.name)
        gone = [it for it in samples if it.sha256 == photo or (it.provenance and it.provenance.photo == photo)]
        if gone:
            yield from (it.key for it in gone)
            _rewrite(aws, version, split, [it for it in samples if it not in gone], body or b"")
    for item in bucket.list(outliers_prefix(version)):
        origin = provenance_of_name(item.key.rpartition("/")[2])
        if (origin.photo if origin else hashlib.sha256(bucket.find(item.key) or b"").hexdigest()) == photo:
            yield item.key


def _rewrite(aws: Aws, version: str, split: str, samples: list[Sample], before: bytes) -> None:
    """Write the lists of a split again; the class numbers are those of the lists before."""
    entries = map(json.loads, before.decode().removesuffix("\n").split("\n"))
    numbers = {entry["vehicle"]: entry["vehicle-metadata"]["class-name"] for entry in entries}
    classes = [numbers.get(number, "") for number in range(max(numbers) + 1)]
    for key, body in (
        (manifest_key(version, split), to_lines(samples, aws.bucket.name, classes)),
        (list_key(version, split), to_list(samples, classes)),
    ):
        aws.bucket.purge([key])
        aws.bucket.put(key, body)
