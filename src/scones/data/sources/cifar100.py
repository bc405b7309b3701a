"""CIFAR-100 source: download the archive once, verify it, and read the classes without executing the pickle."""

import difflib
import fcntl
import hashlib
import http.client
import io
import queue
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from scones.data.dataset import Dataset, LabelledPhoto, ProgressCallback, SourceError, Split, labelled_photo, path_of
from scones.data.validation import ImageFile, SourceContent, build_dataset, validate_images

_CHUNK_BYTES: Final = 1 << 18
_TIMEOUT_SECONDS: Final = 5.0
_CUTS_BORNE: Final = 5
_PAUSE_SECONDS: Final = 0.2


class DownloadError(SourceError):
    """A download failed, or its checksum is wrong."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A file on the web, the MD5 digest that its publisher gives, and its name in the cache.

    So many training photos of each class that was not asked for come along, as outliers.
    """

    url: str
    md5: str
    file_name: str
    outliers_per_class: int = 0


def download(archive: Archive, cache: Path, progress: ProgressCallback) -> Path:
    """Return the path of the verified file in *cache*; a partial download continues.

    Raises:
        DownloadError: unreachable, cut again and again, another content than expected, or the cache cannot be written.
    """
    path = cache / archive.file_name
    part = path.with_name(path.name + ".part")
    try:
        if path.exists() and _md5(path) == archive.md5:
            return path
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(part) as file:
            _complete(archive, file, progress)
            file.flush()
            _verify(archive, part)
            part.replace(path)
    except OSError as error:
        raise DownloadError(f"the download cannot be kept in {cache}: {error.strerror or error}") from error
    return path


def _complete(archive: Archive, file: IO[bytes], progress: ProgressCallback) -> None:
    """Append to *file* until it is whole; a cut connection is taken up again where it broke off."""
    cuts = 0
    while True:
        start = file.seek(0, 2)
        try:
            if _transfer(archive, file, progress):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            error.close()
            raise DownloadError(f"{archive.url} answers {error.code} {error.reason}") from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        cuts += 1
        # A server that gave nothing at all is not worth the wait.
        if file.seek(0, 2) == start or cuts > _CUTS_BORNE:
            raise DownloadError(f"{archive.url} cannot be reached: {reason}")
        time.sleep(_PAUSE_SECONDS)


def _transfer(archive: Archive, file: IO[bytes], progress: ProgressCallback) -> bool:
    """Take what one connection gives; tell whether the file is whole now."""
    position = file.seek(0, 2)
    try:
        response = _open_url(archive.url, position)
    except urllib.error.HTTPError as error:
        # The server has no bytes beyond ours: the checksum decides what they are worth.
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and position:
            error.close()
            return True
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            position = file.seek(0)
            file.truncate()
        length = response.headers.get("Content-Length")
        total = position + int(length) if length else 0
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            position += len(chunk)
            progress(position, max(total, position), f"downloading {archive.file_name}")
    return position == total or not total


def _open_url(url: str, position: int) -> http.client.HTTPResponse:
    """Ask for the bytes from *position* on, and wait a few seconds at most.

    The wait is on a thread, since a name server that is silent has no time-out that Python could set.
    """
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url!r} is not a URL")
    request = urllib.request.Request(url, headers={"Range": f"bytes={position}-"} if position else {})  # noqa: S310 - checked above
    answers: queue.SimpleQueue[http.client.HTTPResponse | OSError | http.client.HTTPException] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS))  # noqa: S310 - checked above
        except (OSError, http.client.HTTPException) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=_TIMEOUT_SECONDS + 1)
    except queue.Empty as error:
        raise TimeoutError(f"no answer within {_TIMEOUT_SECONDS + 1:.0f} s") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _verify(archive: Archive, part: Path) -> None:
    found = _md5(part)
    if found != archive.md5:
        part.unlink()
        raise DownloadError(
            f"what came from {archive.url} has the MD5 checksum {found}, not {archive.md5}; it was deleted: try again"
        )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """Open the unfinished file for this process alone."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DownloadError(f"{part} is being downloaded by another process; wait for it") from error
        yield file


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


class InvalidArchive(SourceError):
    """The archive is not in the format of CIFAR-100's binary edition."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is not a CIFAR-100 archive of the binary edition: {reason}; delete it and try again")
        self.path = path
        self.reason = reason


def load_cifar100(archive: Archive, classes: tuple[str, ...], cache: Path, progress: ProgressCallback) -> Dataset:
    """Load the photos of *classes* from CIFAR-100, which is downloaded to *cache* once.

    Raises:
        SourceError: the archive cannot be had or read, or has no such class.
    """
    path = download(archive, cache, progress)
    photos = read_archive(path, classes, archive.outliers_per_class)
    candidates = [ImageFile(p.name, p.label, p.split, path_of(p), p.read) for p in photos]
    seen, left_out = validate_images(candidates, progress)
    return build_dataset(
        SourceContent(
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
        InvalidArchive: the file is damaged, or not in the format.
        SourceError: the archive has no such class.
    """
    return _read(path, classes, {"train": outliers_per_class, "test": 0})


def read_ood_images(path: Path, classes: tuple[str, ...], per_class: int = 10) -> tuple[LabelledPhoto, ...]:
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
                    _open(path, tar, members, name), split, _PhotoFilter(names, classes, others[split]), path
                )
            )
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise InvalidArchive(path, f"it cannot be read ({error})") from error


def _open(path: Path, tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str) -> IO[bytes]:
    # Links were skipped, so only the archive's own content is opened.
    file = tar.extractfile(members[name]) if name in members else None
    if file is None:
        raise InvalidArchive(path, f"it contains no file {name}")
    limit = _MAX_NAMES_BYTES if name == _NAMES else _MAX_RECORDS * _RECORD_BYTES
    if members[name].size > limit:
        raise InvalidArchive(path, f"its file {name} is {members[name].size:,} bytes long, over the {limit:,} expected")
    return file


def _label_names(path: Path, tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> list[str]:
    text = _open(path, tar, members, _NAMES).read().decode("utf-8", "replace")
    return text.split()


def _require(names: list[str], classes: tuple[str, ...]) -> None:
    for label in classes:
        if label not in names:
            near = difflib.get_close_matches(label, names) or sorted(names)[:5]
            raise SourceError(f"CIFAR-100 has no class {label!r}; it has, for instance, {', '.join(near)}")


class _PhotoFilter:
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


def _photos(file: IO[bytes], split: Split, wanted: _PhotoFilter, path: Path) -> Iterator[LabelledPhoto]:
    at = 0
    while block := file.read(_RECORDS_AT_ONCE * _RECORD_BYTES):
        if len(block) % _RECORD_BYTES:
            raise InvalidArchive(path, f"its {split} file ends within a record")
        records = np.frombuffer(block, dtype=np.uint8).reshape(-1, _RECORD_BYTES)
        for row, number in enumerate(records[:, 1].tolist()):
            label = wanted.label(number)
            if label:
                yield labelled_photo(f"{label}-{at + row:05}.png", label, split, _png(records[row, 2:]))
        at += len(records)


def _png(planes: npt.NDArray[np.uint8]) -> bytes:
    """Encode three planes, red, green and blue, as a PNG file."""
    stream = io.BytesIO()
    pixels = planes.reshape(3, SIDE_PIXELS, SIDE_PIXELS).transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png")
    return stream.getvalue()
