"""The threshold is the cheapest that can be had, and what is promised of it is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.evaluation.thresholds import GRID, STARTS, Costs, Wish, at, certified, choose, dollars

COSTS = Costs(wrong_route=10, review=0.5)
WISH = Wish(max_error=0.03, doubt=0.1)

answers = st.lists(st.tuples(st.booleans(), st.floats(0.5, 1)), min_size=1, max_size=60)


def drawn(rng: np.random.Generator, n: int, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Answers of a model whose chance to be right is its confidence to this power."""
    confidence = rng.beta(6, 0.8, n) / 2 + 0.5
    return rng.random(n) < confidence**power, confidence


def true_errors(power: float) -> dict[float, float]:
    """The share of wrong ones among all that such a model would ever accept, at each threshold."""
    right, confidence = drawn(np.random.default_rng(99), 400_000, power)
    return {threshold: float(1 - right[confidence >= threshold].mean()) for threshold in GRID if threshold >= 0.5}


def test_three_photos_by_hand() -> None:
    """One review, one wrong route, one right: 10.50 dollars for three."""
    right, confidence = np.array([True, False, True]), np.array([0.6, 0.8, 0.9])
    assert dollars(0.7, right, confidence, COSTS).tolist() == [0.5, 10, 0]
    point = at(0.7, right, confidence, COSTS)
    assert (point.accepted, point.wrong, point.error) == (2, 1, 0.5)
    assert point.dollars_per_1000 == pytest.approx(3500)


def test_a_threshold_above_all_has_no_error() -> None:
    """A share of nothing is None."""
    point = at(0.99, np.array([True]), np.array([0.6]), COSTS)
    assert (point.coverage, point.error, point.dollars_per_1000) == (0, None, 500)


@given(answers)
def test_no_threshold_is_cheaper_than_the_cheapest(photos: list[tuple[bool, float]]) -> None:
    """And of those that cost the same it is the strictest; the certified one is among the certified."""
    right, confidence = np.array([flag for flag, _ in photos]), np.array([value for _, value in photos])
    choice = choose(right, confidence, COSTS, WISH)
    best = choice.cheapest.dollars_per_1000
    assert best == min(point.dollars_per_1000 for point in choice.curve)
    assert choice.cheapest.threshold == max(p.threshold for p in choice.curve if p.dollars_per_1000 == best)
    if choice.certified:
        assert choice.certified.threshold in set(certified(choice.curve, WISH))
        assert choice.certified.dollars_per_1000 >= best


def test_reviews_that_cost_more_lower_the_threshold() -> None:
    """The dearer a person's look against a wrong route, the more is routed."""
    right, confidence = drawn(np.random.default_rng(1), 5000)
    found = [choose(right, confidence, Costs(10, review), WISH).cheapest.threshold for review in (0.05, 0.5, 2)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


def test_honest_confidence_gives_the_textbook_threshold() -> None:
    """With calibrated confidence it pays to route where (1 - confidence) x wrong route < review: above 1 - 0.5 / 10."""
    right, confidence = drawn(np.random.default_rng(2), 200_000)
    assert choose(right, confidence, COSTS, WISH).cheapest.threshold == pytest.approx(0.95, abs=0.02)


def test_too_few_photos_promise_nothing() -> None:
    """All right, but fewer than the wish needs: nothing is certified, and the bound says what can be promised."""
    few = WISH.photos_needed - 1
    choice = choose(np.full(few, True), np.full(few, 0.9999), COSTS, WISH)
    assert choice.certified is None
    assert choice.best == choice.cheapest
    assert 0.03 < choice.bound < 0.1
    enough = np.full(few + 1, True)
    assert choose(enough, np.full(few + 1, 0.9999), COSTS, WISH).certified is not None


def test_a_bad_model_is_certified_nowhere() -> None:
    """Errors at every confidence leave no threshold, however many photos there are."""
    rng = np.random.default_rng(3)
    choice = choose(rng.random(5000) < 0.9, rng.uniform(0.5, 1, 5000), COSTS, WISH)
    assert choice.certified is None
    assert choice.bound > 0.03


def test_the_grid_holds_its_starts_in_order() -> None:
    """Every sequence begins at a threshold that may be chosen."""
    assert list(GRID) == sorted(GRID)
    assert set(STARTS) <= set(GRID)


@pytest.mark.parametrize(("n", "power"), [(300, 1.0), (1000, 1.0), (1000, 3.0), (3000, 2.0)])
def test_the_promise_is_kept_as_often_as_it_says(n: int, power: float) -> None:
    """Over 200 draws of photos, a certified threshold whose true error is above the wish comes up in at most 10%.

    Every certified threshold counts, not only the chosen one; honest and overconfident models alike.
    """
    errors = true_errors(power)
    broken = 0
    for seed in range(200):
        right, confidence = drawn(np.random.default_rng(seed), n, power)
        found = certified(choose(right, confidence, COSTS, WISH).curve, WISH)
        broken += any(errors[threshold] > WISH.max_error for threshold in found if threshold >= 0.5)
    # Three standard errors of a share of 10% over 200 draws.
    assert broken / 200 <= WISH.doubt + 3 * (0.1 * 0.9 / 200) ** 0.5


def test_with_enough_photos_something_is_certified() -> None:
    """The guarantee is not kept by promising nothing: of 1,000 photos of a good model it nearly always holds."""
    found = [
        choose(*drawn(np.random.default_rng(seed), 1000, 0.5), COSTS, WISH).certified is not None for seed in range(50)
    ]
    assert np.mean(found) > 0.9
