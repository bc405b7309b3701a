"""The cursor: how far the capture has been read, in a few kilobytes, so that each record counts once.

S3's clock decides what is new, never the endpoint's, which may jump. Files may arrive late, in folders of past hours,
and a file may be rewritten with more records. So every file newer than the last complete listing, less a margin, is
read unless it was; and an event that was counted within the last day is not counted again, whichever file it is in.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

MARGIN_SECONDS = 3600.0
"""A file may be this much older than the newest file of a listing that did not contain it yet."""
DAY_SECONDS = 86_400.0
MAX_FULL_LISTING_FILES = 10_000
"""Up to this number all files are listed in every run; a larger capture from yesterday on, and in full once a day."""
MAX_EVENTS = 250_000
"""The number of counted events that are remembered, twice."""

_LAYOUT = re.compile(r"\d{4}/\d{2}/\d{2}/\d{2}/[^/]+\.jsonl")
_DIGEST_BYTES = 8


class CaptureFile(Protocol):
    """A capture file, as S3 lists it."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def etag(self) -> str:
        """The name of its content."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def modified(self) -> float:
        """When S3 stored it, in seconds since 1970."""


AnyFile = TypeVar("AnyFile", bound=CaptureFile)


def is_capture(key: str, prefix: str) -> bool:
    """Whether *key* lies below *prefix* as SageMaker lays captures out: yyyy/mm/dd/hh/name.jsonl."""
    return key.startswith(prefix) and _LAYOUT.fullmatch(key[len(prefix) :]) is not None


@dataclass(frozen=True, slots=True)
class CaptureCursor:
    """What is kept between two runs."""

    until: float = 0.0
    """S3's time of the newest file in the last complete listing; every older one was read, except for the margin."""
    listed: int = 0
    """The number of files in the last complete listing."""
    read: Mapping[str, float] = field(default_factory=dict)
    """The files read within the margin, as a digest of name and content, and their times."""
    events: tuple[str, str] = ("", "")
    """Digests of the counted events, concatenated in base64: those before `turned`, and those since."""
    turned: float = 0.0
    """S3's time at which the second list of events was started."""

    def start_after(self, prefix: str) -> str:
        """The key below *prefix* after which to list; empty for a complete listing."""
        if self.listed <= MAX_FULL_LISTING_FILES:
            return ""
        newest = max(self.read.values(), default=self.until)
        if newest - self.until > DAY_SECONDS:
            return ""
        yesterday = datetime.fromtimestamp(self.until, UTC) - timedelta(days=1)
        return f"{prefix}{yesterday:%Y/%m/%d/%H/}"


class CaptureProgress:
    """The progress of one run: which files were read and which events counted."""

    def __init__(self, cursor: CaptureCursor) -> None:
        self._cursor = cursor
        self._read = dict(cursor.read)
        self._before, self._since = (_unpack(text) for text in cursor.events)
        self._turned = cursor.turned
        self._listing = (cursor.until, cursor.listed)

    def choose(self, files: Iterable[AnyFile], *, complete: bool) -> list[AnyFile]:
        """The files of a listing that have not been read, the oldest first."""
        unread, newest, count = [], self._cursor.until, 0
        for file in files:
            count += 1
            newest = max(newest, file.modified)
            if file.modified >= self._cursor.until - MARGIN_SECONDS and _file_digest(file) not in self._read:
                unread.append(file)
        if complete:
            self._listing = (newest, count)
        return sorted(unread, key=lambda file: (file.modified, file.key))

    def is_new(self, event: str) -> bool:
        """Whether *event* has not been counted; it then is."""
        digest = hashlib.blake2b(event.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
        if digest in self._since or digest in self._before:
            return False
        self._since.add(digest)
        if len(self._since) >= MAX_EVENTS:
            self._turn(self._turned)
        return True

    def done(self, file: CaptureFile) -> None:
        """Note that *file* was read to its end."""
        self._read[_file_digest(file)] = file.modified
        if file.modified - self._turned > DAY_SECONDS:
            self._turn(file.modified)

    def cursor(self, *, finished: bool) -> CaptureCursor:
        """The cursor for the next run; *finished* says whether every chosen file was read."""
        until, listed = self._listing if finished else (self._cursor.until, self._cursor.listed)
        return CaptureCursor(
            until=until,
            listed=listed,
            read={digest: moment for digest, moment in self._read.items() if moment >= until - MARGIN_SECONDS},
            events=(_pack(self._before), _pack(self._since)),
            turned=self._turned,
        )

    def _turn(self, moment: float) -> None:
        self._before, self._since, self._turned = self._since, set(), moment


def _file_digest(file: CaptureFile) -> str:
    name = f"{file.key}\n{file.etag}\n{file.size}".encode("utf-8", "surrogatepass")
    return base64.b64encode(hashlib.blake2b(name, digest_size=_DIGEST_BYTES).digest()).decode().rstrip("=")


def _pack(digests: set[bytes]) -> str:
    return base64.b64encode(b"".join(sorted(digests))).decode()


def _unpack(text: str) -> set[bytes]:
    data = base64.b64decode(text)
    return {data[start : start + _DIGEST_BYTES] for start in range(0, len(data), _DIGEST_BYTES)}
