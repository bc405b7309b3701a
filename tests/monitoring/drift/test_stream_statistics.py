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
    statistic_values,
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
    reference = StreamReference.of(photos(400, 3, 0.1))
    often, as_ever = (grown(reference.increments(photos(300, 4, share))) for share in (0.3, 0.1))
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


def test_one_extreme_photo_counts_like_a_photo_three_deviations_away() -> None:
    """On either side, and in a large baseline, where ranks tell four deviations from three."""
    reference = StreamReference.of(draw(5000, 1))
    for side in (-1, 1):
        usual, far = np.zeros((1, len(FEATURES))), np.zeros((1, len(FEATURES)))
        far[0, 4] = side * 1000
        away = np.log(reference.increments(far).factors) - np.log(reference.increments(usual).factors)
        assert np.abs(away).max() < 13.6


def test_a_product_is_missing_if_either_of_its_features_is() -> None:
    """A photo without the prediction adds nothing to how far the prediction goes with other features."""
    reference, photo = StreamReference.of(draw(400, 1)), np.full((1, len(FEATURES)), 3.0)
    photo[0, 0] = np.nan
    assert (reference.increments(photo).together == 0).all()


def test_known_photos_have_the_same_statistics_in_every_version() -> None:
    """Increments, statistics and simulated streams: the false-alarm rates in the docs were measured with these."""
    table = photos(40, 2, 0.3)
    table[:5, 3] = np.nan
    table[5:, 4] *= 9
    steps = StreamReference.of(photos(200, 1, 0.1)).increments(table)
    assert np.abs(steps.moments).sum() == pytest.approx(1455.739, rel=1e-4)
    assert np.abs(steps.together).sum() == pytest.approx(660.7132, rel=1e-4)
    assert np.log(steps.factors).sum() == pytest.approx(-2126.946, rel=1e-4)
    sums = steps.initial()
    for number in range(40):
        sums = steps.update(sums, number)
    assert statistic_values(sums, 40) == pytest.approx([833.2451, 27.09857, 58.60624], rel=1e-4)
    calibration = calibrate_stream(draw(200, 0), rounds=1)
    assert calibration.highest.shape == (200, 3)
    assert calibration.highest.mean(axis=0) == pytest.approx([146.3616, 88.75348, 10.45817], rel=1e-4)
    blocks = calibrate_stream(draw(200, 0), np.arange(200) // 20, rounds=1)
    assert blocks.highest.mean(axis=0) == pytest.approx([206.1319, 107.5800, 13.35911], rel=1e-4)


def test_the_scale_of_a_threshold_is_the_clean_streams_own() -> None:
    """0 is the median of their highest values, 1 their 90% quantile, for each statistic; a tenth lies above."""
    calibration = calibrate_stream(draw(200, 0), rounds=1)
    threshold = calibration.threshold(RATE)
    middle, high = np.quantile(calibration.highest, [0.5, 0.9], axis=0)
    assert threshold.score(middle) == pytest.approx(0)
    for place in range(3):
        assert threshold.score(np.where(np.arange(3) == place, high, middle)) == pytest.approx(1)
    assert (threshold.score(calibration.highest) > threshold.height).mean() == pytest.approx(RATE, abs=0.006)


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
