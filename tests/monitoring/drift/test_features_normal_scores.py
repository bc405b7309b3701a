"""Scores are ranks in the shape of the bell curve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from scones.monitoring.drift.features import NormalScores, normal_quantiles, products, rank_columns, spreads, whitener

TABLES = hnp.arrays(np.float64, (12, 3), elements=st.integers(-4, 4).map(float))


@given(TABLES)
def test_ranks_are_those_of_scipy(values: np.ndarray) -> None:
    """Equal values share their mean rank."""
    assert rank_columns(values) == pytest.approx(stats.rankdata(values, axis=0))


@given(hnp.arrays(np.float64, (7,), elements=st.floats(1e-9, 1 - 1e-9)))
def test_quantiles_are_those_of_scipy(shares: np.ndarray) -> None:
    """The normal quantile, exactly."""
    assert normal_quantiles(shares) == pytest.approx(stats.norm.ppf(shares), abs=1e-7)


@given(TABLES, st.integers(-3, 3), st.integers(-5, 5))
def test_scores_forget_units_and_keep_order(values: np.ndarray, power: int, offset: int) -> None:
    """Other units give the same scores, larger values no smaller ones, and all are finite."""
    scores = NormalScores.of(values).score(values)
    other = values * 2.0**power + offset
    assert NormalScores.of(other).score(other) == pytest.approx(scores)
    assert (np.diff(scores[np.argsort(values[:, 0], kind="stable"), 0]) >= 0).all()
    assert np.isfinite(NormalScores.of(values).score(values * 1e6)).all()


def test_features_of_the_bell_curve_are_centred() -> None:
    """Spreads have mean 0 and variance 1; products of independent features have mean 0."""
    scores = np.random.default_rng(0).normal(size=(20_000, 2))
    assert spreads(scores).mean() == pytest.approx(0, abs=0.03)
    assert spreads(scores).var() == pytest.approx(1, abs=0.1)
    assert products(scores).mean() == pytest.approx(0, abs=0.03)


def test_whitened_features_have_unit_covariance() -> None:
    """Up to the ridge, whatever the correlation; a constant feature does no harm."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(5000, 3)) @ (np.eye(3) + 0.4)
    white = (features - features.mean(axis=0)) @ whitener(features)
    assert np.cov(white.T) == pytest.approx(np.eye(3), abs=0.1)
    assert np.isfinite(whitener(np.column_stack([features, np.ones(5000)]))).all()
