"""Folder source: the image files of a folder or bucket prefix, their class and split by the folders above them."""

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from scones.data.dataset import Dataset, ExcludedFile, ProgressCallback, SourceError, Split
from scones.data.image_header import UnreadablePhoto
from scones.data.validation import ImageFile, SourceContent, build_dataset, validate_images

MAX_FILE_BYTES: Final = 64_000_000
"""Larger files are refused before they are read."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its path in the source, with slashes, and a function that reads it.

    `read` raises UnreadablePhoto if it cannot. An unreadable folder is a file whose path ends with a slash.
    """

    path: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class FileSource:
    """The files of a folder or S3 prefix; *name* is short, *place* is for messages."""

    name: str
    place: str
    items: tuple[SourceFile, ...]


def open_folder(folder: Path) -> FileSource:
    """List the files below *folder*.

    Raises:
        SourceError: no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        known = "auto, cifar100, sample, s3://bucket/prefix or a folder"
        raise SourceError(f"there is no folder {str(folder)!r} to take photos from; data can be {known}")
    return FileSource(folder.resolve().name, f"folder {folder}", tuple(_walk(folder)))


def require_photo_size(size: int) -> None:
    """Refuse a file of *size* bytes before it is read; raises UnreadablePhoto."""
    if size > MAX_FILE_BYTES:
        raise UnreadablePhoto(f"is too large ({size:,} bytes; the limit is {MAX_FILE_BYTES:,})")


def _walk(folder: Path) -> Iterator[SourceFile]:
    failed: list[OSError] = []
    for parent, _, names in os.walk(folder, onerror=failed.append):
        for name in names:
            path = Path(parent, name)
            yield SourceFile(path.relative_to(folder).as_posix(), partial(_read, path))
    for error in failed:
        path = Path(error.filename)
        if path == folder:
            raise SourceError(f"folder {folder} cannot be read: {error.strerror}") from error
        yield SourceFile(
            f"{path.relative_to(folder).as_posix()}/", partial(_refuse, f"cannot be read: {error.strerror}")
        )


def _refuse(reason: str) -> bytes:
    raise UnreadablePhoto(reason)


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadablePhoto("is not a regular file")
        require_photo_size(status.st_size)
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(f"cannot be read: {error.strerror}") from error


OUTLIERS: Final = "outliers"
"""The top folder of out-of-distribution photos."""
LAYOUT: Final = "it should hold one folder of photos for each class (or train/ and test/ with those)"
"""The expected layout, for messages."""
_SPLITS: Final[tuple[Split, Split]] = ("train", "test")
_SYSTEM_FILE: Final = "Thumbs.db"
# With its prefix, a name must fit into an S3 key of 1,024 bytes.
_MAX_NAME_BYTES: Final = 800


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file with the class and the split of its folders; *split* is None without train/ and test/."""

    item: SourceFile
    name: str
    label: str
    split: Split | None


@dataclass(frozen=True, slots=True)
class FileLayout:
    """The files of the classes and of outliers/, sorted by split, class and name; and the files that are left out."""

    files: tuple[LabelledFile, ...]
    classes: tuple[str, ...]
    left_out: tuple[ExcludedFile, ...]
    split: bool
    """Whether the source has its own test photos."""


def sort_files(source: FileSource, classes: tuple[str, ...]) -> FileLayout:
    """Sort the files of *source* into classes and splits.

    Folder names match *classes* in any case; if none matches, the folders are the classes, in alphabetical order.
    Hidden files are skipped.

    Raises:
        SourceError: no folders, only one class, a missing class, or test/ without train/.
    """
    items = [item for item in source.items if not _is_hidden(item.path)]
    tops = {item.path.split("/")[0] for item in items if "/" in item.path}
    if "test" in tops and "train" not in tops:
        raise SourceError(f"{source.place} has test/ but no train/; {LAYOUT}")
    splits = [split for split in _SPLITS if split in tops]
    files, left_out = _place(items, classes, splits)
    classes, unused = _choose(source, {file.label for file in files} - {OUTLIERS}, classes)
    wanted = (*classes, OUTLIERS)
    chosen = [file for file in files if file.label in wanted]
    chosen.sort(key=lambda file: (file.split == "test", wanted.index(file.label), file.name))
    left_out += [ExcludedFile(f"{name}/", "is not one of the classes") for name in unused]
    return FileLayout(tuple(chosen), classes, tuple(left_out), "test" in splits)


def check_name(file: LabelledFile, names: set[tuple[Split | None, str, str]]) -> None:
    """Check that a name is unique and fits into a key and a list; *names* are those of earlier files.

    Two names can differ only in the encoding of their accents.

    Raises:
        UnreadablePhoto: the file must be renamed first.
    """
    key = (file.split, file.label, file.name)
    if file.name and key in names:
        raise UnreadablePhoto("has the same name as another photo of its class")
    names.add(key)
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in file.name):
        raise UnreadablePhoto("has a control character in its name; rename it")
    if len(file.name.encode()) > _MAX_NAME_BYTES:
        raise UnreadablePhoto(f"has a name of more than {_MAX_NAME_BYTES} bytes, with its folders; shorten it")


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/")) or path.endswith(_SYSTEM_FILE)


def _place(
    items: Sequence[SourceFile], classes: tuple[str, ...], splits: Sequence[Split]
) -> tuple[list[LabelledFile], list[ExcludedFile]]:
    files, strays, others = [], [], set()
    for item in items:
        top, *rest = item.path.split("/")
        if top in splits and top != OUTLIERS:
            split: Split | None = "train" if top == "train" else "test"
            folders = rest
        elif splits and top != OUTLIERS and rest:
            others.add(top)
            continue
        else:
            split = "train" if top == OUTLIERS else None
            folders = [top, *rest]
        if len(folders) < 2:
            strays.append(ExcludedFile(item.path, "is not in the folder of a class"))
            continue
        name = unicodedata.normalize("NFC", "/".join(folders[1:]))
        files.append(LabelledFile(item, name, _label(folders[0], classes), split))
    return files, strays + [ExcludedFile(f"{name}/", "is neither train/ nor test/") for name in sorted(others)]


def _label(folder: str, classes: tuple[str, ...]) -> str:
    """The class of a folder: case and the encoding of accents do not matter."""
    name = unicodedata.normalize("NFC", folder)
    return next((label for label in classes if label.casefold() == name.casefold()), name)


def _choose(source: FileSource, labels: set[str], classes: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Choose the folders that are classes; the second list has the others."""
    found = sorted(labels)
    if not found:
        raise SourceError(f"{source.place} contains no folders with photos; {LAYOUT}")
    missing = [label for label in classes if label not in found]
    if len(missing) == len(classes):
        classes, missing = tuple(found), []
    if missing:
        raise SourceError(f"{source.place} has no folder {missing[0]!r}; folders there: {', '.join(found)}")
    if len(classes) < 2:
        raise SourceError(f"{source.place} has only one class ({classes[0]}); at least two are needed")
    for label in _unusable_names(classes):
        raise SourceError(f"{source.place} has a class {label!r}; rename the folder without commas and line ends")
    return classes, [label for label in found if label not in classes]


def _unusable_names(classes: tuple[str, ...]) -> Iterator[str]:
    """Names that a list separated by commas cannot contain."""
    yield from (name for name in classes if "," in name or any(unicodedata.category(c) in {"Cc", "Cs"} for c in name))


def load_files(source: FileSource, classes: tuple[str, ...], progress: ProgressCallback) -> Dataset:
    """Load the photos of *source*; files that cannot be used are left out, with the reason.

    Folder names match *classes* in any case; if none matches, the folders are the classes, in alphabetical order.
    Without test/, photos are split by content, about 80 to 20. Photos of other things in outliers/ train the
    out-of-distribution detector. Hidden files are skipped.

    Raises:
        SourceError: no photos, only one class, or too few photos of a class.
    """
    layout = sort_files(source, classes)
    names: set[tuple[Split | None, str, str]] = set()
    candidates, misnamed = [], []
    for file in layout.files:
        try:
            check_name(file, names)
        except UnreadablePhoto as error:
            misnamed.append(ExcludedFile(file.item.path, error.reason))
            continue
        candidates.append(ImageFile(file.name, file.label, file.split or "train", file.item.path, file.item.read))
    seen, unusable = validate_images(candidates, progress)
    if not seen:
        first = "".join(f" ({item.name} {item.reason})" for item in [*misnamed, *unusable][:1])
        raise SourceError(f"{source.place} has {len(layout.files)} files but no readable photo{first}; {LAYOUT}")
    return build_dataset(
        SourceContent(
            name=source.name,
            kind="photos",
            classes=layout.classes,
            photos=tuple(item for item in seen if item.photo.label != OUTLIERS),
            outliers=tuple(item for item in seen if item.photo.label == OUTLIERS),
            left_out=(*layout.left_out, *misnamed, *unusable),
            split=layout.split,
        )
    )
