"""One look: the photos since the last one, measured and judged as they stream by, in memory that does not grow."""

import hashlib
import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.baseline import Baseline
from scones.monitoring.channels import CHANNELS, Photos, measure
from scones.monitoring.detectors import MIN_PHOTOS, Floats, Verdict, check
from scones.monitoring.intake import Seen
from scones.monitoring.report import MOST_EXAMPLES, Scene
from scones.monitoring.summary import Summary

WINDOW_PHOTOS = 500
"""So many photos at most are judged together, and kept in memory."""
REPLAYED_PHOTOS = 20
"""So many photos of a look are sampled, to ask the registered model about them."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found: the first verdict that is an alarm, else the newest; and the window that it is about."""

    photos: int
    verdict: Verdict
    scene: Scene
    summary: Summary
    sample: tuple[Seen, ...]
    """Some of the photos, drawn evenly from all of them."""


class Look:
    """Takes the photos one by one, and judges a window of them at a time."""

    def __init__(self, baseline: Baseline, endpoint: str, *, false_alarm_rate: float, seed: int) -> None:
        self.photos = 0
        self._baseline = baseline
        self._endpoint = endpoint
        self._rate, self._seed = false_alarm_rate, seed
        self._summary = Summary(baseline.values)
        self._window: list[Seen] = []
        self._judged: tuple[Verdict, Scene] | None = None
        self._sample: list[tuple[int, int, Seen]] = []

    def add(self, seen: Seen) -> None:
        """Take one photo."""
        self.photos += 1
        self._window.append(seen)
        self._draw(seen)
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
        sample = tuple(seen for _, _, seen in sorted(self._sample, key=lambda item: item[1]))
        return Looked(self.photos, verdict, scene, self._summary, sample)

    def _judge(self) -> None:
        window, values = self._window, self._measure()
        verdict = check(self._baseline, values, false_alarm_rate=self._rate, seed=self._seed)
        if self._judged is None or not self._judged[0].alarm:
            self._judged = verdict, self._scene(window, self._oddest(values, verdict))

    def _measure(self) -> Floats:
        if not self._window:
            return np.empty((0, len(CHANNELS)))
        photos = np.stack([seen.photo for seen in self._window])
        values = measure(photos, np.array([seen.probabilities for seen in self._window]))
        self._summary.add(values)
        self._window = []
        return values

    def _scene(self, window: list[Seen], oddest: NDArray[np.intp]) -> Scene:
        times = sorted(seen.time for seen in window) or [""]
        examples: Photos | None = np.array([window[index].photo for index in oddest], np.uint8) if window else None
        return Scene(self._endpoint, since=times[0], until=times[-1], examples=examples)

    def _oddest(self, values: Floats, verdict: Verdict) -> NDArray[np.intp]:
        """Order the photos by how far they lie from the baseline in the channel that changed most."""
        column = CHANNELS.index(verdict.channels[0].name) if verdict.channels else 0
        away = np.abs(values[:, column] - np.median(self._baseline.values[:, column]))
        return np.argsort(-away, kind="stable")[:MOST_EXAMPLES]

    def _draw(self, seen: Seen) -> None:
        """Keep the photos whose identities have the largest digests: an even draw, and the same one each time."""
        digest = hashlib.blake2b(seen.event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        item = (int.from_bytes(digest), self.photos, seen)
        if len(self._sample) < REPLAYED_PHOTOS:
            heapq.heappush(self._sample, item)
        elif item[0] > self._sample[0][0]:
            heapq.heapreplace(self._sample, item)
