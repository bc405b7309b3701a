"""The selected threshold is the cheapest, and its guarantee holds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.evaluation.thresholds import (
    GRID,
    SPLITS,
    STARTS,
    Costs,
    RiskTarget,
    ThresholdTerms,
    certified,
    evaluate_threshold,
    evaluate_threshold_on_halves,
    operating_point,
    photo_costs,
    select_threshold,
)
from scones.model.out_of_fold import ScoredPredictions

COSTS = Costs(wrong_route=10, review=0.5)
TARGET = RiskTarget(max_error=0.03, alpha=0.1)

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
    assert photo_costs(0.7, right, confidence, COSTS).tolist() == [0.5, 10, 0]
    point = operating_point(0.7, right, confidence, COSTS)
    assert (point.accepted, point.wrong, point.error) == (2, 1, 0.5)
    assert point.dollars_per_1000 == pytest.approx(3500)


def test_a_threshold_above_all_has_no_error() -> None:
    """A share of nothing is None."""
    point = operating_point(0.99, np.array([True]), np.array([0.6]), COSTS)
    assert (point.coverage, point.error, point.dollars_per_1000) == (0, None, 500)


@given(answers)
def test_no_threshold_is_cheaper_than_the_cheapest(photos: list[tuple[bool, float]]) -> None:
    """And of those that cost the same it is the strictest; the certified one is among the certified."""
    right, confidence = np.array([flag for flag, _ in photos]), np.array([value for _, value in photos])
    choice = select_threshold(right, confidence, COSTS, TARGET)
    best = choice.cheapest.dollars_per_1000
    assert best == min(point.dollars_per_1000 for point in choice.curve)
    assert choice.cheapest.threshold == max(p.threshold for p in choice.curve if p.dollars_per_1000 == best)
    if choice.certified:
        assert choice.certified.threshold in set(certified(choice.curve, TARGET))
        assert choice.certified.dollars_per_1000 >= best


def test_reviews_that_cost_more_lower_the_threshold() -> None:
    """The dearer a person's look against a wrong route, the more is routed."""
    right, confidence = drawn(np.random.default_rng(1), 5000)
    found = [
        select_threshold(right, confidence, Costs(10, review), TARGET).cheapest.threshold for review in (0.05, 0.5, 2)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


def test_honest_confidence_gives_the_textbook_threshold() -> None:
    """With calibrated confidence it pays to route where (1 - confidence) x wrong route < review: above 1 - 0.5 / 10."""
    right, confidence = drawn(np.random.default_rng(2), 200_000)
    assert select_threshold(right, confidence, COSTS, TARGET).cheapest.threshold == pytest.approx(0.95, abs=0.02)


def test_too_few_photos_guarantee_nothing() -> None:
    """All right, but fewer than the target needs: nothing is certified, and the bound says what is certain."""
    few = TARGET.min_photos - 1
    choice = select_threshold(np.full(few, True), np.full(few, 0.9999), COSTS, TARGET)
    assert choice.certified is None
    assert choice.best == choice.cheapest
    assert 0.03 < choice.bound < 0.1
    enough = np.full(few + 1, True)
    assert select_threshold(enough, np.full(few + 1, 0.9999), COSTS, TARGET).certified is not None


def test_a_bad_model_is_certified_nowhere() -> None:
    """Errors at every confidence leave no threshold, however many photos there are."""
    rng = np.random.default_rng(3)
    choice = select_threshold(rng.random(5000) < 0.9, rng.uniform(0.5, 1, 5000), COSTS, TARGET)
    assert choice.certified is None
    assert choice.bound > 0.03


def test_the_grid_holds_its_starts_in_order() -> None:
    """Every sequence begins at a threshold that may be chosen."""
    assert list(GRID) == sorted(GRID)
    assert set(STARTS) <= set(GRID)


@pytest.mark.parametrize(("n", "power"), [(300, 1.0), (1000, 1.0), (1000, 3.0), (3000, 2.0)])
def test_the_guarantee_holds_as_often_as_it_says(n: int, power: float) -> None:
    """Over 200 draws of photos, a certified threshold whose true error is above the target comes up in at most 10%.

    Every certified threshold counts, not only the chosen one; honest and overconfident models alike.
    """
    errors = true_errors(power)
    broken = 0
    for seed in range(200):
        right, confidence = drawn(np.random.default_rng(seed), n, power)
        found = certified(select_threshold(right, confidence, COSTS, TARGET).curve, TARGET)
        broken += any(errors[threshold] > TARGET.max_error for threshold in found if threshold >= 0.5)
    # Three standard errors of a share of 10% over 200 draws.
    assert broken / 200 <= TARGET.alpha + 3 * (0.1 * 0.9 / 200) ** 0.5


def test_with_enough_photos_something_is_certified() -> None:
    """The guarantee is not kept by promising nothing: of 1,000 photos of a good model it nearly always holds."""
    found = [
        select_threshold(*drawn(np.random.default_rng(seed), 1000, 0.5), COSTS, TARGET).certified is not None
        for seed in range(50)
    ]
    assert np.mean(found) > 0.9


TERMS = ThresholdTerms(current=0.6, costs=Costs(10, 0.5), risk_target=RiskTarget(0.03, 0.1), seed=0)


def scored(n: int, seed: int) -> ScoredPredictions:
    """Predictions of a perfectly calibrated model."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(6, 0.8, n) / 2 + 0.5
    return ScoredPredictions(rng.random(n) < confidence, confidence)


def test_the_test_photos_do_not_influence_the_selection() -> None:
    """With other test photos the threshold is the same; only its measured figures differ."""
    one, other = (evaluate_threshold(scored(1000, 0), scored(200, seed), TERMS) for seed in (1, 2))
    assert one.selection == other.selection
    assert one.proposed != other.proposed
    test = scored(200, 1)
    assert one.proposed == operating_point(one.selection.best.threshold, test.right, test.confidence, TERMS.costs)
    assert (one.source, one.photos) == ("out_of_fold", 1000)


def test_the_saving_is_the_difference_with_an_interval_around_it() -> None:
    """The current cost less the proposed one; on many photos a better threshold saves significantly."""
    result = evaluate_threshold(scored(5000, 0), scored(5000, 1), TERMS)
    saved = result.saving
    assert saved.dollars_per_1000 == pytest.approx(result.current.dollars_per_1000 - result.proposed.dollars_per_1000)
    assert 0 < saved.low < saved.dollars_per_1000 < saved.high


def test_a_saving_that_is_the_same_on_each_photo_has_no_interval() -> None:
    """All photos go to a person at the one threshold, and are routed right at the other."""
    known = ScoredPredictions(np.full(1000, True), np.full(1000, 0.9))
    result = evaluate_threshold(known, known, replace(TERMS, current=0.99))
    assert (result.saving.low, result.saving.dollars_per_1000, result.saving.high) == pytest.approx((500, 500, 500))


@pytest.mark.parametrize("photos", [2, 7, 100])
def test_the_half_that_selects_and_the_half_that_evaluates_share_no_photo(photos: int) -> None:
    """Each evaluating half has half of the photos, the odd one included."""
    result = evaluate_threshold_on_halves(scored(photos, 1), TERMS)
    assert result.current.n == result.proposed.n == SPLITS * (photos - photos // 2)
    assert result.proposed.threshold == result.selection.best.threshold
    assert result.current.error == (result.current.wrong / result.current.accepted if result.current.accepted else None)


def test_the_same_seed_gives_the_same_result() -> None:
    """Resampling and halving are seeded."""
    assert evaluate_threshold(scored(300, 0), scored(200, 1), TERMS) == evaluate_threshold(
        scored(300, 0), scored(200, 1), TERMS
    )
    assert evaluate_threshold_on_halves(scored(200, 1), TERMS) == evaluate_threshold_on_halves(scored(200, 1), TERMS)


def test_halves_are_reported_as_such() -> None:
    """Without out-of-fold predictions, other photos evaluate than those that select, and the source says so."""
    result = evaluate_threshold_on_halves(scored(2000, 1), TERMS)
    assert result.source == "halves"
    assert result.saving.low > 0
    assert result.proposed.dollars_per_1000 < result.current.dollars_per_1000


def test_a_single_photo_is_no_crash() -> None:
    """Nothing is guaranteed."""
    result = evaluate_threshold_on_halves(scored(1, 1), TERMS)
    assert not result.guaranteed


def test_the_guarantee_is_one_plain_sentence() -> None:
    """With enough photos: the error, the confidence and the number. With too few: how many are needed."""
    assert evaluate_threshold(scored(5000, 0), scored(200, 1), TERMS).guarantee == (
        "at most 3.0% of routed photos are wrong, with 90% confidence (5,000 photos)"
    )
    few = evaluate_threshold(scored(60, 0), scored(200, 1), TERMS)
    assert not few.guaranteed
    assert "no threshold is certified: to show with 90% confidence" in few.guarantee
    assert f"at least {TERMS.risk_target.min_photos} right predictions above the threshold are needed" in few.guarantee
    guesses = ScoredPredictions(np.arange(2000) % 2 > 0, np.linspace(0.5, 1, 2000))
    assert (
        "too few predictions above the threshold are right"
        in evaluate_threshold(guesses, scored(200, 1), TERMS).guarantee
    )
