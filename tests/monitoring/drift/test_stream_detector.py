"""The detector finds a change soon, says since when, stays with its alarm, and goes on where it stopped."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.stream_detector import InvalidStreamState, StreamDetector, StreamState
from scones.monitoring.drift.stream_statistics import StreamCalibration, calibrate_stream

RATE = 0.1


def photos(count: int, seed: int, moved: float = 0.0) -> np.ndarray:
    """Channels of clean photos; *moved* shifts the third feature by so many deviations."""
    table = np.random.default_rng(seed).normal(size=(count, len(FEATURES)))
    table[:, 2] += moved
    return table


@pytest.fixture(scope="module")
def calibration() -> StreamCalibration:
    """A calibration, made once."""
    return calibrate_stream(photos(200, 0), rounds=1)


@pytest.fixture(scope="module")
def detector(calibration: StreamCalibration) -> StreamDetector:
    """A detector over clean photos."""
    return StreamDetector.of(photos(200, 0), calibration.threshold(RATE))


def numbers_of(state: StreamState) -> list[float]:
    """A state in numbers; the last bits of sums depend on how many photos were tested together."""
    alarm = state.alarm
    return [state.photos, state.score, *([alarm.photo, alarm.onset, alarm.score] if alarm else [])]


def test_a_change_fires_soon_and_its_onset_is_found(detector: StreamDetector) -> None:
    """The alarm names the photo, and the onset lies near the true one."""
    state = detector.update(detector.initial_state(), np.concatenate([photos(300, 1), photos(200, 2, moved=1.5)]))
    assert state.alarm is not None
    assert 300 < state.alarm.photo <= 340
    assert state.alarm.onset == pytest.approx(301, abs=10)


def test_unchanged_photos_rarely_fire(detector: StreamDetector) -> None:
    """Over 20 streams of 500 unchanged photos at most a quarter fires (the threshold allows for a tenth of 1,000)."""
    fired = [detector.update(detector.initial_state(), photos(500, 100 + seed)).alarm is not None for seed in range(20)]
    assert np.mean(fired) <= 0.25


def test_an_alarm_stays_until_it_is_acknowledged(detector: StreamDetector) -> None:
    """Calm photos do not clear it, nor does a second change replace it; after it the count of photos goes on."""
    alarmed = detector.update(detector.initial_state(), photos(100, 3, moved=3))
    later = detector.update(alarmed, photos(200, 4))
    assert later.alarm == alarmed.alarm is not None
    calm = detector.acknowledge(later)
    assert (calm.alarm, calm.photos, calm.enough) == (None, 300, False)
    again = detector.update(calm, photos(100, 5, moved=3))
    assert again.alarm is not None
    assert 300 < again.alarm.onset <= again.alarm.photo


@pytest.mark.parametrize("count", [0, 1, 19])
def test_too_few_photos_are_never_a_verdict(detector: StreamDetector, count: int) -> None:
    """Under twenty photos, however unusual, nothing fires."""
    state = detector.update(detector.initial_state(), photos(count, 6, moved=100))
    assert (state.enough, state.alarm, state.score) == (False, None, 0.0)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 60), st.integers(0, 1000))
def test_runs_may_be_split_anywhere(detector: StreamDetector, cut: int, seed: int) -> None:
    """Two runs with the state written and read between them equal one run."""
    table = photos(60, seed, moved=1)
    whole = detector.update(detector.initial_state(), table)
    first = detector.resume(detector.update(detector.initial_state(), table[:cut]).to_json())
    assert numbers_of(detector.update(first, table[cut:])) == pytest.approx(numbers_of(whole))


def test_a_feature_that_is_not_measured_is_ignored(detector: StreamDetector) -> None:
    """Photos without the model's own score neither fire nor fail; other features still fire."""
    calm, odd = photos(300, 7), photos(100, 8, moved=3)
    calm[:, -1] = odd[:, -1] = np.nan
    state = detector.update(detector.initial_state(), calm)
    assert state.alarm is None
    assert detector.update(state, odd).alarm is not None


def test_a_state_is_small(detector: StreamDetector) -> None:
    """It fits into any store of values."""
    assert len(detector.update(detector.initial_state(), photos(50, 9)).to_json()) < 10_000


@pytest.mark.parametrize(
    "change",
    [
        {"format": "scones-detector-0"},
        {"baseline": "another"},
        {"channels": ["brightness"]},
        {"photos": -1},
        {"score": "high"},
        {"sums": "AAAA"},
        {"alarm": "yes"},
    ],
)
def test_a_state_of_something_else_is_refused(detector: StreamDetector, change: dict[str, object]) -> None:
    """Another version, another baseline or damage is one line, and no misreading."""
    text = json.dumps(json.loads(detector.initial_state().to_json()) | change)
    with pytest.raises(InvalidStreamState, match="start a new one"):
        detector.resume(text)


@given(st.text(max_size=40))
def test_no_text_crashes_the_reader(detector: StreamDetector, text: str) -> None:
    """Whatever lies where the state should be is refused."""
    with pytest.raises(InvalidStreamState):
        detector.resume(text)


def test_a_state_of_another_baseline_is_refused(detector: StreamDetector, calibration: StreamCalibration) -> None:
    """A state moves with its own baseline only."""
    other = StreamDetector.of(photos(200, 10), calibration.threshold(RATE))
    with pytest.raises(InvalidStreamState, match="start a new one"):
        detector.update(other.initial_state(), photos(1, 0))
