"""Suspected label errors come worst first, and only where the answer differs from the label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scones.evaluation.label_errors import Suspect, rank
from scones.evaluation.metrics import CannotEvaluate

CLASSES = ("bicycle", "motorcycle", "van")


def test_the_surest_contradiction_comes_first() -> None:
    """A photo answered as it is labelled is no suspect, however unsure the answer."""
    probabilities = np.array([[0.4, 0.3, 0.3], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05]])
    assert rank(("a", "b", "c"), ("bicycle", "bicycle", "van"), probabilities, CLASSES) == (
        Suspect("c", "van", "bicycle", 0.9),
        Suspect("b", "bicycle", "motorcycle", 0.7),
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_every_contradiction_is_a_suspect_once(seed: int, count: int) -> None:
    """None is lost, none doubled, and doubt falls down the list."""
    probabilities, labels = _answers(seed, count)
    names = [str(number) for number in range(count)]
    found = rank(names, labels, probabilities, CLASSES)
    said = [CLASSES[number] for number in probabilities.argmax(axis=1)]
    assert sorted(one.name for one in found) == sorted(
        name for name, label, answer in zip(names, labels, said, strict=True) if label != answer
    )
    left = [probabilities[int(one.name), CLASSES.index(one.label)] for one in found]
    assert left == sorted(left)


def _answers(seed: int, count: int) -> tuple[NDArray[np.float64], list[str]]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet([1, 1, 1], count), [CLASSES[number] for number in rng.integers(0, 3, count)]


def test_an_unknown_label_is_named() -> None:
    """Labels and classes must be of one task."""
    with pytest.raises(CannotEvaluate, match="'lorry' is none of the classes"):
        rank(("a",), ("lorry",), np.array([[0.4, 0.3, 0.3]]), CLASSES)
