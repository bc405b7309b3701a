"""Files: everything that a folder or an S3 prefix holds, and what is no photo by its name alone.

Staging and batches take their files from here, so both choose by the same rule: each file is either listed or left out
with a reason. Whether a listed file is a photo is decided by its content, whatever its extension.
"""

import os
import posixpath
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from scones.data.dataset import ExcludedFile, SourceError
from scones.data.image_header import UnreadablePhoto
from scones.data.labels import InvalidLabels, table_rows
from scones.domain.errors import raise_as
from scones.domain.text import printable

TABLES: Final = ("labels.csv", "labels.jsonl", "metadata.csv", "metadata.jsonl")
"""Tables that name the source of each photo: the first of `_NAME_COLUMNS` that they have, and `source`."""
_NAME_COLUMNS: Final = ("file_name", "filename", "file", "path", "photo", "image", "key")
MAX_FILE_BYTES: Final = 64_000_000
"""Larger files are refused before they are read."""
_SYSTEM_NAMES: Final = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini"),
    *("@eadir", "$recycle.bin", "system volume information"),
}

# With a prefix, a path must fit into an S3 key of 1,024 bytes.
_MAX_PATH_BYTES: Final = 800

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its path in the source, with slashes, and a function that reads it; raises UnreadablePhoto."""

    path: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class FileSource:
    """The files of a folder or S3 prefix; *name* is short, *place* is for messages.

    What is no photo by its name, and folders that are empty or cannot be read, are in *left_out*.
    """

    name: str
    place: str
    items: tuple[SourceFile, ...]
    left_out: tuple[ExcludedFile, ...] = ()


def open_folder(folder: Path) -> FileSource:
    """List the files below *folder*; links to other folders are followed, and each folder is listed once.

    Raises:
        SourceError: no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        known = "auto, cifar100, sample, s3://bucket/prefix or a folder"
        raise SourceError(f"there is no folder {printable(str(folder))!r} to take photos from; data can be {known}")
    found, unread = _walk(folder)
    items, ignored = choose_by_name(found, lambda item: item.path)
    name = printable(folder.resolve().name)
    return FileSource(name, f"folder {printable(str(folder))}", tuple(items), (*unread, *ignored))


def read_tables(source: FileSource) -> tuple[FileSource, dict[str, str], tuple[str, ...]]:
    """Read the tables among the files: the files without them, the source of each path that they name, and notes.

    Names are paths from the folder of their table. Rows without a source name none.
    """
    # A table and a file system may encode the accents of one name in two ways.
    paths = {unicodedata.normalize("NFC", item.path): item.path for item in source.items}
    tables = [item for item in source.items if item.path.rpartition("/")[2].casefold() in TABLES]
    named: dict[str, str] = {}
    notes = []
    for table in tables:
        found, note = _read_table(table)
        named |= {paths[path]: value for path, value in found.items() if path in paths}
        missing = [path for path in found if path not in paths]
        if missing:
            note += f"{'; ' if note else ''}{len(missing):,} of its {len(found):,} names are of no file, such as "
            note += repr(missing[0][:_MAX_SHOWN])
        if note:
            notes.append(f"{table.path}: {note}")
    read = {table.path for table in tables}
    items = tuple(item for item in source.items if item.path not in read)
    return replace(source, items=items), named, tuple(notes)


_MAX_SHOWN: Final = 80


def _read_table(table: SourceFile) -> tuple[dict[str, str], str]:
    """The source by path, and what of the table was not used; empty if all was."""
    refused: list[str] = []
    try:
        with raise_as(UnreadablePhoto):
            text = table.read().decode("utf-8-sig")
    except UnreadablePhoto as error:
        return {}, f"is not used: it {error.reason}"
    base = table.path.rpartition("/")[0]
    found = {}
    try:
        for place, row in table_rows(text, lambda error: refused.append(str(error))):
            name = next((str(row[column]) for column in _NAME_COLUMNS if row.get(column)), "")
            if not name or not isinstance(row.get("source", ""), str):
                refused.append(f"{place} names no {'photo' if not name else 'source'}")
            elif "source" in row:
                path = posixpath.normpath(posixpath.join(base, name.replace("\\", "/")))
                value = unicodedata.normalize("NFC", str(row["source"]).strip())
                found[unicodedata.normalize("NFC", path)] = printable(value)[:_MAX_SHOWN]
    except InvalidLabels as error:
        refused.append(str(error))
    if refused:
        return found, f"{len(refused):,} of its rows are not used: {refused[0][:200]}"
    return found, "" if found else "has no column source, so it is not used"


def user_path(path: str | Path) -> Path:
    """The path that a person named; `~` is their home folder."""
    # Path.expanduser raises where there is no user of that name.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def choose_by_name(found: Iterable[T], path_of: Callable[[T], str]) -> tuple[list[T], list[ExcludedFile]]:
    """Leave out what is no photo by its path: hidden files, those of operating systems, names that are no text.

    A folder that is left out is one entry with the number of its files.
    """
    chosen: list[T] = []
    ignored: Counter[tuple[str, str]] = Counter()
    for item in found:
        reason = _reason_by_name(path_of(item))
        if reason:
            ignored[reason] += 1
        else:
            chosen.append(item)
    return chosen, [ExcludedFile(path, reason, files) for (path, reason), files in ignored.items()]


def require_photo_size(size: int) -> None:
    """Refuse a file of *size* bytes before it is read; raises UnreadablePhoto."""
    if size > MAX_FILE_BYTES:
        raise UnreadablePhoto(f"is too large ({size:,} bytes; the limit is {MAX_FILE_BYTES:,})")


def _reason_by_name(path: str) -> tuple[str, str] | None:
    """The file, or the outermost folder above it, that cannot be a photo or hold one, and why."""
    parts = path.split("/")
    for depth, part in enumerate(parts, start=1):
        if reason := unsuitable(part):
            inner = "/" if depth < len(parts) else ""
            return printable("/".join(parts[:depth])) + inner, reason
    if len(path.encode()) > _MAX_PATH_BYTES:
        return path, f"has a name of more than {_MAX_PATH_BYTES} bytes, with its folders; shorten it"
    return None


def unsuitable(name: str) -> str:
    """Why no file or folder of this name is taken; empty for other names."""
    categories = {unicodedata.category(letter) for letter in name}
    if "Cs" in categories:
        return "has a name that is not UTF-8; rename it"
    if "Cc" in categories:
        return "has a control character in its name; rename it"
    if name == "__MACOSX" or name.startswith("._"):
        return "holds metadata of macOS"
    if name.startswith("."):
        return "is hidden"
    if name.casefold() in _SYSTEM_NAMES:
        return "belongs to the operating system"
    return "" if name else "has an empty name"


def _walk(folder: Path) -> tuple[list[SourceFile], list[ExcludedFile]]:
    """Every file, and the folders that have none, cannot be read, or are listed elsewhere."""
    files: list[SourceFile] = []
    unread: list[ExcludedFile] = []
    known: dict[tuple[int, int], str] = {}
    folders, links = [(folder, "")], list[tuple[Path, str]]()
    # Links come last: a folder that is there itself is listed at its own place.
    while folders or links:
        path, name = folders.pop() if folders else links.pop(0)
        try:
            if name and path.is_symlink() and (reason := _leads_back(path, folder)):
                unread.append(ExcludedFile(f"{printable(name)}/", reason))
                continue
            status = path.stat()
            first = known.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                unread.append(ExcludedFile(f"{printable(name)}/", f"is the same folder as {printable(first)}/"))
                continue
            entries = sorted(child.name for child in path.iterdir())
        except OSError as error:
            if not name:
                raise SourceError(f"folder {printable(str(folder))} cannot be read: {error.strerror}") from error
            unread.append(ExcludedFile(f"{printable(name)}/", f"cannot be read: {error.strerror}"))
            continue
        if name and not entries:
            unread.append(ExcludedFile(f"{printable(name)}/", "is empty", 0))
        for entry in entries:
            child, inside = path / entry, f"{name}/{entry}" if name else entry
            # Path.is_dir raises where a folder's files may be listed and not looked at.
            if not os.path.isdir(child):  # noqa: PTH112
                files.append(SourceFile(inside, partial(_read, child)))
            elif os.path.islink(child):  # noqa: PTH114
                links.append((child, inside))
            else:
                folders.append((child, inside))
    return files, unread


def _leads_back(link: Path, root: Path) -> str:
    """Why a link is not followed: it leads to a folder that holds the link itself, or the whole source."""
    target = link.resolve()
    around = any(place.resolve().is_relative_to(target) for place in (link.parent, root))
    return f"leads back to {printable(str(target))}, a folder above it" if around else ""


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadablePhoto("is not a regular file")
        require_photo_size(status.st_size)
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(f"cannot be read: {error.strerror}") from error
