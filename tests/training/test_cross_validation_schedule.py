"""Pieces of tasks: nobody waits, and no task is done twice or at once."""

import heapq
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.training.cross_validation import TaskPart, schedule, workers_needed

WORK = st.lists(st.integers(1, 20), min_size=1, max_size=8)


def last_to_end(work: Sequence[float], pieces: Sequence[TaskPart], workers: int) -> float:
    """Let whoever is free take the next piece of a task that nobody is at, and tell when all is done."""
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
