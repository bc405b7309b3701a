"""Folds are fair, out-of-fold answers are honest, and no process stays behind."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.vision.crossfit import FOLDS, TrainingFailed, assign_folds, crossfit
from scones.vision.messages import Labelled, Progress
from scones.vision.recipe import Recipe

Stripes = Callable[..., Labelled]


def labelled(labels: list[int]) -> Labelled:
    """Labels without photos."""
    return Labelled(np.zeros((len(labels), 1, 1, 3), dtype=np.uint8), np.array(labels), max(labels) + 1)


@given(counts=st.lists(st.integers(FOLDS, 40), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_each_fold_has_its_share_of_each_class(counts: list[int], seed: int) -> None:
    """Folds differ by one photo of a class at most."""
    labels = [number for number, count in enumerate(counts) for _ in range(count)]
    folds = assign_folds(labelled(labels), seed)
    for number in range(len(counts)):
        sizes = np.bincount(folds[np.array(labels) == number], minlength=FOLDS)
        assert sizes.max() - sizes.min() <= 1


def test_a_class_with_fewer_photos_than_folds_is_refused() -> None:
    """One fold would have none to learn from."""
    with pytest.raises(TrainingFailed, match="class number 1 has 2 photos"):
        assign_folds(labelled([0, 0, 0, 1, 1]), 0)


def test_every_photo_gets_an_answer_from_a_network_that_never_saw_it(stripes: Stripes) -> None:
    """Wrong labels betray it: the answers follow the stripes, not the labels that were seen."""
    data = stripes(240, 16)
    wrong = np.arange(240) % 12 == 0
    data = replace(data, labels=np.where(wrong, 1 - data.labels, data.labels))
    heard: list[Progress] = []
    result = crossfit(data, Recipe(epochs=5), 0, heard.append)
    agreed = result.log_probabilities.argmax(axis=1) == data.labels
    assert agreed[~wrong].mean() > 0.9
    assert agreed[wrong].mean() < 0.2
    assert result.sample_answers.shape == (64, 2)
    assert result.weights["head.weight"].shape == (2, 256)
    assert sorted({(p.fold is None, p.fold or 0) for p in heard}) == [(False, 0), (False, 1), (False, 2), (True, 0)]
    assert len(heard) == 5 * (FOLDS + 1)
    assert multiprocessing.active_children() == []


def test_a_failure_in_a_process_is_told_and_ends_all(stripes: Stripes) -> None:
    """Photos too small for the network: the reason arrives in one line."""
    with pytest.raises(TrainingFailed, match="a training process failed: RuntimeError: ") as caught:
        crossfit(stripes(30, 4), Recipe(epochs=1), 0, lambda _progress: None)
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []
