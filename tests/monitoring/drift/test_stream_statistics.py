"""What each photo adds to the statistics of the stream."""

import numpy as np
import pytest

from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.stream_detector import StreamDetector
from scones.monitoring.drift.stream_statistics import (
    STREAM_PHOTOS,
    StreamIncrements,
    StreamReference,
    TooFewBlocks,
    calibrate_stream,
)

LAST = len(FEATURES) - 1


def photos(count: int, seed: int, exceeding: float) -> np.ndarray:
    """Channels of clean photos; in the last one most are alike, and a share exceeds that."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(count, len(FEATURES)))
    table[:, LAST] = np.where(rng.random(count) < exceeding, np.abs(table[:, LAST]), 0.0)
    return table


def grown(steps: StreamIncrements) -> np.ndarray:
    """The logarithm of what each possible change has gathered."""
    return np.asarray(np.log(steps.factors).sum(axis=0))


def test_what_is_seldom_exceeded_and_then_often_is_evidence() -> None:
    """Three times as many photos beyond what most are alike in speak for a change; as many as ever speak against it."""
    reference = StreamReference.of(photos(400, 1, 0.1))
    often, as_ever = (grown(reference.increments(photos(300, 2, share))) for share in (0.3, 0.1))
    assert often[-2:].min() > 10
    assert as_ever[-2:].max() < 1


def test_what_half_of_the_photos_exceed_is_not_watched() -> None:
    """Ratios of likelihoods hold for what is rare; a feature with 45% beyond its commonest value adds nothing."""
    assert (grown(StreamReference.of(photos(400, 1, 0.45)).increments(photos(300, 2, 0.9)))[-2:] == 0).all()


def test_a_feature_that_is_missing_adds_nothing() -> None:
    """Neither one that the baseline has not got, nor one that a photo lacks."""
    table = photos(100, 1, 0.1)
    table[:, LAST] = np.nan
    assert (grown(StreamReference.of(table).increments(photos(50, 2, 0.5)))[-2:] == 0).all()
    assert (grown(StreamReference.of(photos(100, 1, 0.1)).increments(table))[-2:] == 0).all()


RATE = 0.1


def draw(count: int, seed: int) -> np.ndarray:
    """Channels of clean photos."""
    return np.random.default_rng(seed).normal(size=(count, len(FEATURES)))


@pytest.mark.slow
def test_a_tenth_of_streams_of_new_photos_fires() -> None:
    """Each of 40 baselines of 200 photos, a stream of 1,000 new ones: within three deviations of the nominal rate."""
    fired = []
    for seed in range(40):
        values = draw(200, seed)
        detector = StreamDetector.of(values, calibrate_stream(values, seed=seed, rounds=1).threshold(RATE))
        fired.append(detector.update(detector.initial_state(), draw(STREAM_PHOTOS, 1000 + seed)).alarm is not None)
    assert 0 < np.mean(fired) < RATE + 3 * np.sqrt(RATE * (1 - RATE) / len(fired))


def test_fewer_false_alarms_need_a_higher_threshold() -> None:
    """The line rises as the rate falls."""
    calibration = calibrate_stream(draw(200, 0), rounds=1)
    heights = [calibration.threshold(rate).height for rate in (0.2, 0.1, 0.05, 0.01)]
    assert heights == sorted(heights)


def test_blocks_allow_for_days_and_nights() -> None:
    """Where darkness comes in stretches, streams of whole blocks rise higher than streams of shuffled photos."""
    clean = draw(1000, 11)
    clean[:, 2] += np.tile(np.repeat([0.0, 3.0], 50), 10)
    shuffled, whole = (calibrate_stream(clean, groups, rounds=1) for groups in (None, np.arange(1000) // 100))
    assert np.median(whole.highest[:, 2]) > np.median(shuffled.highest[:, 2]) + 3


def test_too_few_blocks_are_refused() -> None:
    """Four days cannot say how much days differ."""
    with pytest.raises(TooFewBlocks, match="collect"):
        calibrate_stream(draw(40, 0), np.arange(40) // 10)
