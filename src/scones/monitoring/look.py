"""One look: the photos since the last one, measured and judged as they stream by, in memory that does not grow."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.accuracy import Estimate, Estimator
from scones.monitoring.baseline import Baseline
from scones.monitoring.budget import Budget
from scones.monitoring.calibration import calibrate
from scones.monitoring.channels import CHANNELS, Photos, measure
from scones.monitoring.detectors import Verdict, check
from scones.monitoring.intake import Seen
from scones.monitoring.replay import ENOUGH_MISMATCHES, Replayed, compare
from scones.monitoring.report import MOST_EXAMPLES, Scene
from scones.monitoring.scores import MIN_PHOTOS, Floats
from scones.monitoring.summary import Summary
from scones.monitoring.watch import BadState, State, Watch

WINDOW_PHOTOS = 500
"""So many photos at most are judged together, and kept in memory."""
_BATCH = 64

Ask = Callable[[Photos], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
"""The registered model: photos [n, side, side, 3] give probabilities [n, C], and unfamiliarity [n] if it has that."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What the traffic is held against: the model deployed last, its baseline, and how often an alarm may be false."""

    baseline: Baseline
    ask: Ask
    budget: Budget
    seed: int

    def watch(self) -> Watch:
        """The stream detector; training has calibrated it, unless the baseline was made by hand."""
        values = self.baseline.values
        calibration = self.baseline.calibration or calibrate(values, seed=self.seed)
        return Watch.of(values, calibration.line(self.budget.of_stream()))


@dataclass(frozen=True, slots=True)
class Rung:
    """The stream detector's alarm: at which photo it rang, and since which one, counted from the first ever seen.

    *since* is that photo's time, or of one up to 500 before it; empty if an earlier look saw it.
    """

    photo: int
    onset: int
    since: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found: the first verdict that is an alarm, else the newest; and the window that it is about."""

    photos: int
    verdict: Verdict
    scene: Scene
    summary: Summary
    replayed: Replayed
    """How all captured answers compare with the registered model's."""
    stream: State
    """What the stream detector carries to the next look."""
    evidence: float
    """The stream's highest statistic after the last photo, in alarm lines; 0 while there are too few photos."""
    rung: Rung | None
    """Its alarm, if that rang at this look."""
    accuracy: Estimate | None
    """Estimated for the window; None where there is nothing to learn it from, or another model answers."""


class Look:
    """Takes the photos one by one; the stream detector sees each, and the window check some hundreds at a time."""

    def __init__(self, registered: Registered, endpoint: str, stream: str = "") -> None:
        self.photos = 0
        self._registered = registered
        self._endpoint = endpoint
        self._watch = registered.watch()
        self._before = self._stream = _resume(self._watch, stream)
        self._summary = Summary(registered.baseline.values)
        self._window: list[Seen] = []
        self._times: list[tuple[int, str]] = []
        self._judged: tuple[Verdict, Scene, Floats, Floats] | None = None
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
        verdict, scene, values, confidence = self._judged
        return Looked(
            photos=self.photos,
            verdict=verdict,
            scene=scene,
            summary=self._summary,
            replayed=self._replayed,
            stream=self._stream,
            evidence=self._stream.score / self._watch.line.height,
            rung=self._rung(),
            accuracy=self._estimate(values, confidence),
        )

    def _judge(self) -> None:
        window, values = self._window, self._measure()
        baseline = self._registered.baseline
        if len(window) < self._registered.budget.smallest_window():
            verdict = Verdict(False, False, len(window), 0.0, 0.0, ())
        else:
            rate = self._registered.budget.of_window(len(window))
            verdict = check(baseline, values, false_alarm_rate=rate, seed=self._registered.seed)
        if self._judged is None or not self._judged[0].alarm:
            confidence = np.array([max(seen.probabilities) for seen in window])
            self._judged = verdict, self._scene(window, self._oddest(values, verdict)), values, confidence

    def _measure(self) -> Floats:
        window, self._window = self._window, []
        if not window:
            return np.empty((0, len(CHANNELS)))
        self._times.append((self._stream.photos + 1, window[0].time))
        photos = np.stack([seen.photo for seen in window])
        captured = np.array([seen.probabilities for seen in window])
        values = np.concatenate(
            [self._ask(photos[start : start + _BATCH], captured[start : start + _BATCH]) for start in _starts(window)]
        )
        self._summary.add(values)
        self._stream = self._watch.look(self._stream, values)
        return values

    def _ask(self, photos: Photos, captured: Floats) -> Floats:
        """Measure some photos, with the help of the registered model, and compare its answers."""
        replayed, unfamiliarity = self._registered.ask(photos)
        self._replayed = _joined(self._replayed, compare(captured, replayed.astype(np.float64)))
        return measure(photos, captured, unfamiliarity)

    def _rung(self) -> Rung | None:
        alarm = self._stream.alarm
        if alarm is None or self._before.alarm is not None:
            return None
        earlier = [time for number, time in self._times if number <= alarm.onset]
        return Rung(alarm.photo, alarm.onset, earlier[-1] if earlier else "")

    def _estimate(self, values: Floats, confidence: Floats) -> Estimate | None:
        lesson = self._registered.baseline.lesson
        if lesson is None or self._replayed.another_model or not len(values):
            return None
        return Estimator.learn(lesson, self._registered.seed).estimate(values, confidence)

    def _scene(self, window: list[Seen], oddest: NDArray[np.intp]) -> Scene:
        times = sorted(seen.time for seen in window) or [""]
        examples: Photos | None = np.array([window[index].photo for index in oddest], np.uint8) if window else None
        return Scene(self._endpoint, since=times[0], until=times[-1], examples=examples)

    def _oddest(self, values: Floats, verdict: Verdict) -> NDArray[np.intp]:
        """Order the photos by how far they lie from the baseline in the channel that changed most."""
        column = CHANNELS.index(verdict.channels[0].name) if verdict.channels else 0
        away = np.abs(values[:, column] - np.median(self._registered.baseline.values[:, column]))
        return np.argsort(-away, kind="stable")[:MOST_EXAMPLES]


def acknowledged(stream: str, registered: Registered) -> str:
    """Let the stream detector start anew, so that it may ring again."""
    watch = registered.watch()
    return watch.acknowledge(_resume(watch, stream)).to_json()


def _resume(watch: Watch, stream: str) -> State:
    """Go on where the last look stopped; against another baseline, or another version's, begin anew."""
    try:
        return watch.resume(stream) if stream else watch.begin()
    except BadState:
        return watch.begin()


def _starts(window: list[Seen]) -> range:
    return range(0, len(window), _BATCH)


def _joined(before: Replayed, now: Replayed) -> Replayed:
    """Add the comparison of the photos that followed; enough mismatches may come from several batches together."""
    mismatches = (*before.mismatches, *(before.photos + index for index in now.mismatches))
    certain = len(mismatches) >= ENOUGH_MISMATCHES
    return replace(
        before,
        photos=before.photos + now.photos,
        mismatches=mismatches,
        largest=max(before.largest, now.largest),
        found_after=mismatches[ENOUGH_MISMATCHES - 1] + 1 if certain else None,
    )
