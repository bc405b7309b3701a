"""A shelf of files that may be photos: a folder on this machine, or whatever else can list and read files."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from scones.photos.collection import SourceError
from scones.photos.header import UnreadablePhoto

MAX_FILE_BYTES: Final = 64_000_000
"""Larger files are no photos, whatever their names say."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file: its path below the shelf, parted by slashes, and how to read it.

    `read` raises UnreadablePhoto where it cannot. An unreadable folder is an item whose path ends with a slash.
    """

    path: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The files of one source; *name* is short, *place* says in messages where it is."""

    name: str
    place: str
    items: tuple[Item, ...]


def open_folder(folder: Path) -> Shelf:
    """List the files below *folder*.

    Raises:
        SourceError: no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        known = "auto, cifar100, sample, s3://bucket/prefix or a folder"
        raise SourceError(f"there is no folder {str(folder)!r} to take photos from; data can be {known}")
    return Shelf(folder.resolve().name, f"folder {folder}", tuple(_walk(folder)))


def require_photo_size(size: int) -> None:
    """Refuse a file of *size* bytes before it is read; raises UnreadablePhoto."""
    if size > MAX_FILE_BYTES:
        raise UnreadablePhoto(f"is too large ({size:,} bytes; the limit is {MAX_FILE_BYTES:,})")


def _walk(folder: Path) -> Iterator[Item]:
    failed: list[OSError] = []
    for parent, _, names in os.walk(folder, onerror=failed.append):
        for name in names:
            path = Path(parent, name)
            yield Item(path.relative_to(folder).as_posix(), partial(_read, path))
    for error in failed:
        path = Path(error.filename)
        if path == folder:
            raise SourceError(f"folder {folder} cannot be read: {error.strerror}") from error
        yield Item(f"{path.relative_to(folder).as_posix()}/", partial(_refuse, f"cannot be read: {error.strerror}"))


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
