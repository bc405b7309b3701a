"""The OOD detector refuses what is far from known photos, and few of those."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scones.training.calibration import DISTANCE_SHARE, REFERENCE_PHOTOS, REFUSED_SHARE, fit_ood_detector, spread_sample


@given(count=st.integers(50, 2000), seed=st.integers(0, 99))
def test_few_known_photos_are_refused(count: int, seed: int) -> None:
    """Of the photos it was fitted to, no more than the share that it promises."""
    known = np.random.default_rng(seed).normal(3, 0.1, (count, 2))
    ood_detector = fit_ood_detector(known, learnt=True)
    assert (ood_detector.score(known) > ood_detector.refused_above).mean() <= REFUSED_SHARE


def test_new_known_photos_are_refused_no_more_often() -> None:
    """On average over many draws of a hundred photos: the finite sample is allowed for."""
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(400):
        ood_detector = fit_ood_detector(rng.normal(size=(100, 2)), learnt=True)
        refused.append((ood_detector.score(rng.normal(size=(200, 2))) > ood_detector.refused_above).mean())
    assert np.mean(refused) <= REFUSED_SHARE + 2 * np.std(refused) / np.sqrt(len(refused))


def test_each_measure_counts_by_its_spread() -> None:
    """Whatever their scales: one spread more of the logit is 1, one of the distance its share."""
    known = np.random.default_rng(0).normal((5, 0.1), (2, 0.01), (1000, 2))
    ood_detector = fit_ood_detector(known, learnt=True)
    scores = ood_detector.score(known.mean(axis=0) + np.diag([*known.std(axis=0), 0])[:, :2])
    assert np.allclose(scores, [1, DISTANCE_SHARE, 0])


def test_a_logit_that_learnt_nothing_is_not_heeded() -> None:
    """Without photos of other things only the distance counts."""
    ood_detector = fit_ood_detector(np.random.default_rng(0).normal(size=(100, 2)), learnt=False)
    assert ood_detector.weights[0] == 0
    assert ood_detector.weights[1] > 0


def test_measures_without_any_spread_are_no_division_by_zero() -> None:
    """As of photos that are all the same."""
    ood_detector = fit_ood_detector(np.ones((10, 2)), learnt=True)
    assert np.isfinite(ood_detector.score(np.ones((3, 2)))).all()
    assert not (ood_detector.score(np.ones((3, 2))) > ood_detector.refused_above).any()


@given(st.integers(1, 5000))
def test_the_sample_is_spread_over_all_photos(count: int) -> None:
    """At most so many, and from the first class to the last."""
    chosen = np.arange(count)[spread_sample(count)]
    assert 0 < len(chosen) <= REFERENCE_PHOTOS
    assert chosen[0] == 0
    assert chosen[-1] >= count - (count // len(chosen) + 1)
