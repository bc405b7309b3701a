"""The stream detector's threshold holds on new photos."""

import numpy as np
import pytest

from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.stream_detector import StreamDetector
from scones.monitoring.drift.stream_statistics import STREAM_PHOTOS, TooFewBlocks, calibrate_stream

RATE = 0.1


def photos(count: int, seed: int) -> np.ndarray:
    """Channels of clean photos."""
    return np.random.default_rng(seed).normal(size=(count, len(FEATURES)))


@pytest.mark.slow
def test_a_tenth_of_streams_of_new_photos_fires() -> None:
    """Each of 40 baselines of 200 photos, a stream of 1,000 new ones: within three deviations of the nominal rate."""
    fired = []
    for seed in range(40):
        values = photos(200, seed)
        detector = StreamDetector.of(values, calibrate_stream(values, seed=seed, rounds=1).threshold(RATE))
        fired.append(detector.update(detector.initial_state(), photos(STREAM_PHOTOS, 1000 + seed)).alarm is not None)
    assert 0 < np.mean(fired) < RATE + 3 * np.sqrt(RATE * (1 - RATE) / len(fired))


def test_fewer_false_alarms_need_a_higher_threshold() -> None:
    """The line rises as the rate falls."""
    calibration = calibrate_stream(photos(200, 0), rounds=1)
    heights = [calibration.threshold(rate).height for rate in (0.2, 0.1, 0.05, 0.01)]
    assert heights == sorted(heights)


def test_blocks_allow_for_days_and_nights() -> None:
    """Where darkness comes in stretches, streams of whole blocks rise higher than streams of shuffled photos."""
    clean = photos(1000, 11)
    clean[:, 2] += np.tile(np.repeat([0.0, 3.0], 50), 10)
    shuffled, whole = (calibrate_stream(clean, groups, rounds=1) for groups in (None, np.arange(1000) // 100))
    assert np.median(whole.highest[:, 2]) > np.median(shuffled.highest[:, 2]) + 3


def test_too_few_blocks_are_refused() -> None:
    """Four days cannot say how much days differ."""
    with pytest.raises(TooFewBlocks, match="collect"):
        calibrate_stream(photos(40, 0), np.arange(40) // 10)
