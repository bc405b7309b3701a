"""What each photo adds to the statistics of the stream."""

import numpy as np

from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.stream_statistics import StreamIncrements, StreamReference

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
