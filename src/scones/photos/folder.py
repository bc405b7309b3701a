"""Photos from a folder with one folder a class, with or without train/ and test/ above them."""

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scones.photos.collection import (
    Collection,
    LabelledPhoto,
    LeftOut,
    Progress,
    SourceError,
    Split,
    require_enough,
    split_by_content,
    without_duplicates,
)
from scones.photos.decode import decode
from scones.photos.header import UnreadablePhoto

MAX_FILE_BYTES: Final = 64_000_000
"""Larger files are no photos, whatever their names say."""
OUTLIERS: Final = "outliers"
"""The folder, at the top, of photos that show none of the classes."""
_PROBE_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class _File:
    """A file found below a class's folder; an unreadable folder is found as a file with an *error*."""

    path: Path
    name: str
    label: str
    split: Split | None
    error: str = ""


def collect_folder(folder: Path, classes: tuple[str, ...], progress: Progress) -> Collection:
    """Read every photo below *folder*; those that cannot be used are left out, with the reason.

    Folders are matched with *classes* whatever their capitals; when none matches, the folders are the classes, in
    alphabetical order. Photos without train/ and test/ are split by their content, about 80 to 20. Photos of other
    things in outliers/ are for the guard to learn from. Hidden files are passed over.

    Raises:
        SourceError: no such folder, nothing in it, one class only, too few photos of a class.
    """
    roots, left_out = _roots(folder)
    chosen, unused = _choose(folder, roots, classes)
    left_out += unused
    files = [file for split, root in roots for file in _files(root, chosen, split)]
    files += _files(folder, (OUTLIERS,), "train")
    photos: list[LabelledPhoto] = []
    names: set[tuple[Split | None, str, str]] = set()
    for done, file in enumerate(files, start=1):
        try:
            _claim(file, names)
            photos.append(LabelledPhoto(file.name, file.label, file.split or "train", _read(file)))
        except UnreadablePhoto as error:
            left_out.append(LeftOut(file.path.relative_to(folder).as_posix(), error.reason))
        progress(done, len(files), "reading photos")
    if not photos:
        raise SourceError(f"folder {folder} has {len(files)} files but no photo that can be read; {_LAYOUT}")
    unique, same = without_duplicates(photos)
    kept = tuple(photo for photo in unique if photo.label != OUTLIERS)
    outliers = tuple(photo for photo in unique if photo.label == OUTLIERS)
    if not any(split == "test" for split, _ in roots):
        kept = split_by_content(kept)
    require_enough(kept, chosen)
    return Collection(folder.resolve().name, "photos", kept, chosen, (*left_out, *same), outliers)


_LAYOUT: Final = "it should hold one folder of photos for each class (or train/ and test/ with those)"


def _roots(folder: Path) -> tuple[list[tuple[Split | None, Path]], list[LeftOut]]:
    """Find the folders that hold the classes' folders."""
    if not folder.is_dir():
        known = "auto, cifar100, sample or a folder"
        raise SourceError(f"there is no folder {str(folder)!r} to take photos from; data can be {known}")
    try:
        children = _visible_folders(folder)
    except OSError as error:
        raise SourceError(f"folder {folder} cannot be read: {error.strerror}") from error
    names = {child.name for child in children}
    if "train" not in names:
        if "test" in names:
            raise SourceError(f"folder {folder} has test/ but no train/; {_LAYOUT}")
        return [(None, folder)], []
    roots: list[tuple[Split | None, Path]] = [("train", folder / "train")]
    if "test" in names:
        roots.append(("test", folder / "test"))
    others = [
        LeftOut(f"{name}/", "is neither train/ nor test/") for name in sorted(names - {"train", "test", OUTLIERS})
    ]
    return roots, others


def _choose(
    folder: Path, roots: list[tuple[Split | None, Path]], classes: tuple[str, ...]
) -> tuple[tuple[str, ...], list[LeftOut]]:
    """Settle which folders are the classes; the others are left out."""
    found = sorted({_label(child, classes) for _, root in roots for child in _visible_folders(root)} - {OUTLIERS})
    if not found:
        raise SourceError(f"folder {folder} holds no folders with photos; {_LAYOUT}")
    missing = [label for label in classes if label not in found]
    if len(missing) == len(classes):
        classes, missing = tuple(found), []
    if missing:
        raise SourceError(f"folder {folder} has no folder {missing[0]!r}; folders there: {', '.join(found)}")
    if len(classes) < 2:
        raise SourceError(f"folder {folder} has one class only ({classes[0]}); two or more are needed to tell apart")
    unused = [LeftOut(f"{name}/", "is none of the classes") for name in found if name not in classes]
    return classes, unused


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _label(folder: Path, classes: tuple[str, ...]) -> str:
    """Name the class of a folder: "Bicycle" holds bicycles, and an accent is the same however it is stored."""
    name = unicodedata.normalize("NFC", folder.name)
    return next((label for label in classes if label.casefold() == name.casefold()), name)


def _files(root: Path, classes: tuple[str, ...], split: Split | None) -> Iterator[_File]:
    """List the files of every class, at any depth, in the order of classes and then of names."""
    folders_of = [(_label(folder, classes), folder) for folder in _visible_folders(root)]
    wanted = [pair for pair in folders_of if pair[0] in classes]
    for label, folder in sorted(wanted, key=lambda pair: classes.index(pair[0])):
        failed: list[OSError] = []
        for parent, folders, names in os.walk(folder, onerror=failed.append):
            folders.sort()
            for name in sorted(names):
                path = Path(parent, name)
                if not name.startswith(".") and name != "Thumbs.db":
                    yield _File(path, unicodedata.normalize("NFC", path.relative_to(folder).as_posix()), label, split)
        for error in failed:
            yield _File(Path(error.filename), "", label, split, f"cannot be read: {error.strerror}")


def _claim(file: _File, names: set[tuple[Split | None, str, str]]) -> None:
    """Let only the first file have a name; two can differ in nothing but how their accents are stored."""
    key = (file.split, file.label, file.name)
    if file.name and key in names:
        raise UnreadablePhoto("has the same name as another photo of its class")
    names.add(key)


def _read(file: _File) -> bytes:
    """Read a file that is a photo from its first byte to its last."""
    if file.error:
        raise UnreadablePhoto(file.error)
    try:
        status = file.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadablePhoto("is no ordinary file")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadablePhoto(f"is too large ({status.st_size:,} bytes; the limit is {MAX_FILE_BYTES:,})")
        data = file.path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(f"cannot be read: {error.strerror}") from error
    decode(data, _PROBE_SIZE)
    return data
