"""Folds are fair, out-of-fold answers are honest, and no process stays behind."""

import heapq
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.training.cross_validation import (
    FOLDS,
    FitPlan,
    TaskPart,
    assign_folds,
    cross_validate,
    cross_validation_workers,
    schedule,
    workers_needed,
)
from scones.training.recipe import EpochProgress, Recipe, TrainingData
from scones.training.workers import TrainingError, open_workers

Stripes = Callable[..., TrainingData]


def labelled(labels: list[int]) -> TrainingData:
    """Labels without photos, and seven outliers."""
    photos = np.zeros((len(labels) + 7, 1, 1, 3), dtype=np.uint8)
    return TrainingData(photos[7:], np.array(labels), max(labels) + 1, photos[:7])


@given(counts=st.lists(st.integers(FOLDS, 40), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_each_fold_has_its_share_of_each_class(counts: list[int], seed: int) -> None:
    """Folds differ by one photo of a class at most."""
    labels = [number for number, count in enumerate(counts) for _ in range(count)]
    folds = assign_folds(labelled(labels), seed)
    for number in range(len(counts)):
        sizes = np.bincount(folds.photos[np.array(labels) == number], minlength=FOLDS)
        assert sizes.max() - sizes.min() <= 1
    assert sorted(np.bincount(folds.outliers)) == [2, 2, 3]


def test_a_class_with_fewer_photos_than_folds_is_refused() -> None:
    """One fold would have none to learn from."""
    with pytest.raises(TrainingError, match="class number 1 has 2 photos"):
        assign_folds(labelled([0, 0, 0, 1, 1]), 0)


@pytest.mark.slow
def test_every_photo_gets_an_answer_from_a_network_that_never_saw_it(stripes: Stripes, tmp_path: Path) -> None:
    """Wrong labels betray it: the answers follow the stripes, not the labels seen. A second run needs no epoch more."""
    data = stripes(240, 16, outliers=30)
    wrong = np.arange(240) % 12 == 0
    data = replace(data, labels=np.where(wrong, 1 - data.labels, data.labels))
    heard: list[EpochProgress] = []
    with cross_validation_workers() as workers:
        result = cross_validate(workers, data, FitPlan(Recipe(epochs=5), 0, tmp_path), heard.append)
    agreed = result.photos.log_probabilities.argmax(axis=1) == data.labels
    assert agreed[~wrong].mean() > 0.9
    assert agreed[wrong].mean() < 0.2
    assert (result.outliers.strangeness != 0).all()
    assert result.sample.log_probabilities.shape == (64, 2)
    assert [fitted.weights["head.weight"].shape for fitted in (result.final, *result.of_fold)] == [(3, 256)] * 4
    assert sorted({(p.fold is None, p.fold or 0) for p in heard}) == [(False, 0), (False, 1), (False, 2), (True, 0)]
    assert len(heard) == 5 * (FOLDS + 1)
    assert multiprocessing.active_children() == []
    heard.clear()
    with cross_validation_workers() as workers:
        again = cross_validate(workers, data, FitPlan(Recipe(epochs=5), 0, tmp_path), heard.append)
    assert heard == []
    assert np.array_equal(again.photos.log_probabilities, result.photos.log_probabilities)


@pytest.mark.slow
def test_a_failure_in_a_process_is_told_and_ends_all(stripes: Stripes, tmp_path: Path) -> None:
    """Photos too small for the network: the reason arrives in one line."""
    plan = FitPlan(Recipe(epochs=1), 0, tmp_path)
    with (
        pytest.raises(TrainingError, match="a training process failed: RuntimeError: ") as caught,
        cross_validation_workers() as workers,
    ):
        cross_validate(workers, stripes(30, 4), plan, lambda _progress: None)
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_the_answers_do_not_depend_on_how_many_work(stripes: Stripes, tmp_path: Path) -> None:
    """One does each network at once, two share one of them out, three another: the same to the last bit."""
    data, found = stripes(60, 16, outliers=9), []
    for count in (1, 2, 3):
        plan = FitPlan(Recipe(epochs=4), 0, tmp_path / str(count))
        with open_workers(count) as workers:
            found.append(cross_validate(workers, data, plan, lambda _progress: None))
    for other in found[1:]:
        assert np.array_equal(other.photos.log_probabilities, found[0].photos.log_probabilities)
        assert np.array_equal(other.sample.log_probabilities, found[0].sample.log_probabilities)


WORK = st.lists(st.integers(1, 20), min_size=1, max_size=8)


def last_to_end(work: Sequence[float], pieces: Sequence[TaskPart], workers: int) -> float:
    """Let a free worker take the next piece of a task that no other works on, and tell when all is done."""
    waiting, free, done, until = list(pieces), [0.0] * workers, [0.0] * len(work), [0.0] * len(work)
    while waiting:
        now = heapq.heappop(free)
        piece = next((piece for piece in waiting if until[piece.task] <= now + 1e-9), None)
        if piece is None:
            heapq.heappush(free, min(until[piece.task] for piece in waiting))
            continue
        waiting.remove(piece)
        assert piece.share > done[piece.task]
        until[piece.task] = now + (piece.share - done[piece.task]) * work[piece.task]
        done[piece.task] = piece.share
        heapq.heappush(free, until[piece.task])
    assert done == [1.0] * len(work)
    return max(until)


@given(work=WORK, some=st.integers(1, 5))
def test_all_is_done_as_early_as_can_be(work: list[int], some: int) -> None:
    """Neither before the longest task is, nor before everybody has done their part."""
    workers = min(some, workers_needed(work))
    assert last_to_end(work, schedule(work, workers), workers) == pytest.approx(max(*work, sum(work) / workers))


def test_two_share_one_of_four_networks() -> None:
    """The first quarter of a fold's network is fitted before the others, and the rest after the final one."""
    first, second = TaskPart(1, 0.25), TaskPart(1, 1.0)
    assert schedule([3, 2, 2, 2], 2) == [TaskPart(0, 1.0), first, TaskPart(2, 1.0), TaskPart(3, 1.0), second]


def test_more_than_three_are_of_no_use_for_a_final_network_and_three_folds() -> None:
    """The final network takes as long as the folds' networks by two."""
    assert workers_needed([3, 2, 2, 2]) == 3
