"""The figures are those that one gets by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from scones.evaluation.metrics import (
    ClassScores,
    average_precision,
    binary_auc,
    evaluate_predictions,
)
from scones.model.out_of_fold import InvalidLabelledPredictions

CLASSES = ("bicycle", "motorcycle")


def binary(motorcycle: list[float]) -> np.ndarray:
    """Probabilities of both classes from those of the second."""
    return np.array([[1 - p, p] for p in motorcycle])


def test_five_photos_by_hand() -> None:
    """Accuracy, confusion, per class figures, coverage and ROC area of a case worked out on paper."""
    labels = ["bicycle", "bicycle", "bicycle", "motorcycle", "motorcycle"]
    result = evaluate_predictions(labels, binary([0.1, 0.2, 0.6, 0.7, 0.95]), CLASSES, 0.75)
    assert result.n == 5
    assert result.accuracy == pytest.approx(0.8)
    assert result.confusion == ((2, 1), (0, 2))
    assert result.per_class[0] == ClassScores("bicycle", 3, 1.0, 2 / 3, 0.8)
    assert result.per_class[1] == ClassScores("motorcycle", 2, 2 / 3, 1.0, 0.8)
    assert result.coverage == pytest.approx(0.6)
    assert result.accuracy_covered == pytest.approx(1.0)
    assert result.auc == pytest.approx(1.0)
    # Gaps of accuracy and confidence by bin: .6 (wrong), .7, .8, .9 and .95 alone in theirs, the last two together.
    assert result.ece == pytest.approx((0.6 + 0.3 + 0.2 + 0.1 + 0.05) / 5)


def test_a_confidence_at_the_threshold_is_covered() -> None:
    """Only what lies below the threshold is turned away."""
    assert evaluate_predictions(["bicycle"], np.array([[0.75, 0.25]]), CLASSES, 0.75).coverage == 1


def test_without_covered_photos_there_is_no_accuracy() -> None:
    """A share of nothing is None, not zero."""
    result = evaluate_predictions(["bicycle"], np.array([[0.6, 0.4]]), CLASSES, 0.9)
    assert (result.coverage, result.accuracy_covered, result.interval_covered) == (0, None, None)


def test_a_class_that_is_never_there_has_no_figures() -> None:
    """Precision and recall of nothing are None, and so is the ROC area."""
    result = evaluate_predictions(["bicycle"], np.array([[0.6, 0.4]]), CLASSES, 0.5)
    assert result.per_class[1] == ClassScores("motorcycle", 0, None, None, None)
    assert result.auc is None


def test_three_classes_average_their_areas() -> None:
    """Each class against the rest: areas 1, 1 and 2/3 by hand."""
    table = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.1, 0.7, 0.2], [0.2, 0.6, 0.2]])
    result = evaluate_predictions(["a", "b", "b", "c"], table, ("a", "b", "c"), 0.5)
    # The last class: its .2 beats one .1 and ties with two .2, which is (1 + .5 + .5) / 3.
    assert result.auc == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert result.accuracy == pytest.approx(0.75)


def test_ties_count_half_in_the_area() -> None:
    """An answer that is always the same ranks by chance."""
    assert binary_auc(np.array([True, False, False]), np.zeros(3)) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9])), min_size=1, max_size=30))
def test_average_precision_is_scikit_learns(photos: list[tuple[bool, float]]) -> None:
    """Ties are taken together; without positives there is none."""
    positive, scores = np.array([flag for flag, _ in photos]), np.array([score for _, score in photos])
    if positive.any():
        assert average_precision(positive, scores) == pytest.approx(average_precision_score(positive, scores))
    else:
        assert average_precision(positive, scores) is None


@pytest.mark.parametrize(
    ("labels", "table", "message"),
    [
        ([], np.empty((0, 2)), "no photos"),
        (["bicycle"], np.ones((2, 2)), "one row per label"),
        (["bicycle"], np.array([[np.nan, 1]]), "not finite"),
        (["scooter"], np.array([[0.5, 0.5]]), "'scooter' is none of"),
    ],
)
def test_what_cannot_be_judged_is_an_error(labels: list[str], table: np.ndarray, message: str) -> None:
    """Each wrong input has its own line."""
    with pytest.raises(InvalidLabelledPredictions, match=message):
        evaluate_predictions(labels, table, CLASSES, 0.5)


answers = st.lists(st.tuples(st.sampled_from(CLASSES), st.floats(0, 1)), min_size=1, max_size=40)


@given(answers, st.floats(0, 1))
def test_the_figures_agree_with_each_other(photos: list[tuple[str, float]], threshold: float) -> None:
    """Confusion sums to n, its diagonal to the accuracy, recalls to the accuracy, and every share is a share."""
    result = evaluate_predictions([label for label, _ in photos], binary([p for _, p in photos]), CLASSES, threshold)
    assert sum(map(sum, result.confusion)) == result.n == len(photos)
    assert sum(result.confusion[i][i] for i in range(2)) == pytest.approx(result.accuracy * result.n)
    assert sum((s.recall or 0) * s.n for s in result.per_class) == pytest.approx(result.accuracy * result.n)
    assert result.interval.low <= result.accuracy + 1e-9
    for share in (result.ece, result.coverage, result.auc or 0, result.accuracy_covered or 0):
        assert -1e-9 <= share <= 1 + 1e-9


@given(answers)
def test_the_order_of_photos_does_not_matter(photos: list[tuple[str, float]]) -> None:
    """Judged backwards, the figures are the same."""
    there, back = (
        evaluate_predictions([label for label, _ in order], binary([p for _, p in order]), CLASSES, 0.7)
        for order in (photos, photos[::-1])
    )
    assert there.confusion == back.confusion
    assert there.auc == back.auc
    assert there.ece == pytest.approx(back.ece)
