"""Orders the fits of one training so that all workers end together: McNaughton's wrap-around rule.

R. McNaughton, "Scheduling with Deadlines and Loss Functions", Management Science 6(1), 1959: tasks that may be
interrupted are laid end to end and cut into as many stretches as there are workers, none shorter than the longest
task. A task that is cut starts with its second part at the front of one stretch, and ends at the end of the one before.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """Work on one *task*, by its number, from where it stands up to a *share* of the whole; 1 is its end."""

    task: int
    share: float


def workers_needed(work: Sequence[float]) -> int:
    """Tell with how many workers the longest of the tasks, with so much *work* each, decides when all are done."""
    return math.ceil(sum(work) / max(work))


def schedule(work: Sequence[float], workers: int) -> list[Piece]:
    """Order tasks with so much *work* each for that many *workers*, no more of them than are needed.

    Whoever is free takes the next piece of a task that nobody is at. A task has two pieces at most.
    """
    stretch = max(*work, sum(work) / workers)
    pieces: list[tuple[float, Piece]] = []
    for number, length in enumerate(work):
        begin = sum(work[:number])
        into = begin % stretch
        spill = max(0.0, into + length - stretch)
        if spill:
            pieces.append((0.0, Piece(number, spill / length)))
        pieces.append((into, Piece(number, 1.0)))
    return [piece for _, piece in sorted(pieces, key=lambda each: each[0])]
