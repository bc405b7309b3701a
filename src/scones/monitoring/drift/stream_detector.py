"""The stream detector: follows the traffic photo by photo; its state goes from one monitoring run to the next."""

import base64
import json
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

import numpy as np

from scones.domain.errors import MonitoringError
from scones.monitoring.drift.features import FEATURES, MIN_PHOTOS, Floats, current_names
from scones.monitoring.drift.stream_statistics import (
    StreamIncrements,
    StreamReference,
    StreamStatistics,
    StreamThreshold,
    statistic_values,
)

FORMAT: Final = "scones-watch-1"


class InvalidStreamState(MonitoringError):
    """The saved state is damaged, or belongs to another baseline or version."""


@dataclass(frozen=True, slots=True)
class StreamAlarm:
    """When the detector fired, and since when, by number of photo; the first photo ever is number 1."""

    photo: int
    onset: int
    """The estimated first photo of the change."""
    score: float


@dataclass(frozen=True, slots=True)
class StreamState:
    """The state between monitoring runs; about eight kilobytes as text.

    An alarm stays active until it is acknowledged, and no other fires meanwhile.
    """

    baseline: str
    photos: int
    """Photos since the first of all."""
    started: int
    """Of those, photos before the statistics started: at the beginning, or at the last acknowledgement."""
    running: StreamStatistics
    sums: Floats
    """Page's sums of the logarithms of evidence, which locate the onset: each is 0 where its change began."""
    onsets: Floats
    score: float = 0.0
    """The highest of the statistics after the last photo, on the threshold's scale."""
    alarm: StreamAlarm | None = None

    @property
    def enough(self) -> bool:
        """Whether there were enough photos for a verdict."""
        return self.photos - self.started >= MIN_PHOTOS

    def to_json(self) -> str:
        """Write the state as text."""
        alarm = None if self.alarm is None else [self.alarm.photo, self.alarm.onset, self.alarm.score]
        arrays = {name: _pack(array) for name, array in self._arrays().items()}
        head = {"format": FORMAT, "channels": FEATURES, "baseline": self.baseline, "photos": self.photos}
        return json.dumps(head | {"started": self.started, "score": self.score, "alarm": alarm} | arrays)

    def _arrays(self) -> dict[str, Floats]:
        running = {name: getattr(self.running, name) for name in StreamStatistics.__slots__}
        return running | {"sums": self.sums, "onsets": self.onsets}


@dataclass(frozen=True, slots=True)
class StreamDetector:
    """A baseline and a threshold; tests photos one by one."""

    reference: StreamReference
    threshold: StreamThreshold
    baseline: str
    """The fingerprint of the baseline; a state must have the same one."""

    @classmethod
    def of(cls, values: Floats, threshold: StreamThreshold) -> "StreamDetector":
        """Compare with the baseline's features, [n, features]; the *threshold* was calibrated on them."""
        return cls(
            StreamReference.of(values), threshold, sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:12]
        )

    def initial_state(self) -> StreamState:
        """The state before the first photo."""
        return self._restart(0)

    def update(self, state: StreamState, values: Floats) -> StreamState:
        """Add the features, [n, features], of the photos since the last run, in their order.

        Raises:
            InvalidStreamState: the state belongs to another baseline.
        """
        if state.baseline != self.baseline:
            raise InvalidStreamState(
                f"the stream detector's state is of baseline {state.baseline}, not {self.baseline}; start a new one"
            )
        increments = self.reference.increments(values)
        logs = np.log(increments.factors)
        for number in range(len(values)):
            state = self._take(state, increments, logs[number], number)
        return state

    def acknowledge(self, state: StreamState) -> StreamState:
        """Acknowledge the alarm: the statistics restart, and the next alarm can fire."""
        return self._restart(state.photos)

    def resume(self, text: str) -> StreamState:
        """Read what `State.to_json` wrote.

        Raises:
            InvalidStreamState: damaged, or of another baseline or version.
        """
        try:
            found = json.loads(text)
            if found["format"] != FORMAT or current_names(found["channels"]) != FEATURES:
                raise InvalidStreamState(
                    f"the stream detector's state is of another version ({found['format']}); start a new one"
                )
            if found["baseline"] != self.baseline:
                other = found["baseline"]
                raise InvalidStreamState(
                    f"the stream detector's state is of baseline {other}, not {self.baseline}; start a new one"
                )
            return self._read(found)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidStreamState(
                f"the stream detector's state cannot be read ({error!r}); start a new one"
            ) from error

    def _read(self, found: dict[str, object]) -> StreamState:
        blank = self._restart(0)
        arrays = {name: _unpack(found[name], array) for name, array in blank._arrays().items()}
        alarm = found["alarm"]
        if not (alarm is None or isinstance(alarm, list)):
            raise TypeError("alarm")
        return StreamState(
            baseline=self.baseline,
            photos=_count(found["photos"]),
            started=_count(found["started"]),
            running=StreamStatistics(*(arrays[name] for name in StreamStatistics.__slots__)),
            sums=arrays["sums"],
            onsets=arrays["onsets"],
            score=_finite(found["score"]),
            alarm=None if alarm is None else StreamAlarm(_count(alarm[0]), _count(alarm[1]), _finite(alarm[2])),
        )

    def _restart(self, photos: int) -> StreamState:
        increments = self.reference.increments(np.full((1, len(FEATURES)), np.nan))
        components = increments.factors.shape[1]
        onsets = np.full(components, float(photos + 1))
        return StreamState(self.baseline, photos, photos, increments.initial(), np.zeros(components), onsets)

    def _take(self, state: StreamState, increments: StreamIncrements, logs: Floats, number: int) -> StreamState:
        photos = state.photos + 1
        running = increments.update(state.running, number)
        sums = np.maximum(state.sums + logs, 0)
        onsets = np.where(sums > 0, state.onsets, photos + 1.0)
        score, alarm = 0.0, state.alarm
        if photos - state.started >= MIN_PHOTOS:
            score = float(self.threshold.score(statistic_values(running, photos - state.started)))
            if alarm is None and score > self.threshold.height:
                alarm = StreamAlarm(photos, min(photos, int(onsets[sums.argmax()])), score)
        return replace(state, photos=photos, running=running, sums=sums, onsets=onsets, score=score, alarm=alarm)


def _pack(array: Floats) -> str:
    return base64.b64encode(array.astype("<f8").tobytes()).decode("ascii")


def _unpack(text: object, like: Floats) -> Floats:
    array = np.frombuffer(base64.b64decode(str(text), validate=True), "<f8")
    if array.shape != like.shape or not np.isfinite(array).all():
        raise ValueError(f"an array of {array.shape} instead of {like.shape}")
    return array.astype(np.float64)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is not a count")
    return value


def _finite(value: object) -> float:
    if not isinstance(value, float | int) or not np.isfinite(value):
        raise TypeError(f"{value!r} is not a score")
    return float(value)
