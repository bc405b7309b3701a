"""Captured records: read SageMaker's JSON Lines and select the photos to monitor; all other records are counted."""

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from scones.data.decode import decode
from scones.data.image_header import UnreadablePhoto
from scones.domain.errors import MonitoringError, raise_as
from scones.domain.naming import is_internal
from scones.domain.wire import BadAnswer, InvalidRequest, read_answers, read_request
from scones.monitoring.capture.cursor import AnyFile, CaptureCursor, CaptureFile, CaptureProgress, is_capture

MAX_NAMED_RECORDS = 20
"""The first records that cannot be used, up to this number, are named one by one."""

_EXCERPT_CHARACTERS = 80
# SageMaker accepts 25 MB at most; in base64, for input and output, that is less.
_MAX_LINE_BYTES = 96 << 20
_FLUSH_SECONDS = 3600.0
"""A file is written at most this long after its first record."""

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Payload(msgspec.Struct, rename="camel"):
    """One side of a record: the request or the response."""

    data: str
    encoding: str = ""
    observed_content_type: str = ""

    def content(self, side: str) -> bytes:
        # Text encodings (JSON, CSV) hold the body as it was sent; only BASE64 is wrapped.
        if self.encoding.upper() != "BASE64":
            return self.data.encode("utf-8", errors="surrogatepass")
        try:
            return base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _InvalidRecord(f"the {side} is not base64") from error


class _Exchange(msgspec.Struct, rename="camel"):
    endpoint_input: _Payload | None = None
    endpoint_output: _Payload | None = None


class _Event(msgspec.Struct, rename="camel"):
    event_id: _Text
    inference_time: _Text
    inference_id: str | None = None


class _Line(msgspec.Struct, rename="camel"):
    """A line of a capture file; unknown fields are ignored, so that newer records still read."""

    capture_data: _Exchange
    event_metadata: _Event


class _InvalidRecord(MonitoringError):
    """Why a line is not a capture record."""


@dataclass(frozen=True, slots=True)
class CapturedRecord:
    """One request and its response: a photo, or several, and the probabilities of each.

    *photos* or *probabilities* is None if the endpoint captured only the other. Both are None for internal traffic,
    which nothing uses.
    """

    event_id: str
    inference_time: str
    inference_id: str | None
    photos: tuple[bytes, ...] | None
    content_type: str
    probabilities: tuple[tuple[float, ...], ...] | None

    def photo_events(self) -> list[str]:
        """The name of each photo: the record's event, with the photo's number from 0 where the record has several."""
        count = len(self.photos or ())
        return [self.event_id] if count == 1 else [f"{self.event_id}/{number}" for number in range(count)]

    @property
    def moment(self) -> float | None:
        """The time of the request in seconds since 1970, by the endpoint's clock; None if it cannot be read."""
        try:
            found = datetime.fromisoformat(self.inference_time)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None


@dataclass(frozen=True, slots=True)
class MalformedRecord:
    """A line that is not a capture record: its number (from 1), why, and how it begins."""

    line: int
    reason: str
    excerpt: str


def split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Split a stream into lines, without their ends; the last one may be half written.

    Of a line longer than any record only the beginning is returned, which is not a valid record.
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
    """Parse capture records one by one; each line that is not blank gives exactly one result."""
    for number, line in enumerate(lines, start=1):
        text = line.decode("utf-8", errors="replace") if isinstance(line, bytes) else line
        if not text.strip():
            continue
        try:
            with raise_as(_InvalidRecord):
                record = _record(text)
            yield record
        except _InvalidRecord as why:
            yield MalformedRecord(number, str(why), text.strip()[:_EXCERPT_CHARACTERS])


def _record(text: str) -> CapturedRecord:
    try:
        line = msgspec.json.decode(text, type=_Line)
    except msgspec.ValidationError as error:
        raise _InvalidRecord(f"not a capture record ({error})") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _InvalidRecord("not JSON, or cut off while being written") from error
    event, request, response = line.event_metadata, line.capture_data.endpoint_input, line.capture_data.endpoint_output
    internal = event.inference_id is not None and is_internal(event.inference_id)
    if request is None and response is None and not internal:
        raise _InvalidRecord("neither input nor output was captured")
    photos = None if request is None or internal else _photos(request)
    probabilities = None if response is None or internal else _probabilities(response)
    if photos is not None and probabilities is not None and len(photos) != len(probabilities):
        raise _InvalidRecord(f"{len(photos)} photos in the input and {len(probabilities)} predictions in the output")
    return CapturedRecord(
        event_id=event.event_id,
        inference_time=event.inference_time,
        inference_id=event.inference_id,
        photos=photos,
        content_type=request.observed_content_type if request else "",
        probabilities=probabilities,
    )


def _photos(request: _Payload) -> tuple[bytes, ...]:
    content_type = request.observed_content_type.encode("utf-8", errors="replace")
    body = request.content("input")
    try:
        photos, _ = read_request(content_type, body) if body else ([body], False)
    except InvalidRequest as error:
        raise _InvalidRecord(f"the input is not a request: {error.reason}") from error
    return tuple(photos)


def _probabilities(response: _Payload) -> tuple[tuple[float, ...], ...]:
    try:
        answers = read_answers(response.content("output"))
    except BadAnswer as error:
        raise _InvalidRecord(str(error)) from error
    return tuple(tuple(map(float, answer["probabilities"])) for answer in answers)


class RefusalReason(StrEnum):
    """Why a record is not used."""

    NO_CAPTURE = "not a capture file"
    GONE = "file deleted before it was read"
    MALFORMED = "not a capture record"
    NO_PHOTO = "captured without photo"
    NO_ANSWER = "captured without prediction"
    UNREADABLE = "unreadable photo"
    OTHER_MODEL = "prediction of another model"
    EARLIER = "requested before the endpoint last changed"
    TWICE = "duplicate"
    OURS = "internal traffic"


IGNORED = frozenset({RefusalReason.EARLIER, RefusalReason.TWICE, RefusalReason.OURS})
"""These records are valid, but not traffic to monitor."""


@dataclass(frozen=True, slots=True)
class CapturedPhoto:
    """One photo that a user sent, decoded to uint8 [side, side, 3], and the endpoint's prediction."""

    event_id: str
    time: str
    photo: NDArray[np.uint8]
    probabilities: tuple[float, ...]
    sha256: str = ""
    """Of the photo's bytes, as they were sent."""


Fetch = Callable[["CaptureReader"], Iterable[tuple[CaptureFile, Iterable[bytes] | None]]]
"""Yields the content of the files that the reader chooses, in pieces; None for a file that is gone."""


class CaptureReader:
    """Iterates over the captured photos of one monitoring run, each once, and counts the records that are not used.

    *image_size* is the side of the model's input in pixels. *since* is when the endpoint got its configuration, in
    seconds since 1970 by AWS's clock: earlier predictions are another model's.
    """

    def __init__(
        self, cursor: CaptureCursor, classes: Sequence[str], image_size: int, fetch: Fetch, since: float = 0.0
    ) -> None:
        self.photos = 0
        self.complete = True
        """Whether the capture was read to its end; *fetch* sets it to False if it stops before."""
        self._progress = CaptureProgress(cursor)
        self._classes, self._image_size, self._since = len(classes), image_size, since
        self._fetch = fetch
        self._counts: Counter[RefusalReason] = Counter()
        self._examples: list[str] = []
        self._reading = self._read()

    def __iter__(self) -> Iterator[CapturedPhoto]:
        """Go on reading all files that are fetched, where an earlier iteration stopped."""
        return self._reading

    def _read(self) -> Iterator[CapturedPhoto]:
        for file, pieces in self._fetch(self):
            if pieces is None:
                self.refuse_once(RefusalReason.GONE, f"{file.key}: {RefusalReason.GONE}")
                continue
            yield from self._photos(file, split_lines(pieces))
            self._progress.done(file)

    def choose(self, files: Iterable[AnyFile], prefix: str, *, complete: bool) -> list[AnyFile]:
        """The files of a listing below *prefix* that have not been read, the oldest first."""
        return self._progress.choose(self._captures(files, prefix), complete=complete)

    @property
    def refused(self) -> Mapping[RefusalReason, int]:
        """The number of records that are not used, by reason."""
        return dict(self._counts)

    @property
    def examples(self) -> tuple[str, ...]:
        """The first invalid records, one line each."""
        return tuple(self._examples)

    def cursor(self) -> CaptureCursor:
        """The position for the next run."""
        return self._progress.cursor(finished=self.complete)

    def refuse_once(self, reason: RefusalReason, where: str) -> None:
        """Count a record or file, unless it was counted before."""
        if self._progress.is_new(where):
            self._refuse(reason, where)

    def _refuse(self, reason: RefusalReason, where: str) -> None:
        self._counts[reason] += 1
        if reason not in IGNORED and len(self._examples) < MAX_NAMED_RECORDS:
            self._examples.append(where)

    def _captures(self, files: Iterable[AnyFile], prefix: str) -> Iterator[AnyFile]:
        for file in files:
            if is_capture(file.key, prefix):
                yield file
            else:
                self.refuse_once(RefusalReason.NO_CAPTURE, f"{file.key}: {RefusalReason.NO_CAPTURE}")

    def _photos(self, file: CaptureFile, lines: Iterable[bytes]) -> Iterator[CapturedPhoto]:
        for record in parse_records(lines):
            if isinstance(record, MalformedRecord):
                # If the file is rewritten with more records, each bad line counts once too.
                self.refuse_once(RefusalReason.MALFORMED, f"{file.key} line {record.line}: {record.reason}")
            elif reason := self._refusal(file, record):
                self._refuse(reason, f"event {record.event_id}: {reason}")
            else:
                yield from self._decoded(record)

    def _refusal(self, file: CaptureFile, record: CapturedRecord) -> RefusalReason | None:
        if record.inference_id is not None and is_internal(record.inference_id):
            return RefusalReason.OURS
        if not self._progress.is_new(record.event_id):
            return RefusalReason.TWICE
        if self._is_earlier(file, record):
            return RefusalReason.EARLIER
        if record.photos is None:
            return RefusalReason.NO_PHOTO
        if record.probabilities is None:
            return RefusalReason.NO_ANSWER
        of_model = all(len(row) == self._classes for row in record.probabilities)
        return None if of_model else RefusalReason.OTHER_MODEL

    def _decoded(self, record: CapturedRecord) -> Iterator[CapturedPhoto]:
        rows = zip(record.photo_events(), record.photos or (), record.probabilities or (), strict=True)
        for event, photo, probabilities in rows:
            try:
                with raise_as(UnreadablePhoto):
                    pixels = decode(photo, self._image_size)
            except UnreadablePhoto as error:
                self._refuse(RefusalReason.UNREADABLE, f"event {event}: the photo {error.reason}")
                continue
            self.photos += 1
            digest = hashlib.sha256(photo).hexdigest()
            yield CapturedPhoto(event, record.inference_time, pixels, probabilities, digest)

    def _is_earlier(self, file: CaptureFile, record: CapturedRecord) -> bool:
        """Whether another model predicted. The endpoint's clock is trusted only if S3's clock agrees with it."""
        moment = record.moment
        return file.modified < self._since or (
            moment is not None and self._since - _FLUSH_SECONDS <= moment < self._since
        )
