"""A threshold is chosen on some photos and tried on others."""

import numpy as np
import pytest

from scones.evaluation.thresholds import Costs, Terms, Wish, at, try_on_halves, try_threshold
from scones.model.out_of_fold import ScoredPredictions

TERMS = Terms(current=0.6, costs=Costs(10, 0.5), wish=Wish(0.03, 0.1), seed=0)


def judged(n: int, seed: int) -> ScoredPredictions:
    """Answers of a model with honest confidence."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(6, 0.8, n) / 2 + 0.5
    return ScoredPredictions(rng.random(n) < confidence, confidence)


def test_the_test_photos_have_no_say_in_the_choice() -> None:
    """With other test photos the threshold is the same; what it buys is measured on them alone."""
    one, other = (try_threshold(judged(1000, 0), judged(200, seed), TERMS) for seed in (1, 2))
    assert one.choice == other.choice
    assert one.then != other.then
    test = judged(200, 1)
    assert one.then == at(one.choice.best.threshold, test.right, test.confidence, TERMS.costs)
    assert (one.source, one.photos) == ("out_of_fold", 1000)


def test_the_saving_is_the_difference_with_an_interval_round_it() -> None:
    """Dollars now less dollars then; a better threshold on many photos saves beyond doubt."""
    trial = try_threshold(judged(5000, 0), judged(5000, 1), TERMS)
    saved = trial.saving
    assert saved.dollars_per_1000 == pytest.approx(trial.now.dollars_per_1000 - trial.then.dollars_per_1000)
    assert 0 < saved.low < saved.dollars_per_1000 < saved.high


def test_the_same_seed_gives_the_same_trial() -> None:
    """Resampling and halving are seeded."""
    assert try_threshold(judged(300, 0), judged(200, 1), TERMS) == try_threshold(judged(300, 0), judged(200, 1), TERMS)
    assert try_on_halves(judged(200, 1), TERMS) == try_on_halves(judged(200, 1), TERMS)


def test_halves_are_reported_as_such() -> None:
    """Without out-of-fold answers the figures come from photos that did not choose, and the source says so."""
    trial = try_on_halves(judged(2000, 1), TERMS)
    assert trial.source == "halves"
    assert trial.saving.low > 0
    assert trial.then.dollars_per_1000 < trial.now.dollars_per_1000


def test_a_single_photo_is_no_crash() -> None:
    """There is little to say of it, and nothing is promised."""
    trial = try_on_halves(judged(1, 1), TERMS)
    assert not trial.guaranteed


def test_the_promise_is_one_plain_sentence() -> None:
    """With enough photos: what, how sure, how many. With too few: that, and how many it takes."""
    assert try_threshold(judged(5000, 0), judged(200, 1), TERMS).promise == (
        "at most 3.0% of routed photos are wrong, with 90% confidence (5,000 photos)"
    )
    few = try_threshold(judged(60, 0), judged(200, 1), TERMS)
    assert not few.guaranteed
    assert "no threshold can promise on 60 photos" in few.promise
    assert f"it takes {TERMS.wish.photos_needed} sure and right answers or more" in few.promise
    guesses = ScoredPredictions(np.arange(2000) % 2 > 0, np.linspace(0.5, 1, 2000))
    assert "not right often enough" in try_threshold(guesses, judged(200, 1), TERMS).promise
