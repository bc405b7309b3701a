"""The detector is evaluated by the shares above and below its threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.evaluation.ood import evaluate_ood, flat_and_noise


def test_shares_are_counted_at_the_threshold() -> None:
    """A score at the threshold is accepted, in both groups."""
    found = evaluate_ood(1.0, np.array([0.0, 1.0, 1.1, 0.5]), {"cats": (("a", "b"), np.array([1.0, 3.0]))})
    assert (found.n, found.rejected) == (4, 0.25)
    cats = found.groups[0]
    assert (cats.kind, cats.n, cats.accepted, cats.keys) == ("cats", 2, 0.5, ("a", "b"))
    assert cats.auc == pytest.approx(6.5 / 8)
    assert cats.interval.low < 0.5 < cats.interval.high


@given(st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_a_higher_threshold_rejects_no_more_and_accepts_no_less(limit: float, seed: int) -> None:
    """Nor does it change the area."""
    rng = np.random.default_rng(seed)
    known, others = rng.normal(0, 1, 20), rng.normal(1, 1, 10)
    one, more = (evaluate_ood(at, known, {"": (("",) * 10, others)}) for at in (limit, limit + 1))
    assert more.rejected <= one.rejected
    assert more.groups[0].accepted >= one.groups[0].accepted
    assert more.groups[0].auc == one.groups[0].auc


def test_generated_images_are_plain_coloured_and_gray_in_turn() -> None:
    """The same ones each time, at any size."""
    made = flat_and_noise(16)
    assert made.shape == (300, 16, 16, 3)
    assert (made == flat_and_noise(16)).all()
    assert (made[0] == made[0, 0, 0]).all()
    assert made[1].std() > 50
    assert (made[2] == made[2][..., :1]).all()
