"""A collection of labelled photos, and the plain rules that make one fit for training; pure."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from scones.domain.errors import DataError

MIN_PHOTOS_PER_CLASS: Final = 10
"""With fewer, neither training nor evaluation means anything."""

_TEST_SHARE: Final = 256 // 5

Split = Literal["train", "test"]
"""Photos to learn from, and photos to judge by."""


class SourceError(DataError):
    """The source of photos cannot be used; the message says why and what to do."""


class TooFewPhotos(SourceError):
    """A class has not enough photos that can be used."""

    def __init__(self, label: str, photos: int, needed: str) -> None:
        super().__init__(f"class {label!r} has {photos} photos that can be used; it needs {needed}: add some")
        self.label = label
        self.photos = photos


class ProgressCallback(Protocol):
    """Hears how far long work has come."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Note that *done* of *total* are done; *what* says of what."""


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """One photo; `name` is unique within its split and class, `sha256` that of its file, in hex.

    `read` gives the file's bytes whenever they are needed: thousands of large photos would not fit into memory.
    """

    name: str
    label: str
    split: Split
    sha256: str
    read: Callable[[], bytes] = field(repr=False, compare=False)

    @property
    def data(self) -> bytes:
        """The bytes of its file, read again; raises SourceError if they are not what they were."""
        data = self.read()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise SourceError(f"{path_of(self)} changed while it was being used; run it again")
        return data


def labelled_photo(name: str, label: str, split: Split, data: bytes) -> LabelledPhoto:
    """Make a photo of bytes that are in memory anyway."""
    return LabelledPhoto(name, label, split, hashlib.sha256(data).hexdigest(), lambda: data)


@dataclass(frozen=True, slots=True)
class ExcludedFile:
    """A file that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImageNote:
    """A photo that is used although something about it is odd."""

    name: str
    note: str


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two photos that show the same picture; *likeness* is 0 to 1. Of a leak, *one* judges and *other* was to train."""

    one: LabelledPhoto
    other: LabelledPhoto
    likeness: float
    mirrored: bool


@dataclass(frozen=True, slots=True)
class DatasetFindings:
    """What was found by looking at every photo, the likest twins first."""

    noted: tuple[ImageNote, ...] = ()
    same: int = 0
    """Files left out since another is equal to them, byte for byte once their metadata is gone."""
    leaks: tuple[DuplicatePair, ...] = ()
    """Training photos that were left out since a test photo shows the same picture."""
    twins: tuple[DuplicatePair, ...] = ()
    """Photos on one side of the split that show the same picture as another; they are kept."""
    moved: int = 0
    """Photos that Scones, which chose the test photos itself, put on the side of their twin."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos fit for training and evaluation. Rendered pictures are never to be passed off as photos."""

    name: str
    kind: Literal["photos", "rendered"]
    photos: tuple[LabelledPhoto, ...]
    classes: tuple[str, ...]
    left_out: tuple[ExcludedFile, ...] = ()
    outliers: tuple[LabelledPhoto, ...] = ()
    """Photos of other things, to train on alone: they teach the guard what is of no class."""
    notice: str = ""
    """What the user must be told of where the photos came from; empty when there is nothing special."""
    findings: DatasetFindings = DatasetFindings()


def remove_duplicates(photos: Sequence[LabelledPhoto]) -> tuple[tuple[LabelledPhoto, ...], tuple[ExcludedFile, ...]]:
    """Keep one of each photo; what is also a test photo does not train, and what has two labels has none.

    Only files equal byte for byte are found.
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
    """Give about a fifth of each class to the test split, by the photos' content alone.

    A photo stays in its split whatever it is called and whatever is added beside it, except for photos of its group:
    *groups* numbers each photo's, and a group stays together.
    """
    groups = groups or range(len(photos))
    ranks: dict[int, bytes] = {}
    for photo, group in zip(photos, groups, strict=True):
        rank = bytes.fromhex(photo.sha256)
        ranks[group] = min(rank, ranks.get(group, rank))
    lowest: dict[str, bytes] = {}
    for photo, group in zip(photos, groups, strict=True):
        lowest[photo.label] = min(ranks[group], lowest.get(photo.label, ranks[group]))
    # However few there are, one of each class judges.
    judging = {group for group, rank in ranks.items() if rank[0] < _TEST_SHARE or rank in lowest.values()}
    return tuple(
        replace(photo, split="test" if group in judging else "train")
        for photo, group in zip(photos, groups, strict=True)
    )


def require_enough(photos: Sequence[LabelledPhoto], classes: Sequence[str]) -> None:
    """Check that each class can be learnt and judged.

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
    """Name a photo by its split, class and name, as it would lie in a folder."""
    return f"{photo.split}/{photo.label}/{photo.name}"
