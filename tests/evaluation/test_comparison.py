"""Two models are compared by the photos on which they differ."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scones.evaluation.comparison import compare, difference_bound, difference_interval, mcnemar, photos_needed

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
    assert found.verdict.startswith("no significant difference: 1 photo only this model has right")


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


@pytest.mark.parametrize(
    ("ours", "theirs", "n", "bound"),
    # Without differences the bound is that of "no loss in n photos": 0.95^(1/n) - 1, and a bit for what we may win.
    [(0, 0, 100, -0.0295), (0, 0, 300, -0.0099), (5, 5, 300, -0.0197), (20, 2, 200, 0.052), (0, 30, 30, -1.0)],
)
def test_the_lower_bound_of_a_difference(ours: int, theirs: int, n: int, bound: float) -> None:
    """It lies below the difference, the closer the more photos there are."""
    assert difference_bound(ours, theirs, n) == pytest.approx(bound, abs=0.005)
    assert difference_bound(ours, theirs, n) <= (ours - theirs) / n


@pytest.mark.parametrize(("n", "margin"), [(15, 0.1), (25, 0.05), (25, 0.2)])
def test_a_worse_model_passes_as_rarely_as_stated(n: int, margin: float) -> None:
    """Over every outcome and many true shares, one that is worse by just the margin passes with 5% at most."""
    passing = [[difference_bound(ours, m - ours, n) >= -margin for ours in range(m + 1)] for m in range(n + 1)]
    for rate in np.linspace(margin, 1, 60):
        share = (1 - margin / rate) / 2
        chance = sum(
            float(stats.binom.pmf(m, n, rate)) * float(stats.binom.pmf(np.arange(m + 1), m, share)[passing[m]].sum())
            for m in range(n + 1)
        )
        # The bound is found to four digits.
        assert chance <= 0.0505


def test_a_bound_is_found_also_where_the_search_passes_no_difference() -> None:
    """17 of 255: half-way steps come within rounding of 0, where outcomes without any difference have no variance."""
    bounds = [difference_bound(ours, 0, 255) for ours in range(14, 21)]
    assert bounds == sorted(bounds)
    assert bounds[0] > 0.03


@settings(max_examples=20)
@given(st.integers(1, 300), st.data())
def test_each_photo_more_that_only_we_have_right_raises_the_bound(n: int, data: st.DataObject) -> None:
    """And each that only the other has right lowers it."""
    theirs = data.draw(st.integers(0, min(n - 1, 20)))
    ours = data.draw(st.integers(0, min(n - 1 - theirs, 20)))
    bound = difference_bound(ours, theirs, n)
    assert difference_bound(ours + 1, theirs, n) >= bound - 1e-3
    assert difference_bound(ours, theirs + 1, n) <= bound + 1e-3


def test_the_bound_of_many_photos_continues_that_of_fewer() -> None:
    """Beyond 2,000 photos it is approximated."""
    assert difference_bound(30, 30, 2001) == pytest.approx(difference_bound(30, 30, 2000), abs=0.0005)


@pytest.mark.parametrize(("ours", "theirs", "n"), [(0, 0, 0), (-1, 0, 5), (3, 3, 5)])
def test_impossible_counts_are_refused(ours: int, theirs: int, n: int) -> None:
    """No photos, negative counts, more differences than photos."""
    with pytest.raises(ValueError, match="different answers"):
        difference_bound(ours, theirs, n)


def test_the_photos_needed_are_those_with_which_it_passes() -> None:
    """About: equal models with few photos need more; a model that is worse by the margin never passes."""
    needed = photos_needed(3, 3, 100, margin=0.02)
    assert needed is not None
    assert difference_bound(round(3.3 * needed / 100), round(3.3 * needed / 100), round(1.1 * needed)) >= -0.021
    assert difference_bound(round(2.7 * needed / 100), round(2.7 * needed / 100), round(0.9 * needed)) < -0.019
    assert photos_needed(0, 0, 100, margin=0.02) == pytest.approx(145, abs=15)
    assert photos_needed(0, 2, 100, margin=0.02) is None
    assert photos_needed(0, 201, 10_000, margin=0.02) is None


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_an_interval_holds_the_difference_and_turns_with_the_sides(n: int, one: int, other: int) -> None:
    """Exchanging the models exchanges its ends, and it is wider than the one-sided bound of the same confidence."""
    one, other = one % (n + 1), other % (n + 1 - one % (n + 1))
    low, high = difference_interval(one, other, n)
    assert -1 <= low <= (one - other) / n <= high <= 1
    assert difference_interval(other, one, n) == pytest.approx((-high, -low))
    assert low <= difference_bound(one, other, n) + 1e-3
