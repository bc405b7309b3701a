"""Two models of one model file, on the same photos."""

import numpy as np
import pytest

from scones.evaluation.int8_comparison import Pair, compare_int8


def says(first: np.ndarray) -> np.ndarray:
    """Answers of a model that gives the first class so much."""
    return np.column_stack([first, 1 - first, np.zeros(len(first))])


def test_the_difference_is_that_of_the_accuracies() -> None:
    """The guard's column is no class; a photo that both name otherwise is counted."""
    photos = np.zeros((100, 8, 8, 3), np.uint8)
    photos[:50] = 255
    truth = np.repeat([0, 1], 50)
    found = compare_int8(
        Pair(lambda some: says(some[:, 0, 0, 0] / 255), lambda some: says(np.ones(len(some))), served=False),
        photos,
        truth,
        2,
    )
    assert (found.n, found.exact_accuracy, found.accuracy, found.changed) == (100, 1.0, 0.5, 50)
    assert found.difference == pytest.approx(-0.5)
    assert not found.served
    assert found.times_faster == pytest.approx(found.exact_milliseconds / found.milliseconds)
