"""Validate images: each file's size, format and content, then duplicates, leakage and the split into train and test."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from scones.data.dataset import (
    Dataset,
    DatasetFindings,
    DuplicatePair,
    ExcludedFile,
    ImageNote,
    LabelledPhoto,
    ProgressCallback,
    Split,
    labelled_photo,
    path_of,
    remove_duplicates,
    require_enough,
    split_by_content,
)
from scones.data.decode import opened
from scones.data.image_header import Header, UnreadablePhoto, read_header
from scones.data.metadata import without_metadata
from scones.data.near_duplicates import NearDuplicates, cells, find_near_duplicates, group_duplicates, is_flat
from scones.domain.errors import raise_as

MIN_SIDE_PIXELS: Final = 8
"""The minimum side of a photo."""
_SMALL_PIXELS: Final = 32
_GRAY_LEVELS: Final = 2
_OPAQUE: Final = 255


@dataclass(frozen=True, slots=True)
class ImageReport:
    """A valid photo: its *data* without metadata, the *cells* uint8 [8, 8, 3] to compare it by, and remarks."""

    data: bytes
    cells: NDArray[np.uint8]
    notes: tuple[str, ...]


def validate_image(data: bytes) -> ImageReport:
    """Validate the image file in *data*.

    Raises:
        UnreadablePhoto: it is not an image, damaged, truncated, too large or too small.
    """
    header = read_header(data)
    if min(header.width, header.height) < MIN_SIDE_PIXELS:
        raise UnreadablePhoto(f"is too small ({_size(header)}; each side needs at least {MIN_SIDE_PIXELS})")
    seen = cells(data)
    return ImageReport(without_metadata(data), seen, tuple(_notes(header, seen)))


def _notes(header: Header, seen: NDArray[np.uint8]) -> list[str]:
    flat = is_flat(seen)
    odd = {
        "shows a single color": flat,
        "is animated, its first frame is used": header.animated,
        "is transparent, white shows through": _is_transparent(header),
        "is gray": not flat and int(np.ptp(seen.astype(np.int16), axis=2).max()) <= _GRAY_LEVELS,
        f"is small ({_size(header)})": min(header.width, header.height) < _SMALL_PIXELS,
    }
    return [note for note, found in odd.items() if found]


def _is_transparent(header: Header) -> bool:
    with opened(header) as image:
        # Many opaque images have an alpha channel.
        return image.has_transparency_data and bool(np.asarray(image.convert("RGBA").getchannel("A")).min() < _OPAQUE)


def _size(header: Header) -> str:
    return f"{header.width} x {header.height} pixels"


OTHER_CLASS: Final = "shows the same picture as a photo of another class"
"""A remark that a person should check: one of the two photos has the wrong label."""
# Decoders release Python's lock; each may take 200 MB for a photo of the maximum size.
_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that may be a photo of a class; *place* is its path for messages."""

    name: str
    label: str
    split: Split
    place: str
    read: Callable[[], bytes]
    source: str = ""


@dataclass(frozen=True, slots=True)
class ValidImage:
    """A valid photo; the *cells* uint8 [8, 8, 3] are compared to find near duplicates."""

    photo: LabelledPhoto
    cells: NDArray[np.uint8]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceContent:
    """The content of a source, before its photos are compared."""

    name: str
    kind: Literal["photos", "rendered"]
    classes: tuple[str, ...]
    photos: tuple[ValidImage, ...]
    outliers: tuple[ValidImage, ...]
    left_out: tuple[ExcludedFile, ...]
    split: bool
    """Whether the source has its own test photos."""


def validate_images(
    candidates: Sequence[ImageFile], progress: ProgressCallback
) -> tuple[list[ValidImage], list[ExcludedFile]]:
    """Validate each file; those that cannot be used are left out, with the reason."""

    def one(candidate: ImageFile) -> ValidImage | ExcludedFile:
        try:
            with raise_as(UnreadablePhoto):
                return _validate(candidate)
        except UnreadablePhoto as error:
            return ExcludedFile(candidate.place, error.reason)

    seen, left_out = [], []
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, result in enumerate(pool.map(one, candidates), start=1):
            if isinstance(result, ValidImage):
                seen.append(result)
            else:
                left_out.append(result)
            progress(done, len(candidates), "reading photos")
    return seen, left_out


def build_dataset(found: SourceContent) -> Dataset:
    """Build the dataset: remove duplicates, prevent leakage, and split.

    One of each photo is kept. If the source has test photos, training photos that are near duplicates of one are left
    out; if not, a fifth becomes the test split, and near duplicates stay together.

    Raises:
        TooFewPhotos: of a class.
    """
    unique, same = remove_duplicates([seen.photo for seen in (*found.photos, *found.outliers)])
    kept = {id(photo) for photo in unique}
    # Test photos come first: a near duplicate of an earlier photo is leakage if that one is a test photo.
    compared = sorted(
        (seen for seen in found.photos if id(seen.photo) in kept), key=lambda seen: seen.photo.split == "train"
    )
    likes = list(find_near_duplicates(np.array([seen.cells for seen in compared], np.uint8).reshape(-1, 8, 8, 3)))
    photos = [seen.photo for seen in compared]
    leakage: tuple[DuplicatePair, ...] = ()
    reassigned = 0
    if found.split:
        leakage = _find_leakage(photos, likes)
    else:
        alone = split_by_content(photos)
        photos = list(split_by_content(photos, group_duplicates(len(photos), likes).tolist()))
        reassigned = sum(one.split != other.split for one, other in zip(alone, photos, strict=True))
    leaking = {id(duplicates.other) for duplicates in leakage}
    stays = [(photo, seen) for photo, seen in zip(photos, compared, strict=True) if id(photo) not in leaking]
    require_enough([photo for photo, _ in stays], found.classes)
    order = {id(seen): number for number, seen in enumerate(found.photos)}
    stays.sort(key=lambda pair: order[id(pair[1])])
    duplicates = tuple(
        pair for pair in _find_near_duplicates(photos, likes) if not {id(pair.one), id(pair.other)} & leaking
    )
    leaked = (
        ExcludedFile(path_of(pair.other), f"shows the same picture as {path_of(pair.one)}, which is a test photo")
        for pair in leakage
    )
    return Dataset(
        found.name,
        found.kind,
        tuple(photo for photo, _ in stays),
        found.classes,
        (*found.left_out, *same, *leaked),
        tuple(seen.photo for seen in found.outliers if id(seen.photo) in kept),
        findings=DatasetFindings(_image_notes(stays, duplicates), len(same), leakage, duplicates, reassigned),
    )


def _validate(candidate: ImageFile) -> ValidImage:
    found = validate_image(candidate.read())
    whole = labelled_photo(candidate.name, candidate.label, candidate.split, found.data)
    read = candidate.read
    # The bytes are not kept in memory.
    photo = replace(whole, read=lambda: without_metadata(read()), source=candidate.source)
    return ValidImage(photo, found.cells, found.notes)


def _find_leakage(photos: Sequence[LabelledPhoto], likes: Sequence[NearDuplicates]) -> tuple[DuplicatePair, ...]:
    """Pair each training photo that is a near duplicate of test photos with the most similar of them."""
    judging = sum(photo.split == "test" for photo in photos)
    crossing = ((item, item.others < judging) for item in likes if item.number >= judging)
    return _sorted(_pair(photos, item, across) for item, across in crossing if across.any())


def _find_near_duplicates(
    photos: Sequence[LabelledPhoto], likes: Sequence[NearDuplicates]
) -> tuple[DuplicatePair, ...]:
    """Pair each photo with the most similar of the near duplicates before it in its split."""
    sides = np.array([photo.split == "test" for photo in photos])
    beside = ((item, sides[item.others] == sides[item.number]) for item in likes)
    return _sorted(_pair(photos, item, same) for item, same in beside if same.any())


def _pair(photos: Sequence[LabelledPhoto], item: NearDuplicates, among: NDArray[np.bool_]) -> DuplicatePair:
    best = int(np.argmax(np.where(among, item.likeness, -1)))
    other = photos[int(item.others[best])]
    return DuplicatePair(other, photos[item.number], round(float(item.likeness[best]), 3), bool(item.mirrored[best]))


def _sorted(pairs: Iterable[DuplicatePair]) -> tuple[DuplicatePair, ...]:
    return tuple(sorted(pairs, key=lambda pair: -pair.likeness))


def _image_notes(
    stays: Sequence[tuple[LabelledPhoto, ValidImage]], duplicates: Sequence[DuplicatePair]
) -> tuple[ImageNote, ...]:
    odd = [ImageNote(path_of(photo), note) for photo, seen in stays for note in seen.notes]
    doubtful = (pair for pair in duplicates if pair.one.label != pair.other.label)
    odd += [ImageNote(path_of(pair.other), f"{OTHER_CLASS}: {path_of(pair.one)}") for pair in doubtful]
    return tuple(odd)
