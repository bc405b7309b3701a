"""CIFAR-100's archive: fetched once, verified, and read record by record.

Of its two editions this reads the *binary* one: records of fixed length, which can hold nothing but labels and pixels.
The Python edition is a pickle, and a pickle is a program; a restricted unpickler would have to be right about every
corner of NumPy's protocol, to win nothing but file names that Scones does not need. Nothing here ever unpickles, and
nothing of the archive is ever extracted to disk.

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

import difflib
import io
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from scones.photos.check import Candidate, Found, assemble, look_at_all
from scones.photos.collection import Collection, LabelledPhoto, Progress, SourceError, Split, path_of, photo_of
from scones.photos.download import Archive, fetch

CIFAR100: Final = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    file_name="cifar-100-binary.tar.gz",
)
"""The archive at its author's university, 169 MB."""
SIDE_PIXELS: Final = 32
_RECORD_BYTES: Final = 2 + 3 * SIDE_PIXELS**2
_RECORDS_AT_ONCE: Final = 1000
_MAX_RECORDS: Final = 50_000
_MAX_NAMES_BYTES: Final = 100_000
_NAMES: Final = "fine_label_names.txt"
_SPLITS: Final[Mapping[str, Split]] = {"train.bin": "train", "test.bin": "test"}


class BadArchive(SourceError):
    """The archive is not in the format of CIFAR-100's binary edition."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is no CIFAR-100 archive of the binary edition: {reason}; delete it and try again")
        self.path = path
        self.reason = reason


def collect_archive(archive: Archive, classes: tuple[str, ...], cache: Path, progress: Progress) -> Collection:
    """Fetch CIFAR-100 into *cache*, unless it lies there, and take the photos of *classes* from it.

    Raises:
        SourceError: the archive cannot be had or read, or has no such class.
    """
    path = fetch(archive, cache, progress)
    photos = read_archive(path, classes, archive.outliers_per_class)
    candidates = [Candidate(p.name, p.label, p.split, path_of(p), p.read) for p in photos]
    seen, left_out = look_at_all(candidates, progress)
    return assemble(
        Found(
            name="cifar100",
            kind="photos",
            classes=classes,
            photos=tuple(item for item in seen if item.photo.label in classes),
            outliers=tuple(item for item in seen if item.photo.label not in classes),
            left_out=tuple(left_out),
            split=True,
        )
    )


def read_archive(path: Path, classes: tuple[str, ...], outliers_per_class: int = 0) -> tuple[LabelledPhoto, ...]:
    """Read the photos of *classes* from the archive at *path*, in its own order, as PNG files.

    With them come the first *outliers_per_class* training photos of each other class.

    Raises:
        BadArchive: the file is damaged, or not in the format.
        SourceError: the archive has no such class.
    """
    return _read(path, classes, {"train": outliers_per_class, "test": 0})


def read_others(path: Path, classes: tuple[str, ...], per_class: int = 10) -> tuple[LabelledPhoto, ...]:
    """Read the first *per_class* test photos of each class but *classes*; it raises what `read_archive` does."""
    photos = _read(path, classes, {"train": 0, "test": per_class})
    return tuple(photo for photo in photos if photo.label not in classes)


def _read(path: Path, classes: tuple[str, ...], others: Mapping[Split, int]) -> tuple[LabelledPhoto, ...]:
    try:
        with tarfile.open(path, "r:gz") as tar:
            members = {PurePosixPath(member.name).name: member for member in tar if member.isfile()}
            names = _label_names(path, tar, members)
            _require(names, classes)
            return tuple(
                photo
                for name, split in _SPLITS.items()
                for photo in _photos(
                    _open(path, tar, members, name), split, _Wanted(names, classes, others[split]), path
                )
            )
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise BadArchive(path, f"it cannot be read ({error})") from error


def _open(path: Path, tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str) -> IO[bytes]:
    # Links were passed over, so what is opened is the archive's own content.
    file = tar.extractfile(members[name]) if name in members else None
    if file is None:
        raise BadArchive(path, f"it holds no file {name}")
    limit = _MAX_NAMES_BYTES if name == _NAMES else _MAX_RECORDS * _RECORD_BYTES
    if members[name].size > limit:
        raise BadArchive(path, f"its file {name} is {members[name].size:,} bytes long, over the {limit:,} expected")
    return file


def _label_names(path: Path, tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> list[str]:
    text = _open(path, tar, members, _NAMES).read().decode("utf-8", "replace")
    return text.split()


def _require(names: list[str], classes: tuple[str, ...]) -> None:
    for label in classes:
        if label not in names:
            near = difflib.get_close_matches(label, names) or sorted(names)[:5]
            raise SourceError(f"CIFAR-100 has no class {label!r}; it has, for instance, {', '.join(near)}")


class _Wanted:
    """Takes every photo of the classes, and the first few of each other class."""

    def __init__(self, names: list[str], classes: tuple[str, ...], others: int) -> None:
        self._names = names
        self._others = others
        self._classes = classes
        self._taken: Counter[str] = Counter()

    def label(self, number: int) -> str | None:
        """Name the class of a record by its *number*, or None if the record is not wanted."""
        label = self._names[number] if number < len(self._names) else ""
        if label in self._classes:
            return label
        self._taken[label] += 1
        return label if label and self._taken[label] <= self._others else None


def _photos(file: IO[bytes], split: Split, wanted: _Wanted, path: Path) -> Iterator[LabelledPhoto]:
    at = 0
    while block := file.read(_RECORDS_AT_ONCE * _RECORD_BYTES):
        if len(block) % _RECORD_BYTES:
            raise BadArchive(path, f"its {split} file ends within a record")
        records = np.frombuffer(block, dtype=np.uint8).reshape(-1, _RECORD_BYTES)
        for row, number in enumerate(records[:, 1].tolist()):
            label = wanted.label(number)
            if label:
                yield photo_of(f"{label}-{at + row:05}.png", label, split, _png(records[row, 2:]))
        at += len(records)


def _png(planes: npt.NDArray[np.uint8]) -> bytes:
    """Encode three planes, red, green and blue, as a PNG file."""
    stream = io.BytesIO()
    pixels = planes.reshape(3, SIDE_PIXELS, SIDE_PIXELS).transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png")
    return stream.getvalue()
