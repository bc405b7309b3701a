"""A summary's figures are exact, however the photos came."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.monitoring.drift.features import FEATURES, FeatureSummary


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_a_summary_is_the_same_in_one_piece_or_in_many(sizes: list[int]) -> None:
    """Mean, spread, extremes and histogram do not depend on how the photos were batched."""
    batches = [np.random.default_rng(number).normal(9, 5, (size, len(FEATURES))) for number, size in enumerate(sizes)]
    whole = np.concatenate(batches)
    summary = FeatureSummary(np.random.default_rng(9).normal(10, 2, (200, len(FEATURES))))
    for batch in batches:
        summary.add(batch)
    assert summary.photos == len(whole)
    for feature, found in enumerate(summary.features):
        assert found.counts.sum() == found.present == len(whole)
        if len(whole):
            assert found.mean == pytest.approx(whole[:, feature].mean())
            assert found.deviation == pytest.approx(whole[:, feature].std())
            assert (found.least, found.most) == (whole[:, feature].min(), whole[:, feature].max())
