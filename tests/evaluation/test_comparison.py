"""Two models are compared by the photos on which they differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.evaluation.comparison import compare, mcnemar

CLASSES = ("bicycle", "motorcycle")
BICYCLE, MOTORCYCLE = (0.8, 0.2), (0.3, 0.7)


@pytest.mark.parametrize(
    ("one", "other", "p_value"),
    # 2 x the sum of binomial(n, k) / 2^n up to the smaller count, by hand.
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (1, 9, 22 / 1024), (0, 10, 2 / 1024)],
)
def test_p_values_are_those_of_the_coin(one: int, other: int, p_value: float) -> None:
    """The exact test asks how often a fair coin is as uneven."""
    assert mcnemar(one, other) == pytest.approx(p_value)
    assert mcnemar(other, one) == pytest.approx(p_value)


def test_every_difference_is_listed_with_both_predictions() -> None:
    """One of three photos differs: it is listed with both predictions and their confidence."""
    photos = [("a", "bicycle"), ("b", "motorcycle"), ("c", "motorcycle")]
    found = compare(
        photos, np.array([BICYCLE, MOTORCYCLE, BICYCLE]), np.array([BICYCLE, BICYCLE, BICYCLE]), CLASSES, "old"
    )
    assert (found.both_right, found.only_ours, found.only_theirs, found.both_wrong) == (1, 1, 0, 1)
    assert (found.accuracy, found.other_accuracy) == pytest.approx((2 / 3, 1 / 3))
    (changed,) = found.changed
    assert (changed.name, changed.ours, changed.theirs) == ("b", "motorcycle", "bicycle")
    assert (changed.our_confidence, changed.their_confidence) == (0.7, 0.8)
    assert found.verdict.startswith("no significant difference: 1 photos only this model has right")


def test_a_clear_winner_is_named() -> None:
    """Twenty to none is significant, whichever side has the twenty."""
    photos = [(str(index), "bicycle") for index in range(20)]
    good, bad = np.array([BICYCLE] * 20), np.array([MOTORCYCLE] * 20)
    assert compare(photos, good, bad, CLASSES, "old").verdict.startswith("this model is better")
    assert compare(photos, bad, good, CLASSES, "old").verdict.startswith("the other model is better")
    assert "p < 0.001" in compare(photos, bad, good, CLASSES, "old").verdict


@given(st.lists(st.tuples(st.sampled_from(CLASSES), st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_the_four_counts_make_all_photos(answers: list[tuple[str, bool, bool]]) -> None:
    """And the accuracies are theirs."""
    photos = [(str(index), label) for index, (label, _, _) in enumerate(answers)]
    ours, theirs = (np.array([BICYCLE if item[column] else MOTORCYCLE for item in answers]) for column in (1, 2))
    found = compare(photos, ours, theirs, CLASSES, "old")
    assert found.both_right + found.only_ours + found.only_theirs + found.both_wrong == found.n == len(answers)
    assert found.accuracy * found.n == pytest.approx(found.both_right + found.only_ours)
    assert 0 < found.p_value <= 1
