"""Downloads one file: resumed after a cut, verified by its checksum, put in place only when whole."""

import fcntl
import hashlib
import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from scones.photos.collection import Progress, SourceError

_CHUNK_BYTES: Final = 1 << 18
_TIMEOUT_SECONDS: Final = 5.0
_CUTS_BORNE: Final = 5
_PAUSE_SECONDS: Final = 0.2


class DownloadError(SourceError):
    """A download cannot be had, or is not what it should be."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A file on the web, the MD5 digest that its publisher gives, and its name in the cache.

    So many training photos of each class that was not asked for come along, as outliers.
    """

    url: str
    md5: str
    file_name: str
    outliers_per_class: int = 0


def fetch(archive: Archive, cache: Path, progress: Progress) -> Path:
    """Give the path of the verified file in *cache*, downloading what is missing of it.

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


def _complete(archive: Archive, file: IO[bytes], progress: Progress) -> None:
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


def _transfer(archive: Archive, file: IO[bytes], progress: Progress) -> bool:
    """Take what one connection gives; tell whether the file is whole now."""
    position = file.seek(0, 2)
    try:
        response = _open(archive.url, position)
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


def _open(url: str, position: int) -> http.client.HTTPResponse:
    """Ask for the bytes from *position* on, and wait a few seconds at most.

    The wait is on a thread, since a name server that is silent has no time-out that Python could set.
    """
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url!r} is no web address")
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
