"""An explanation's parts are exact: places add up, the fewest decisive ones are marked, neighbors are named."""

import json
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scones.model.explanations import Explanation, decisive_places, explain
from scones.model.out_of_fold import OutOfFoldPredictions

CLASSES = ("bicycle", "motorcycle", "scooter")
NUMBERS = st.floats(-3, 3, allow_subnormal=False)


def outputs_of(evidence: NDArray[np.float64], bias: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """What a model with these maps [N, C, G, G] and biases [C] returns."""
    logits = evidence.sum(axis=(2, 3)) + bias
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return {
        "probabilities": shifted / shifted.sum(axis=1, keepdims=True),
        "logits": logits,
        "evidence": evidence,
        "unfamiliarity": np.full(len(logits), 0.4),
        "nearest": np.tile([2, 0, 1, 1, 0], (len(logits), 1)),
        "similarity": np.tile([0.9, 0.8, 0.7, 0.6, 0.5], (len(logits), 1)),
    }


def training() -> OutOfFoldPredictions:
    """Four training photos, of which the model compares with three."""
    names = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    labels = ("bicycle", "bicycle", "motorcycle", "scooter")
    return OutOfFoldPredictions(
        CLASSES, names, labels, np.full((4, 3), 1 / 3), tuple("abcd"), None, reference=np.array([3, 1, 2])
    )


@given(st.lists(NUMBERS, min_size=3 * 9, max_size=3 * 9), st.lists(NUMBERS, min_size=3, max_size=3))
def test_the_evidence_of_all_places_and_the_offset_are_the_log_odds(maps: list[float], bias: list[float]) -> None:
    """Nothing is lost: what the places add is the difference of the two likeliest classes' logits."""
    evidence = np.array(maps).reshape(1, 3, 3, 3)
    outputs = outputs_of(evidence, np.array(bias))
    (found,) = explain(outputs, CLASSES, training(), 0.5)
    logits = dict(zip(CLASSES, outputs["logits"][0], strict=True))
    assert found.evidence is not None
    assert found.offset + found.evidence.sum() == pytest.approx(logits[found.label] - logits[found.runner_up], abs=1e-9)
    assert logits[found.label] - logits[found.runner_up] >= -1e-9


@given(st.lists(NUMBERS, min_size=9, max_size=9), st.floats(0.01, 5))
def test_no_fewer_places_than_the_marked_ones_change_the_prediction(numbers: list[float], log_odds: float) -> None:
    """Every smaller set of places leaves the prediction as it is."""
    evidence = np.array(numbers).reshape(3, 3)
    marked = decisive_places(evidence, log_odds)
    if marked is None:
        positive = evidence[evidence > 0].sum()
        assert log_odds - positive >= -1e-9
        return
    assert log_odds - evidence[marked].sum() < 0
    fewer = int(marked.sum()) - 1
    assert all(log_odds - sum(few) >= -1e-9 for few in combinations(numbers, fewer))


def test_the_three_most_similar_training_photos_are_named() -> None:
    """Rows of the reference photos are turned into names and labels of training photos."""
    (found,) = explain(outputs_of(np.ones((1, 3, 2, 2)), np.array([1.0, 0, 0])), CLASSES, training(), 0.5)
    assert [(item.name, item.label, item.similarity) for item in found.neighbors] == [
        ("c.jpg", "motorcycle", 0.9),
        ("d.jpg", "scooter", 0.8),
        ("b.jpg", "bicycle", 0.7),
    ]


@pytest.mark.parametrize(("threshold", "refused"), [(0.5, False), (0.3, True), (None, False)])
def test_a_refusal_names_its_score_and_limit(threshold: float | None, refused: bool) -> None:
    """A photo that resembles no training photo says how far it is beyond the limit."""
    (found,) = explain(outputs_of(np.ones((1, 3, 2, 2)), np.array([1.0, 0, 0])), CLASSES, training(), threshold)
    assert found.out_of_distribution is refused
    assert any("0.4, over the limit of 0.3" in sentence for sentence in found.sentences()) is refused


def test_a_model_without_maps_explains_what_it_can() -> None:
    """A registered model has probabilities only: the classes and their log-odds remain."""
    (found,) = explain({"probabilities": np.array([[0.2, 0.7, 0.1]])}, CLASSES, None, None)
    assert (found.label, found.runner_up) == ("motorcycle", "bicycle")
    assert found.log_odds == pytest.approx(np.log(3.5))
    assert (found.evidence, found.flip, found.neighbors, found.sentences()) == (None, None, (), ())


def test_an_explanation_is_json_of_finite_numbers() -> None:
    """The endpoint sends it, even for a probability of zero."""
    found = explain({"probabilities": np.array([[1.0, 0.0, 0.0]])}, CLASSES, None, None)[0]
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["runner_up"] == "motorcycle"


def test_the_share_of_the_photo_that_decides_is_said() -> None:
    """One place of four carries the prediction."""
    evidence = np.array([[3.0, 0.1], [0.1, 0.1]])
    found = Explanation("bicycle", "motorcycle", 1.0, -2.3, evidence, decisive_places(evidence, 1.0), (), None, None)
    assert found.flip_share() == 0.25
    assert "without 25% of the photo the prediction would be motorcycle" in found.sentences()
