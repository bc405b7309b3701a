"""Growth: a dataset and the photos that people labelled make the next dataset; pure but for reading the photos.

The test photos stay as they are. A photo that measures the accuracy is never trained on, and neither is one that looks
like such a photo or like a test photo. What people said last counts: a label that was withdrawn, or about which people
disagree now, takes its photo out again.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Final

import numpy as np

from scones.data.dataset import (
    Dataset,
    ExcludedFile,
    LabelledPhoto,
    ProgressCallback,
    Provenance,
    path_of,
    require_enough,
)
from scones.data.image_header import UnreadablePhoto
from scones.data.labels import NOT_A_VEHICLE, Label, LabelOrigin, Purpose, newest, settled
from scones.data.near_duplicates import CELLS, cells, find_near_duplicates
from scones.data.validation import ImageFile, ValidImage, validate_images

PREFIX: Final = "labelled-"
"""The beginning of the names of photos that come from labels; the SHA-256 of the labelled bytes follows."""
TRAFFIC: Final = "traffic"
"""The source of such photos."""
_CORRECTED: Final = "corrected-"
_EXTENSIONS: Final = {".jpg", ".jpeg", ".png", ".webp"}
_SUSPICIOUS: Final = 20
"""From so many labels on, a person who gave all of them the same class is named."""

Read = Callable[[Label], bytes]
"""Reads the photo of a label; raises UnreadablePhoto if it is gone."""


@dataclass(frozen=True, slots=True)
class LabelledTraffic:
    """The labels that count: photos to *learn* from and to *measure* by, each by its SHA-256.

    *disputed* counts the photos about which people disagree.
    """

    learn: Mapping[str, Label]
    measure: Mapping[str, Label]
    disputed: int
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, labels: Iterable[Label], besides: Container[str] = ()) -> "LabelledTraffic":
        """Sort *labels*, those of the photos *besides* left out.

        A photo that was ever chosen to measure never trains, whoever labels it again.
        """
        every = [label for label in labels if label.photo not in besides]
        measuring = {label.photo for label in every if label.purpose is Purpose.MEASURE}
        found = settled(every)
        return cls(
            learn={photo: it for photo, it in found.items() if photo not in measuring},
            measure={photo: it for photo, it in found.items() if photo in measuring},
            disputed=len(newest(every)) - len(found),
            warnings=tuple(_one_sided(found.values())),
        )


def _one_sided(labels: Iterable[Label]) -> Iterable[str]:
    said: dict[str, Counter[str]] = {}
    for label in labels:
        said.setdefault(label.by, Counter())[label.label] += 1
    for person, counts in said.items():
        if len(counts) == 1 and counts.total() >= _SUSPICIOUS:
            yield f"{person} gave all {counts.total()} photos the label {next(iter(counts))}; look at some of them"


def grow(base: Dataset, traffic: LabelledTraffic, read: Read, progress: ProgressCallback) -> Dataset:
    """Build the next dataset; *left_out* says which labels were not used, and why.

    A photo that an earlier dataset holds is not read again: its retention may have passed.

    Raises:
        TooFewPhotos: corrections left too few training photos of a class.
    """
    every = (*base.photos, *base.outliers)
    held = {p.provenance.photo: p for p in every if p.provenance and p.name.startswith(PREFIX)}
    staged = {photo.sha256: photo for photo in every if not photo.name.startswith(PREFIX)}
    learn, refused = _usable(traffic, base.classes, staged, held)
    corrected = [_corrected(photo, learn.pop(photo.sha256, None)) for photo in staged.values()]
    files = [_file(label, held.get(label.photo), read) for label in learn.values()]
    seen, unread = validate_images(files, progress)
    measuring = validate_images([_file(label, None, read) for label in traffic.measure.values()], progress)[0]
    usable, doubtful = _apart(seen, staged, measuring)
    labels = {file.name: label for file, label in zip(files, learn.values(), strict=True)}
    photos = [*corrected, *(_of_traffic(it.photo, labels[it.photo.name]) for it in usable)]
    grown = replace(
        base,
        photos=tuple(photo for photo in photos if photo.label in base.classes),
        outliers=tuple(photo for photo in photos if photo.label not in base.classes),
        left_out=(*refused, *unread, *doubtful),
        warnings=traffic.warnings,
    )
    require_enough(grown.photos, base.classes)
    return grown


def _of_traffic(photo: LabelledPhoto, label: Label) -> LabelledPhoto:
    return replace(photo, source=TRAFFIC, provenance=_provenance(label))


def _usable(
    traffic: LabelledTraffic,
    classes: Sequence[str],
    staged: Mapping[str, LabelledPhoto],
    held: Mapping[str, LabelledPhoto],
) -> tuple[dict[str, Label], list[ExcludedFile]]:
    """The labels to learn, by the photo that they are about, and why the others are not used."""
    content = {photo.sha256: name for name, photo in held.items()}
    found: dict[str, Label] = {}
    refused = []
    for label in sorted(traffic.learn.values(), key=lambda label: label.when):
        photo, known = content.get(label.photo, label.photo), staged.get(label.photo)
        if label.label not in (*classes, NOT_A_VEHICLE):
            reason = f"has the label {label.label!r}, which is no class of this dataset"
        elif known and known.split == "test" and known.label in classes:
            reason = "is a test photo, and the test photos stay as they are"
        elif known and label.origin is not LabelOrigin.CORRECTION:
            reason = f"is the same photo as {path_of(known)}"
        elif label.origin is LabelOrigin.CORRECTION and not (known or photo in held or label.uri):
            reason = "corrects a photo that this dataset does not hold"
        else:
            found[photo] = replace(label, photo=photo)
            continue
        refused.append(ExcludedFile(f"photo {label.photo}", reason))
    return found, refused


def _corrected(photo: LabelledPhoto, label: Label | None) -> LabelledPhoto:
    """The photo under its corrected label; its name is then a new one, for the other class may have its own."""
    if label is None or label.label == photo.label:
        return photo
    path = PurePosixPath(photo.name)
    name = str(path.with_name(f"{_CORRECTED}{photo.sha256}{path.suffix}"))
    return replace(photo, name=name, label=label.label, split="train", provenance=_provenance(label))


def _file(label: Label, held: LabelledPhoto | None, read: Read) -> ImageFile:
    extension = PurePosixPath(label.uri).suffix.lower()
    name = held.name if held else f"{PREFIX}{label.photo}{extension if extension in _EXTENSIONS else ''}"
    return ImageFile(
        name, label.label, "train", f"photo {label.photo}", held.read if held else partial(_read, label, read)
    )


def _read(label: Label, read: Read) -> bytes:
    data = read(label)
    if hashlib.sha256(data).hexdigest() != label.photo:
        raise UnreadablePhoto(f"is not the one that was labelled: another one is at {label.uri}")
    return data


def _apart(
    seen: Sequence[ValidImage], staged: Mapping[str, LabelledPhoto], measuring: Sequence[ValidImage]
) -> tuple[list[ValidImage], list[ExcludedFile]]:
    """Those of the photos that neither the dataset has, nor a photo that measures resembles; and the others."""
    kept: dict[str, ValidImage] = {}
    left_out = []
    for image in seen:
        same = staged.get(image.photo.sha256) or (
            kept[image.photo.sha256].photo if image.photo.sha256 in kept else None
        )
        if same is None:
            kept[image.photo.sha256] = image
        else:
            left_out.append(ExcludedFile(_named(image), f"is the same photo as {path_of(same)}"))
    test = [cells(photo.data) for photo in staged.values() if photo.split == "test"]
    images = list(kept.values())
    compared = np.array([*test, *(it.cells for it in (*measuring, *images))], np.uint8).reshape(-1, CELLS, CELLS, 3)
    guarded = len(test) + len(measuring)
    for item in find_near_duplicates(compared):
        if item.number >= guarded and (item.others < guarded).any():
            image = images[item.number - guarded]
            del kept[image.photo.sha256]
            what = "a test photo" if (item.others < len(test)).any() else "a photo that measures the accuracy"
            left_out.append(ExcludedFile(_named(image), f"shows the same picture as {what}"))
    return list(kept.values()), left_out


def provenance_of_name(name: str) -> Provenance | None:
    """What the name of a photo tells of its label; None for the source's photos."""
    photo = name.removeprefix(PREFIX).partition(".")[0]
    return Provenance(photo, "", "", LabelOrigin.REVIEW.value) if name.startswith(PREFIX) else None


def _named(image: ValidImage) -> str:
    return f"photo {image.photo.name.removeprefix(PREFIX)}"


def _provenance(label: Label) -> Provenance:
    return Provenance(label.photo, label.by, label.when, label.origin.value, label.event)
