"""Intake: which captured records can be looked at; every other one is counted by its reason."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from scones.data.decode import decode
from scones.data.image_header import UnreadablePhoto
from scones.domain.tags import is_ours
from scones.monitoring.capture import Captured, Malformed, parse
from scones.monitoring.cursor import File, Reading

MOST_EXAMPLES = 20
"""So many of the records that cannot be used are named one by one."""

_FLUSH_SECONDS = 3600.0
"""A file is written this long after its first record at most."""


class Reason(StrEnum):
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


PASSED_OVER = frozenset({Reason.EARLIER, Reason.TWICE, Reason.OURS})
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
class Seen:
    """One photo that a user sent, decoded to uint8 [side, side, 3], and what the endpoint answered."""

    event_id: str
    time: str
    photo: NDArray[np.uint8]
    probabilities: tuple[float, ...]
    sha256: str = ""
    """Of the photo's bytes, as they were sent."""


class Intake:
    """Sorts the records of one look."""

    def __init__(self, watching: Watching, reading: Reading) -> None:
        self._watching = watching
        self._reading = reading
        self._counts: Counter[Reason] = Counter()
        self._examples: list[str] = []

    @property
    def counts(self) -> Mapping[Reason, int]:
        """How many records could not be used, by reason."""
        return dict(self._counts)

    @property
    def examples(self) -> tuple[str, ...]:
        """The first records with which something was wrong, one line each."""
        return tuple(self._examples)

    def refuse(self, reason: Reason, where: str) -> None:
        """Count one, and name it if it is among the first."""
        self._counts[reason] += 1
        if reason not in PASSED_OVER and len(self._examples) < MOST_EXAMPLES:
            self._examples.append(where)

    def refuse_once(self, reason: Reason, where: str) -> None:
        """Count one, if it was not counted before."""
        if self._reading.is_new(where):
            self.refuse(reason, where)

    def take(self, file: File, lines: Iterable[bytes]) -> Iterator[Seen]:
        """Yield what can be looked at in *file*, and count the rest."""
        for record in parse(lines):
            if isinstance(record, Malformed):
                # Of a file that is written again, with more in it, each bad line counts once too.
                self.refuse_once(Reason.MALFORMED, f"{file.key} line {record.line}: {record.reason}")
            elif reason := self._why_not(file, record):
                self.refuse(reason, f"event {record.event_id}: {reason}")
            elif seen := self._decoded(record):
                yield seen

    def _why_not(self, file: File, record: Captured) -> Reason | None:
        if is_ours(record.inference_id):
            return Reason.OURS
        if not self._reading.is_new(record.event_id):
            return Reason.TWICE
        if self._is_earlier(file, record):
            return Reason.EARLIER
        if record.photo is None:
            return Reason.NO_PHOTO
        if record.probabilities is None:
            return Reason.NO_ANSWER
        return None if len(record.probabilities) == len(self._watching.classes) else Reason.OTHER_MODEL

    def _decoded(self, record: Captured) -> Seen | None:
        assert record.photo is not None  # noqa: S101 - `_why_not` saw to both
        assert record.probabilities is not None  # noqa: S101
        try:
            photo = decode(record.photo, self._watching.image_size)
        except UnreadablePhoto as error:
            self.refuse(Reason.UNREADABLE, f"event {record.event_id}: the photo {error.reason}")
            return None
        digest = hashlib.sha256(record.photo).hexdigest()
        return Seen(record.event_id, record.inference_time, photo, record.probabilities, digest)

    def _is_earlier(self, file: File, record: Captured) -> bool:
        """Whether another model answered. The endpoint's clock is believed only where S3's own bears it out."""
        since, moment = self._watching.since, record.moment
        return file.modified < since or (moment is not None and since - _FLUSH_SECONDS <= moment < since)
