"""Dataset: labelled images in a train and a test split, and the manifest that lists them."""

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Literal, Protocol

from scones.domain.errors import DataError
from scones.domain.text import plural


class InvalidManifest(DataError):
    """The manifest in the bucket is not in the format of Scones."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who labelled a photo of the endpoint's traffic, or corrected a training label, when, and for which event.

    *photo* is the SHA-256 of the bytes that were labelled, which may have had metadata.
    """

    photo: str
    by: str
    when: str
    origin: str
    event: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One staged photo: its S3 key, its label, and the *source* that it comes from, "" where that is unknown.

    *provenance* is None for a photo whose label no person gave later.
    """

    key: str
    label: str
    split: str
    sha256: str
    source: str = ""
    provenance: Provenance | None = None


def to_lines(samples: Iterable[Sample], bucket: str, classes: Sequence[str]) -> bytes:
    """Write the manifest; `vehicle` is the class's index, and `vehicle-metadata` its name and where it came from.

    Source: SageMaker's documentation of augmented manifest files and of Ground Truth's classification output.
    """
    lines = (
        json.dumps(
            {
                "source-ref": f"s3://{bucket}/{sample.key}",
                "vehicle": classes.index(sample.label),
                "vehicle-metadata": {
                    "class-name": sample.label,
                    "split": sample.split,
                    "sha256": sample.sha256,
                    "source": sample.source,
                    **({"provenance": asdict(sample.provenance)} if sample.provenance else {}),
                },
            },
            ensure_ascii=False,
        )
        for sample in samples
    )
    return "".join(f"{line}\n" for line in lines).encode()


def to_list(samples: Iterable[Sample], classes: Sequence[str]) -> bytes:
    """Write the list: a number, the class's index and the path below the split's folder, parted by tabs.

    Source: SageMaker's documentation of the image classification algorithm, "Train with Image Format".
    """
    lines = (
        f"{number}\t{classes.index(sample.label)}\t{sample.key.partition(f'/{sample.split}/')[2]}\n"
        for number, sample in enumerate(samples)
    )
    return "".join(lines).encode()


def from_lines(data: bytes, bucket: str) -> tuple[Sample, ...]:
    """Read a manifest back; without a *bucket*, the photos may be in any.

    Raises:
        InvalidManifest: a line is in another format; the message says which.
    """
    # Not splitlines: file names may hold Unicode's other line ends.
    lines = data.decode().removesuffix("\n").split("\n") if data else []
    return tuple(_sample(line, number, bucket) for number, line in enumerate(lines, start=1))


def _sample(line: str, number: int, bucket: str) -> Sample:
    try:
        entry = json.loads(line)
        about = entry["vehicle-metadata"]
        uri = entry["source-ref"]
        key = uri.removeprefix(f"s3://{bucket}/") if bucket else uri.removeprefix("s3://").partition("/")[2]
        source = about.get("source")
        if source is None:
            # Manifests of before have no sources; the folder below the class's names it, as it did then.
            source = folder_below(key.partition(f"/{about['split']}/")[2])
        provenance = Provenance(**about["provenance"]) if "provenance" in about else None
        return Sample(key, about["class-name"], about["split"], about["sha256"], str(source), provenance)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidManifest(
            f"line {number} of the manifest is not in the format of Scones ({error}); run: scones stage"
        ) from error


def folder_below(name: str) -> str:
    """The folder below the class's in `<class>/<folder>/.../<photo>`; empty for `<class>/<photo>`."""
    folders = name.split("/")[1:-1]
    return folders[0] if folders else ""


ONE_SOURCE: Final = "all photos come from one source: nothing shows how the model does on photos of another"
"""The warning where accuracy on new sources cannot be measured."""
NO_NEW_SOURCE: Final = (
    "nothing shows how the model does on photos of a new source: all photos come from one source, or no source can be "
    "left out, since a class would lose most of its photos"
)
"""The same where it is not known which of the two it is."""
MIN_PHOTOS_PER_CLASS: Final = 10
"""The minimum for training and evaluation."""

_TEST_SHARE: Final = 256 // 5

Split = Literal["train", "test"]
"""Training photos, and test photos for evaluation."""


class SourceError(DataError):
    """The source of photos cannot be used; the message says why and what to do."""


class TooFewPhotos(SourceError):
    """A class has too few usable photos."""

    def __init__(self, label: str, photos: int, needed: str) -> None:
        super().__init__(f"class {label!r} has {plural(photos, 'usable photo')}; it needs {needed}: add some")
        self.label = label
        self.photos = photos


class ProgressCallback(Protocol):
    """Reports the progress of long work."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """*done* of *total* items are done; *what* names the items."""


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """One photo; `name` is unique within its split and class, `sha256` that of its file, in hex.

    `source` says where it comes from, such as a phone, a city or a website; empty where that is unknown. `read` reads
    the file's bytes when they are needed: thousands of large photos would not fit into memory.
    """

    name: str
    label: str
    split: Split
    sha256: str
    read: Callable[[], bytes] = field(repr=False, compare=False)
    source: str = ""
    provenance: Provenance | None = None

    @property
    def data(self) -> bytes:
        """The bytes of its file, read again; raises SourceError if the file changed."""
        data = self.read()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise SourceError(f"{path_of(self)} changed while it was being used; run it again")
        return data


def labelled_photo(name: str, label: str, split: Split, data: bytes) -> LabelledPhoto:
    """Make a photo of bytes in memory."""
    return LabelledPhoto(name, label, split, hashlib.sha256(data).hexdigest(), lambda: data)


@dataclass(frozen=True, slots=True)
class ExcludedFile:
    """A file that is not used, and why; of a folder, whose name ends with a slash, *files* counts its files."""

    name: str
    reason: str
    files: int = 1

    @property
    def why(self) -> str:
        """The reason, with the number of files where it is not one."""
        return self.reason if self.files < 2 else f"{self.reason} ({self.files:,} files)"


@dataclass(frozen=True, slots=True)
class ImageNote:
    """A remark on a photo that is used."""

    name: str
    note: str


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two photos of the same picture; *likeness* is 0 to 1. In leakage, *one* is the test photo."""

    one: LabelledPhoto
    other: LabelledPhoto
    likeness: float
    mirrored: bool


@dataclass(frozen=True, slots=True)
class DatasetFindings:
    """The results of validating all photos; pairs are sorted by likeness, the highest first."""

    notes: tuple[ImageNote, ...] = ()
    exact_duplicates: int = 0
    """Exact duplicates that are left out, compared without metadata."""
    leakage: tuple[DuplicatePair, ...] = ()
    """Training photos that are left out because they are near duplicates of a test photo."""
    near_duplicates: tuple[DuplicatePair, ...] = ()
    """Near duplicates within one split; they are kept."""
    reassigned: int = 0
    """Photos moved to the split of their near duplicate, where Scones chose the test photos."""


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """The training and test photos of a class."""

    label: str
    train: int
    test: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos for training and evaluation; *kind* tells photos from rendered pictures."""

    name: str
    kind: Literal["photos", "rendered"]
    photos: tuple[LabelledPhoto, ...]
    classes: tuple[str, ...]
    left_out: tuple[ExcludedFile, ...] = ()
    outliers: tuple[LabelledPhoto, ...] = ()
    """Photos of other things, for training only: the out-of-distribution detector is fitted to them."""
    notice: str = ""
    """A notice for the user about the source of the photos; empty if there is none."""
    warnings: tuple[str, ...] = ()
    """How the folders of the source were understood, where that may surprise, and classes of very unequal size."""
    findings: DatasetFindings = DatasetFindings()

    def counts(self) -> tuple[ClassCounts, ...]:
        """The photos of each class, in the order of the classes."""
        found = Counter((photo.label, photo.split) for photo in self.photos)
        return tuple(ClassCounts(label, found[label, "train"], found[label, "test"]) for label in self.classes)


def remove_duplicates(photos: Sequence[LabelledPhoto]) -> tuple[tuple[LabelledPhoto, ...], tuple[ExcludedFile, ...]]:
    """Keep one of each photo, the test photo if there is one; photos with two labels are left out.

    Only files that are equal byte for byte are found.
    """
    groups: defaultdict[str, list[LabelledPhoto]] = defaultdict(list)
    for photo in photos:
        groups[photo.sha256].append(photo)
    left_out = {}
    for group in groups.values():
        labels = sorted({photo.label for photo in group})
        kept = None if len(labels) > 1 else min(group, key=lambda photo: photo.split != "test")
        for photo in group:
            if kept is None:
                left_out[id(photo)] = f"the same photo is labelled {' and '.join(labels)}"
            elif photo is not kept:
                left_out[id(photo)] = f"is the same photo as {path_of(kept)}"
    return (
        tuple(photo for photo in photos if id(photo) not in left_out),
        tuple(ExcludedFile(path_of(photo), left_out[id(photo)]) for photo in photos if id(photo) in left_out),
    )


def split_by_content(photos: Sequence[LabelledPhoto], groups: Sequence[int] = ()) -> tuple[LabelledPhoto, ...]:
    """Assign about a fifth of each class to the test split, by the photos' content alone.

    A photo keeps its split when it is renamed or others are added, except for photos of its group: *groups* has the
    group number of each photo, and a group stays together.
    """
    groups = groups or range(len(photos))
    ranks: dict[int, bytes] = {}
    for photo, group in zip(photos, groups, strict=True):
        rank = bytes.fromhex(photo.sha256)
        ranks[group] = min(rank, ranks.get(group, rank))
    lowest: dict[str, bytes] = {}
    for photo, group in zip(photos, groups, strict=True):
        lowest[photo.label] = min(ranks[group], lowest.get(photo.label, ranks[group]))
    # Each class has at least one test photo.
    judging = {group for group, rank in ranks.items() if rank[0] < _TEST_SHARE or rank in lowest.values()}
    return tuple(
        replace(photo, split="test" if group in judging else "train")
        for photo, group in zip(photos, groups, strict=True)
    )


def require_enough(photos: Sequence[LabelledPhoto], classes: Sequence[str]) -> None:
    """Check that each class has enough photos for training and evaluation.

    Raises:
        TooFewPhotos: a class has fewer than `MIN_PHOTOS_PER_CLASS`, or none in one of the splits.
    """
    totals = Counter(photo.label for photo in photos)
    splits = Counter((photo.label, photo.split) for photo in photos)
    for label in classes:
        if totals[label] < MIN_PHOTOS_PER_CLASS:
            raise TooFewPhotos(label, totals[label], f"{MIN_PHOTOS_PER_CLASS} or more")
        if splits[label, "train"] < MIN_PHOTOS_PER_CLASS // 2:
            needed = f"{MIN_PHOTOS_PER_CLASS // 2} or more in train/, of other pictures than its test photos'"
            raise TooFewPhotos(label, totals[label], needed)
        if not splits[label, "test"]:
            raise TooFewPhotos(label, totals[label], "at least one in test/")


def path_of(photo: LabelledPhoto) -> str:
    """The path of a photo in a folder: split, class and name."""
    return f"{photo.split}/{photo.label}/{photo.name}"


_SMALL_PHOTOS_SIZE: Final = 160
"""The model's size for photos whose shorter sides are below `_NATURAL_SIDE`, all but a quarter of them."""
_NATURAL_PHOTOS_SIZE: Final = 224
"""The model's size for others: the one that the backbone was trained at."""
_NATURAL_SIDE: Final = 192
_SIZE_QUANTILE: Final = 0.75


def choose_model_size(sides: Sequence[int]) -> tuple[int, int]:
    """The side to which a model should scale photos with these shorter *sides*, and the side that decided."""
    # Small photos can be enlarged; what large ones lose when they are made small is lost.
    place = math.ceil(_SIZE_QUANTILE * (len(sides) - 1))
    side = sorted(sides)[place] if sides else _SMALL_PHOTOS_SIZE
    return (_NATURAL_PHOTOS_SIZE if side >= _NATURAL_SIDE else _SMALL_PHOTOS_SIZE), side
