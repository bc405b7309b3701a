"""Captured records: read SageMaker's JSON Lines and select the records to monitor; all others are counted by reason."""

import base64
import binascii
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scones.data.decode import decode
from scones.data.image_header import UnreadablePhoto
from scones.domain.tags import is_internal
from scones.monitoring.capture.cursor import CaptureFile, Reading

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_EXCERPT_CHARACTERS = 80
# SageMaker takes 25 MB at most; in base64 and twice over that is less.
_MAX_LINE_BYTES = 96 << 20


@dataclass(frozen=True, slots=True)
class CapturedRecord:
    """One request and its answer; *photo* or *probabilities* is None where the endpoint captured only the other.

    Both are None where the question is our own: it may hold many photos, and nobody looks at it.
    """

    event_id: str
    inference_time: str
    inference_id: str | None
    photo: bytes | None
    content_type: str
    probabilities: tuple[float, ...] | None

    @property
    def moment(self) -> float | None:
        """When it was asked, in seconds since 1970, by the endpoint's clock; None where that cannot be read."""
        try:
            found = datetime.fromisoformat(self.inference_time)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None


@dataclass(frozen=True, slots=True)
class MalformedRecord:
    """A line that is no capture record: its number (from 1), why, and how it begins."""

    line: int
    reason: str
    excerpt: str


class _InvalidRecord(ValueError):
    """Why a line is no capture record."""


def split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream into its lines, without their ends; the last one may be half written.

    Of a line that is longer than any record can be only the beginning is given, which reads as no record.
    """
    line, too_long = bytearray(), False
    for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            yield bytes(line if too_long else line + end)
            line, too_long = bytearray(), False
        if len(line) + len(rest) > _MAX_LINE_BYTES:
            line, too_long = (line + rest)[:_EXCERPT_CHARACTERS], True
        elif not too_long:
            line += rest
    if line:
        yield bytes(line)


def parse_records(lines: Iterable[bytes | str]) -> Iterator[CapturedRecord | MalformedRecord]:
    """Read capture records one by one; each line that is not blank gives exactly one result.

    Fields that this version does not know are ignored, so newer records still read.
    """
    for number, line in enumerate(lines, start=1):
        text = line.decode("utf-8", errors="replace") if isinstance(line, bytes) else line
        if not text.strip():
            continue
        try:
            yield _record(text)
        except _InvalidRecord as why:
            yield MalformedRecord(number, str(why), text.strip()[:_EXCERPT_CHARACTERS])


def _record(text: str) -> CapturedRecord:
    try:
        record: Json = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _InvalidRecord("not JSON, or cut off while being written") from error
    capture = _mapping(record, "captureData")
    metadata = _mapping(record, "eventMetadata")
    identity = metadata.get("inferenceId")
    ours = isinstance(identity, str) and is_internal(identity)
    seen = None if ours else _data(capture.get("endpointInput"), "input")
    answer = None if ours else _data(capture.get("endpointOutput"), "output")
    if seen is None and answer is None and not ours:
        raise _InvalidRecord("neither input nor output was captured")
    return CapturedRecord(
        event_id=_text(metadata.get("eventId"), "eventId"),
        inference_time=_text(metadata.get("inferenceTime"), "inferenceTime"),
        inference_id=identity if isinstance(identity, str) else None,
        photo=seen,
        content_type=_content_type(capture.get("endpointInput")),
        probabilities=None if answer is None else _probabilities(answer),
    )


def _mapping(record: Json, key: str) -> dict[str, Json]:
    found = record.get(key) if isinstance(record, dict) else None
    if not isinstance(found, dict):
        raise _InvalidRecord(f"no {key}: not a capture record")
    return found


def _text(value: Json, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise _InvalidRecord(f"no {key} in eventMetadata")
    return value


def _content_type(side: Json) -> str:
    found = side.get("observedContentType") if isinstance(side, dict) else None
    return found if isinstance(found, str) else ""


def _data(side: Json, name: str) -> bytes | None:
    """The bytes of one side of the record; None where that side was not captured."""
    if side is None:
        return None
    data = side.get("data") if isinstance(side, dict) else None
    if not isinstance(side, dict) or not isinstance(data, str):
        raise _InvalidRecord(f"the {name} holds no data")
    # Text encodings (JSON, CSV) hold the body as it was sent; only BASE64 is wrapped.
    if str(side.get("encoding", "")).upper() != "BASE64":
        return data.encode("utf-8", errors="surrogatepass")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _InvalidRecord(f"the {name} is not base64") from error


def _probabilities(answer: bytes) -> tuple[float, ...]:
    """Read a verbose answer, a JSON list, a JSON list of one list, or one line of comma-separated numbers."""
    text = answer.decode("utf-8", errors="replace").strip()
    try:
        parsed: Json = json.loads(text if text.startswith(("[", "{")) else f"[{text}]")
    except (ValueError, RecursionError) as error:
        raise _InvalidRecord("the output is no list of probabilities") from error
    if isinstance(parsed, dict):
        parsed = parsed.get("probabilities")
    if isinstance(parsed, list) and len(parsed) == 1 and isinstance(parsed[0], list):
        parsed = parsed[0]
    numbers = tuple(_number(value) for value in parsed) if isinstance(parsed, list) else ()
    if not numbers:
        raise _InvalidRecord("the output is no list of probabilities")
    return numbers


def _number(value: Json) -> float:
    # Not a number fails the comparison too, so it needs no test of its own.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _InvalidRecord("the output holds something that is no probability")
    return float(value)


MAX_NAMED_RECORDS = 20
"""So many of the records that cannot be used are named one by one."""

_FLUSH_SECONDS = 3600.0
"""A file is written this long after its first record at most."""


class RefusalReason(StrEnum):
    """Why a record is not looked at."""

    NO_CAPTURE = "file that is no capture"
    GONE = "file that was deleted before it was read"
    MALFORMED = "line that is no capture record"
    NO_PHOTO = "captured without its photo"
    NO_ANSWER = "captured without its answer"
    UNREADABLE = "photo that cannot be read"
    OTHER_MODEL = "answer of another model"
    EARLIER = "asked before the endpoint last changed"
    TWICE = "captured twice"
    OURS = "asked by ourselves"


IGNORED = frozenset({RefusalReason.EARLIER, RefusalReason.TWICE, RefusalReason.OURS})
"""Nothing is wrong with these; they are only not the traffic that is watched."""


@dataclass(frozen=True, slots=True)
class Watching:
    """The model that is watched: its classes, its photos' side in pixels, and since when it serves.

    *since* is in seconds since 1970, by AWS's clock; what was asked before was answered by another model.
    """

    classes: tuple[str, ...]
    image_size: int
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class CapturedPhoto:
    """One photo that a user sent, decoded to uint8 [side, side, 3], and what the endpoint answered."""

    event_id: str
    time: str
    photo: NDArray[np.uint8]
    probabilities: tuple[float, ...]
    sha256: str = ""
    """Of the photo's bytes, as they were sent."""


class CaptureReader:
    """Sorts the records of one look."""

    def __init__(self, watching: Watching, reading: Reading) -> None:
        self._watching = watching
        self._reading = reading
        self._counts: Counter[RefusalReason] = Counter()
        self._examples: list[str] = []

    @property
    def counts(self) -> Mapping[RefusalReason, int]:
        """How many records could not be used, by reason."""
        return dict(self._counts)

    @property
    def examples(self) -> tuple[str, ...]:
        """The first records with which something was wrong, one line each."""
        return tuple(self._examples)

    def refuse(self, reason: RefusalReason, where: str) -> None:
        """Count one, and name it if it is among the first."""
        self._counts[reason] += 1
        if reason not in IGNORED and len(self._examples) < MAX_NAMED_RECORDS:
            self._examples.append(where)

    def refuse_once(self, reason: RefusalReason, where: str) -> None:
        """Count one, if it was not counted before."""
        if self._reading.is_new(where):
            self.refuse(reason, where)

    def take(self, file: CaptureFile, lines: Iterable[bytes]) -> Iterator[CapturedPhoto]:
        """Yield what can be looked at in *file*, and count the rest."""
        for record in parse_records(lines):
            if isinstance(record, MalformedRecord):
                # Of a file that is written again, with more in it, each bad line counts once too.
                self.refuse_once(RefusalReason.MALFORMED, f"{file.key} line {record.line}: {record.reason}")
            elif reason := self._why_not(file, record):
                self.refuse(reason, f"event {record.event_id}: {reason}")
            elif seen := self._decoded(record):
                yield seen

    def _why_not(self, file: CaptureFile, record: CapturedRecord) -> RefusalReason | None:
        if is_internal(record.inference_id):
            return RefusalReason.OURS
        if not self._reading.is_new(record.event_id):
            return RefusalReason.TWICE
        if self._is_earlier(file, record):
            return RefusalReason.EARLIER
        if record.photo is None:
            return RefusalReason.NO_PHOTO
        if record.probabilities is None:
            return RefusalReason.NO_ANSWER
        return None if len(record.probabilities) == len(self._watching.classes) else RefusalReason.OTHER_MODEL

    def _decoded(self, record: CapturedRecord) -> CapturedPhoto | None:
        assert record.photo is not None  # noqa: S101 - `_why_not` saw to both
        assert record.probabilities is not None  # noqa: S101
        try:
            photo = decode(record.photo, self._watching.image_size)
        except UnreadablePhoto as error:
            self.refuse(RefusalReason.UNREADABLE, f"event {record.event_id}: the photo {error.reason}")
            return None
        digest = hashlib.sha256(record.photo).hexdigest()
        return CapturedPhoto(record.event_id, record.inference_time, photo, record.probabilities, digest)

    def _is_earlier(self, file: CaptureFile, record: CapturedRecord) -> bool:
        """Whether another model answered. The endpoint's clock is believed only where S3's own bears it out."""
        since, moment = self._watching.since, record.moment
        return file.modified < since or (moment is not None and since - _FLUSH_SECONDS <= moment < since)
