"""A collection of labelled photos, and the plain rules that make one fit for training; pure."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from scones.errors import SconesError

MIN_PHOTOS_PER_CLASS: Final = 10
"""With fewer, neither training nor evaluation means anything."""

_TEST_SHARE: Final = 256 // 5

Split = Literal["train", "test"]
"""Photos to learn from, and photos to judge by."""


class SourceError(SconesError):
    """The source of photos cannot be used; the message says why and what to do."""


class TooFewPhotos(SourceError):
    """A class has not enough photos that can be used."""

    def __init__(self, label: str, photos: int, needed: str) -> None:
        super().__init__(f"class {label!r} has {photos} photos that can be used; it needs {needed}: add some")
        self.label = label
        self.photos = photos


class Progress(Protocol):
    """Hears how far long work has come."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Note that *done* of *total* are done; *what* says of what."""


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """One photo: `data` are the bytes of its file, `name` is unique within its split and class."""

    name: str
    label: str
    split: Split
    data: bytes


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Photos fit for training and evaluation. Rendered pictures are never to be passed off as photos."""

    name: str
    kind: Literal["photos", "rendered"]
    photos: tuple[LabelledPhoto, ...]
    classes: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    outliers: tuple[LabelledPhoto, ...] = ()
    """Photos of other things, to train on alone: they teach the guard what is of no class."""
    notice: str = ""
    """What the user must be told of where the photos came from; empty when there is nothing special."""


def without_duplicates(photos: Sequence[LabelledPhoto]) -> tuple[tuple[LabelledPhoto, ...], tuple[LeftOut, ...]]:
    """Keep one of each photo; what is also a test photo does not train, and what has two labels has none.

    Only files equal byte for byte are found.
    """
    groups: defaultdict[bytes, list[LabelledPhoto]] = defaultdict(list)
    for photo in photos:
        groups[hashlib.sha256(photo.data).digest()].append(photo)
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
        tuple(LeftOut(path_of(photo), left_out[id(photo)]) for photo in photos if id(photo) in left_out),
    )


def split_by_content(photos: Sequence[LabelledPhoto]) -> tuple[LabelledPhoto, ...]:
    """Give about a fifth of each class to the test split, by the photos' content alone.

    A photo stays in its split whatever it is called and whatever is added beside it.
    """
    ranks = [hashlib.sha256(photo.data).digest() for photo in photos]
    lowest: dict[str, bytes] = {}
    for photo, rank in zip(photos, ranks, strict=True):
        lowest[photo.label] = min(rank, lowest.get(photo.label, rank))
    # However few there are, one of each class judges.
    return tuple(
        replace(photo, split="test" if rank[0] < _TEST_SHARE or rank == lowest[photo.label] else "train")
        for photo, rank in zip(photos, ranks, strict=True)
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
            raise TooFewPhotos(label, totals[label], f"{MIN_PHOTOS_PER_CLASS // 2} or more in train/")
        if not splits[label, "test"]:
            raise TooFewPhotos(label, totals[label], "at least one in test/")


def path_of(photo: LabelledPhoto) -> str:
    """Name a photo by its split, class and name, as it would lie in a folder."""
    return f"{photo.split}/{photo.label}/{photo.name}"
