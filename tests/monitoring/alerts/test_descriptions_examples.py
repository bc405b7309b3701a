"""The worst photos, what they are like, and where the change began."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches import baseline, batch
from scones.monitoring.alerts.descriptions import ChangeDirection, estimate_onset, most_changed, nearest_baseline
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.window_test import FeatureShift

DARK = (FeatureShift("brightness", 120.0, 70.0, 9.0),)


def test_the_worst_photos_lie_farthest_in_the_direction_of_the_change() -> None:
    """Where photos became darker, a bright one is no example of it; beyond all of the baseline they are equal."""
    photos = batch(brightness=-2)
    values = photos.features.copy()
    values[7, FEATURES.index("brightness")] = 0
    values[8, FEATURES.index("brightness")] = 255
    along = ChangeDirection.of(baseline(), values, DARK).along(values)
    assert along[7] == along.max() == along[most_changed(along, 1)[0]]
    assert most_changed(along, len(along))[-1] == 8


def test_where_only_the_spread_changed_both_ends_are_worst() -> None:
    """Neither direction is the change's own."""
    values = batch().features.copy()
    values[[7, 8], FEATURES.index("brightness")] = 0, 255
    along = ChangeDirection.of(baseline(), values, DARK).along(values)
    assert along[[7, 8]] == pytest.approx(along.max())


def test_the_nearest_photo_of_a_baseline_photo_is_itself() -> None:
    """Over all features, whatever is not measured left out."""
    values = baseline()
    values[:, -1] = np.nan
    assert nearest_baseline(values, values[[3, 50, 200]]).tolist() == [3, 50, 200]


@settings(max_examples=40)
@given(st.integers(0, 90), st.integers(0, 1000))
def test_a_clear_onset_is_found_within_a_few_photos(begins: int, seed: int) -> None:
    """A step of three deviations."""
    rng = np.random.default_rng(seed)
    now = rng.normal(size=100)
    now[begins:] += 3
    assert estimate_onset(rng.normal(size=300), now) == pytest.approx(begins, abs=6)


def test_no_photo_has_no_onset() -> None:
    """Nothing is no error."""
    assert estimate_onset(np.zeros(5), np.zeros(0)) == 0
