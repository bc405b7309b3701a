"""One look: the photos since the last one, measured and judged as they stream by, in memory that does not grow."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.baseline import Baseline
from scones.monitoring.budget import MIN_PHOTOS
from scones.monitoring.channels import CHANNELS, Photos, measure
from scones.monitoring.detectors import Verdict, check
from scones.monitoring.intake import Seen
from scones.monitoring.replay import ENOUGH_MISMATCHES, Replayed, compare
from scones.monitoring.report import MOST_EXAMPLES, Scene
from scones.monitoring.scores import Floats
from scones.monitoring.summary import Summary

WINDOW_PHOTOS = 500
"""So many photos at most are judged together, and kept in memory."""
_BATCH = 64

Ask = Callable[[Photos], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
"""The registered model: photos [n, side, side, 3] give probabilities [n, C], and unfamiliarity [n] if it has that."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What the traffic is held against: the model deployed last, and its baseline."""

    baseline: Baseline
    ask: Ask


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found: the first verdict that is an alarm, else the newest; and the window that it is about."""

    photos: int
    verdict: Verdict
    scene: Scene
    summary: Summary
    replayed: Replayed
    """How all captured answers compare with the registered model's; of the photos that differ, the first few."""


class Look:
    """Takes the photos one by one, and judges a window of them at a time."""

    def __init__(self, registered: Registered, endpoint: str, *, false_alarm_rate: float, seed: int) -> None:
        self.photos = 0
        self._registered = registered
        self._endpoint = endpoint
        self._rate, self._seed = false_alarm_rate, seed
        self._summary = Summary(registered.baseline.values)
        self._window: list[Seen] = []
        self._judged: tuple[Verdict, Scene] | None = None
        self._replayed = Replayed(photos=0, mismatches=(), largest=0.0, found_after=None)

    def add(self, seen: Seen) -> None:
        """Take one photo."""
        self.photos += 1
        self._window.append(seen)
        if len(self._window) == WINDOW_PHOTOS:
            self._judge()

    def finish(self) -> Looked:
        """Judge what is left, and give the result."""
        if self._judged is None or len(self._window) >= MIN_PHOTOS:
            self._judge()
        elif self._window:
            self._measure()
        assert self._judged is not None  # noqa: S101 - judged a line above at the latest
        verdict, scene = self._judged
        return Looked(self.photos, verdict, scene, self._summary, self._replayed)

    def _judge(self) -> None:
        window, values = self._window, self._measure()
        baseline = self._registered.baseline
        verdict = check(baseline, values, false_alarm_rate=self._rate, seed=self._seed)
        if self._judged is None or not self._judged[0].alarm:
            self._judged = verdict, self._scene(window, self._oddest(values, verdict))

    def _measure(self) -> Floats:
        window, self._window = self._window, []
        if not window:
            return np.empty((0, len(CHANNELS)))
        photos = np.stack([seen.photo for seen in window])
        captured = np.array([seen.probabilities for seen in window])
        values = np.concatenate(
            [self._ask(photos[start : start + _BATCH], captured[start : start + _BATCH]) for start in _starts(window)]
        )
        self._summary.add(values)
        return values

    def _ask(self, photos: Photos, captured: Floats) -> Floats:
        """Measure some photos, with the help of the registered model, and compare its answers."""
        replayed, unfamiliarity = self._registered.ask(photos)
        self._replayed = _joined(self._replayed, compare(captured, replayed.astype(np.float64)))
        return measure(photos, captured, unfamiliarity)

    def _scene(self, window: list[Seen], oddest: NDArray[np.intp]) -> Scene:
        times = sorted(seen.time for seen in window) or [""]
        examples: Photos | None = np.array([window[index].photo for index in oddest], np.uint8) if window else None
        return Scene(self._endpoint, since=times[0], until=times[-1], examples=examples)

    def _oddest(self, values: Floats, verdict: Verdict) -> NDArray[np.intp]:
        """Order the photos by how far they lie from the baseline in the channel that changed most."""
        column = CHANNELS.index(verdict.channels[0].name) if verdict.channels else 0
        away = np.abs(values[:, column] - np.median(self._registered.baseline.values[:, column]))
        return np.argsort(-away, kind="stable")[:MOST_EXAMPLES]


def _starts(window: list[Seen]) -> range:
    return range(0, len(window), _BATCH)


def _joined(before: Replayed, now: Replayed) -> Replayed:
    """Add the comparison of the photos that followed; enough mismatches may come from several batches together."""
    mismatches = (*before.mismatches, *(before.photos + index for index in now.mismatches))
    certain = len(mismatches) >= ENOUGH_MISMATCHES
    return Replayed(
        photos=before.photos + now.photos,
        mismatches=mismatches,
        largest=max(before.largest, now.largest),
        found_after=mismatches[ENOUGH_MISMATCHES - 1] + 1 if certain else None,
    )
