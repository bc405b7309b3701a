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
"""Larger files are no photos, whatever their names say."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its path below the shelf, parted by slashes, and how to read it.

    `read` raises UnreadablePhoto where it cannot. An unreadable folder is an item whose path ends with a slash.
    """

    path: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class FileSource:
    """The files of one source; *name* is short, *place* says in messages where it is."""

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
            raise UnreadablePhoto("is no ordinary file")
        require_photo_size(status.st_size)
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(f"cannot be read: {error.strerror}") from error


OUTLIERS: Final = "outliers"
"""The folder, at the top, of photos that show none of the classes."""
LAYOUT: Final = "it should hold one folder of photos for each class (or train/ and test/ with those)"
"""What to do about a shelf that holds none."""
_SPLITS: Final[tuple[Split, Split]] = ("train", "test")
_SYSTEM_FILE: Final = "Thumbs.db"
# With the prefix before it, a name must fit into an S3 key of 1,024 bytes.
_MAX_NAME_BYTES: Final = 800


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file with the class and the split that its folders name; *split* is None where they name none."""

    item: SourceFile
    name: str
    label: str
    split: Split | None


@dataclass(frozen=True, slots=True)
class FileLayout:
    """Every file of the classes and of outliers/, in the order of splits, classes and names; and what is neither."""

    files: tuple[LabelledFile, ...]
    classes: tuple[str, ...]
    left_out: tuple[ExcludedFile, ...]
    split: bool
    """Whether there are test photos: where not, some are to be chosen."""


def sort_files(shelf: FileSource, classes: tuple[str, ...]) -> FileLayout:
    """Sort the files of *shelf* into classes and splits.

    Folders are matched with *classes* whatever their capitals; when none matches, the folders are the classes, in
    alphabetical order. Hidden files are passed over.

    Raises:
        SourceError: no folders, one class only, a class of several missing, or test/ without train/.
    """
    items = [item for item in shelf.items if not _is_hidden(item.path)]
    tops = {item.path.split("/")[0] for item in items if "/" in item.path}
    if "test" in tops and "train" not in tops:
        raise SourceError(f"{shelf.place} has test/ but no train/; {LAYOUT}")
    splits = [split for split in _SPLITS if split in tops]
    files, left_out = _place(items, classes, splits)
    classes, unused = _choose(shelf, {file.label for file in files} - {OUTLIERS}, classes)
    wanted = (*classes, OUTLIERS)
    chosen = [file for file in files if file.label in wanted]
    chosen.sort(key=lambda file: (file.split == "test", wanted.index(file.label), file.name))
    left_out += [ExcludedFile(f"{name}/", "is none of the classes") for name in unused]
    return FileLayout(tuple(chosen), classes, tuple(left_out), "test" in splits)


def check_name(file: LabelledFile, names: set[tuple[Split | None, str, str]]) -> None:
    """Let only the first file have a name, and only one that a key and a list can carry; *names* are those taken.

    Two names can differ in nothing but how their accents are stored.

    Raises:
        UnreadablePhoto: the file must be renamed first.
    """
    key = (file.split, file.label, file.name)
    if file.name and key in names:
        raise UnreadablePhoto("has the same name as another photo of its class")
    names.add(key)
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in file.name):
        raise UnreadablePhoto("has a tab, a line end or what is no letter in its name; rename it")
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
            strays.append(ExcludedFile(item.path, "lies in no folder of a class"))
            continue
        name = unicodedata.normalize("NFC", "/".join(folders[1:]))
        files.append(LabelledFile(item, name, _label(folders[0], classes), split))
    return files, strays + [ExcludedFile(f"{name}/", "is neither train/ nor test/") for name in sorted(others)]


def _label(folder: str, classes: tuple[str, ...]) -> str:
    """Name the class of a folder: "Bicycle" holds bicycles, and an accent is the same however it is stored."""
    name = unicodedata.normalize("NFC", folder)
    return next((label for label in classes if label.casefold() == name.casefold()), name)


def _choose(shelf: FileSource, labels: set[str], classes: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Settle which folders are the classes; and which are not."""
    found = sorted(labels)
    if not found:
        raise SourceError(f"{shelf.place} holds no folders with photos; {LAYOUT}")
    missing = [label for label in classes if label not in found]
    if len(missing) == len(classes):
        classes, missing = tuple(found), []
    if missing:
        raise SourceError(f"{shelf.place} has no folder {missing[0]!r}; folders there: {', '.join(found)}")
    if len(classes) < 2:
        raise SourceError(f"{shelf.place} has one class only ({classes[0]}); two or more are needed to tell apart")
    for label in _unusable_names(classes):
        raise SourceError(f"{shelf.place} has a class {label!r}; rename the folder without commas and line ends")
    return classes, [label for label in found if label not in classes]


def _unusable_names(classes: tuple[str, ...]) -> Iterator[str]:
    """Names that a list of names cannot carry."""
    yield from (name for name in classes if "," in name or any(unicodedata.category(c) in {"Cc", "Cs"} for c in name))


def load_files(shelf: FileSource, classes: tuple[str, ...], progress: ProgressCallback) -> Dataset:
    """Read every photo on *shelf*; those that cannot be used are left out, with the reason.

    Folders are matched with *classes* whatever their capitals; when none matches, the folders are the classes, in
    alphabetical order. Photos without test/ are split by their content, about 80 to 20. Photos of other things in
    outliers/ are for the guard to learn from. Hidden files are passed over.

    Raises:
        SourceError: nothing there, one class only, too few photos of a class.
    """
    layout = sort_files(shelf, classes)
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
        raise SourceError(f"{shelf.place} has {len(layout.files)} files but no photo that can be read{first}; {LAYOUT}")
    return build_dataset(
        SourceContent(
            name=shelf.name,
            kind="photos",
            classes=layout.classes,
            photos=tuple(item for item in seen if item.photo.label != OUTLIERS),
            outliers=tuple(item for item in seen if item.photo.label == OUTLIERS),
            left_out=(*layout.left_out, *misnamed, *unusable),
            split=layout.split,
        )
    )
