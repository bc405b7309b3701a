"""Measures the detectors, and their peers, on new splits of the photos into reference and stream."""

import json
import subprocess
import sys
import venv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from benchmarks.monitor_peers import DEFAULTS, SCORES
from benchmarks.monitor_world import CELLS, CLEAN, Floats, World
from numpy.typing import NDArray

from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.stream_detector import StreamDetector
from scones.monitoring.drift.stream_statistics import (
    STREAM_PHOTOS,
    StreamIncrements,
    StreamReference,
    StreamThreshold,
    calibrate_stream,
    statistic_values,
)
from scones.monitoring.drift.window_test import calibrate_windows, window_test

SIZES = (50, 100, 200)
USUAL, STRICT = 0.05, 0.003
STREAM_RATE = 0.1
LONGEST = 600
STREAMS = 4
"""Streams of each change in a split."""
_CLEAN_WINDOWS, _CLEAN_STREAMS = 8, 40
CLEAN_SPLITS = 5
"""So many times the splits for windows without a change, whose rate differs from split to split."""
_FRESH_STREAMS = 5
_BEFORE = 300
_RIVER = "river==0.26.1"


@dataclass
class Windows:
    """Who fired, by size: ours on clean windows and by cell; each peer's scores, and its default's alarms."""

    false: dict[tuple[int, float], list[bool]] = field(default_factory=lambda: defaultdict(list))
    fired: dict[tuple[int, float, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    scores: dict[tuple[str, int, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    defaults: dict[tuple[str, int], list[bool]] = field(default_factory=lambda: defaultdict(list))

    def power(self, photos: int, rate: float) -> dict[str, float]:
        """The share of windows that fired, by cell."""
        return {cell: float(np.mean(self.fired[photos, rate, cell])) for cell in CELLS}

    def power_of(self, peer: str, photos: int) -> float:
        """The mean power of a peer whose line is drawn where one in twenty of these clean windows lies above."""
        line = np.quantile(self.scores[peer, photos, CLEAN], 1 - USUAL)
        return float(np.mean([np.mean(np.array(self.scores[peer, photos, cell]) > line) for cell in CELLS]))


def split(world: World, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split the photos into halves again: reference and stream."""
    order = rng.permutation(len(world.labels))
    return order[: len(order) // 2], order[len(order) // 2 :]


def measure_windows(world: World, splits: int, peer_splits: int, seed: int) -> Windows:
    """Test windows of every size under every change; the peers get fewer splits."""
    found, rng = Windows(), np.random.default_rng(seed)
    for number in range(CLEAN_SPLITS * splits):
        reference, stream = split(world, rng)
        baseline = Baseline(world.seen[CLEAN].features[reference])
        for photos in SIZES:
            calibration = calibrate_windows(baseline, photos, STRICT, seed=number)
            for cell in (*[CLEAN] * _CLEAN_WINDOWS, *(CELLS if number < splits else ())):
                values = world.window(cell, stream, photos, rng).features()
                for rate in (USUAL, STRICT):
                    alarm = window_test(baseline, values, false_alarm_rate=rate, calibration=calibration).alarm
                    (found.false[photos, rate] if cell == CLEAN else found.fired[photos, rate, cell]).append(alarm)
                if number < peer_splits:
                    _ask_peers(found, baseline.values, values, cell)
    return found


def _ask_peers(found: Windows, before: Floats, now: Floats, cell: str) -> None:
    for name, score in SCORES.items():
        found.scores[name, len(now), cell].append(score(before, now))
    if cell == CLEAN:
        for name, fired in DEFAULTS.items():
            found.defaults[name, len(now)].append(fired(before, now))


@dataclass
class Streams:
    """When each stream fired: on clean photos, or by cell; LONGEST + 1 is never. And how far the onset was off."""

    repeated: list[bool] = field(default_factory=list)
    delays: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    onsets: list[int] = field(default_factory=list)
    adwin: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    adwin_false: list[bool] = field(default_factory=list)


def measure_streams(world: World, splits: int, seed: int, build: Path) -> Streams:
    """Let streams run: clean ones for false alarms, changed ones for delay."""
    found, rng = Streams(), np.random.default_rng(seed)
    python = prepare_river(build)
    for number in range(splits):
        reference, stream = split(world, rng)
        values = world.seen[CLEAN].features[reference]
        line = calibrate_stream(values, seed=number).threshold(STREAM_RATE)
        ours, clean = StreamReference.of(values), world.seen[CLEAN].features[stream]
        rows = rng.choice(len(clean), (_CLEAN_STREAMS, STREAM_PHOTOS))
        found.repeated += [first <= STREAM_PHOTOS for first in _first(ours.increments(clean), rows, line)]
        sure = FEATURES.index("certainty")
        streams = {CLEAN: clean[rows[0], sure]}
        for cell, changed in _changed(world, stream, rng):
            rows = rng.choice(len(changed), (STREAMS, LONGEST))
            found.delays[cell] += _first(ours.increments(changed), rows, line)
            streams[cell] = changed[rows[0], sure]
        _ask_river(found, python, values[:, sure], streams)
        found.onsets += _onsets(world, StreamDetector.of(values, line), stream, rng)
    return found


def measure_fresh(values: Floats, splits: int, seed: int) -> list[bool]:
    """Whether streams of 1,000 photos fired, in which each photo comes once; what is left of them is the reference."""
    found, rng = [], np.random.default_rng(seed)
    for number in range(splits):
        order = rng.permutation(len(values))
        reference, stream = values[order[STREAM_PHOTOS:]], values[order[:STREAM_PHOTOS]]
        line = calibrate_stream(reference, seed=number).threshold(STREAM_RATE)
        orders = np.stack([rng.permutation(STREAM_PHOTOS) for _ in range(_FRESH_STREAMS)])
        found += [
            first <= STREAM_PHOTOS for first in _first(StreamReference.of(reference).increments(stream), orders, line)
        ]
    return found


def _changed(world: World, stream: NDArray[np.intp], rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    for cell in CELLS:
        # As many photos as a long stream draws, so that shares and priors come out right.
        yield cell, world.window(cell, stream, 4 * LONGEST, rng).features()


def _first(steps: StreamIncrements, streams: NDArray[np.intp], line: StreamThreshold) -> list[int]:
    """The photo at which each stream [streams, photos] fired; one more than there are if it did not."""
    motion = steps.initial(len(streams))
    never = streams.shape[1] + 1
    first = np.full(len(streams), never)
    for seen, photos in enumerate(streams.T, start=1):
        motion = steps.update(motion, photos)
        if seen >= 20:
            fired = line.score(statistic_values(motion, seen)) > line.height
            first = np.where(fired & (first == never), seen, first)
    return [int(place) for place in first]


def _onsets(world: World, detector: StreamDetector, stream: NDArray[np.intp], rng: np.random.Generator) -> list[int]:
    """How far the estimated onset lies from the true one, where the change comes after calm photos and is found."""
    found = []
    for cell in ("blur 1.5", "noise 10", "brightness -40", "contrast 0.6", "OOD 30%"):
        calm = world.seen[CLEAN].features[rng.permutation(stream)[:_BEFORE]]
        changed = world.window(cell, stream, _BEFORE, rng).features()
        state = detector.update(detector.initial_state(), np.concatenate([calm, changed[rng.permutation(_BEFORE)]]))
        if state.alarm is not None and state.alarm.photo > _BEFORE:
            found.append(state.alarm.onset - _BEFORE - 1)
    return found


def prepare_river(folder: Path) -> Path:
    """Make river's own virtual environment once; return its python."""
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print("installing river, once", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", _RIVER], check=True)
        (folder / ".ready").touch()
    return python


def _ask_river(found: Streams, python: Path, before: Floats, streams: Mapping[str, Floats]) -> None:
    question = json.dumps([before.tolist(), [values.tolist() for values in streams.values()]])
    script = Path(__file__).parent / "peers" / "adwin.py"
    answer = subprocess.run([python, script], input=question, capture_output=True, text=True, check=True).stdout
    for cell, place in zip(streams, json.loads(answer), strict=True):
        if cell == CLEAN:
            found.adwin_false.append(place is not None)
        else:
            found.adwin[cell].append(LONGEST + 1 if place is None else place)
