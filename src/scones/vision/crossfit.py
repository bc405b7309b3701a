"""Fits the final network and, beside it, one for each fold, in processes side by side; loads no torch itself.

Each fold's network answers for the photos that it did not see: those out-of-fold answers are the honest ones.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

import numpy as np
import numpy.typing as npt

from scones.errors import SconesError
from scones.vision.messages import Done, Labelled, Progress, Task, Weights
from scones.vision.recipe import Recipe
from scones.vision.worker import work

FOLDS: Final = 3
"""Three folds cost as much as two more final networks; two would halve what each may learn from."""
_GRACE_SECONDS: Final = 1.0


class TrainingFailed(SconesError):
    """Training cannot start or go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Crossfit:
    """The final network's weights, and the out-of-fold log-probabilities, float32 [N, classes], of every photo.

    `sample_answers` is what the final network says of the first photos, for the export to be compared with.
    """

    weights: Weights
    log_probabilities: npt.NDArray[np.float32]
    sample_answers: npt.NDArray[np.float32]


def crossfit(data: Labelled, recipe: Recipe, seed: int, report: Callable[[Progress], None]) -> Crossfit:
    """Fit everything; *report* hears of each epoch of each network. No process outlives this call, or its caller.

    Raises:
        TrainingFailed: a class has fewer photos than there are folds, or a process failed.
    """
    fold_of = assign_folds(data, seed)
    # The final network is the longest task, so it goes first.
    tasks = [Task(None, recipe, seed)] + [Task(fold, recipe, seed) for fold in range(FOLDS)]
    answers = np.zeros((len(data.labels), data.classes), dtype=np.float32)
    final: Done | None = None
    with _workers(data, fold_of, min(len(tasks), os.cpu_count() or 1)) as pipes:
        for done in _share_out(tasks, pipes, report):
            if done.fold is None:
                final = done
            else:
                answers[fold_of == done.fold] = done.answers
    if final is None:
        raise TrainingFailed("training ended without a final network; this is a bug")
    return Crossfit(final.weights, answers, final.answers)


def assign_folds(data: Labelled, seed: int) -> npt.NDArray[np.int64]:
    """Give each photo a fold, int64 [N], so that every fold has its share of every class."""
    rng = np.random.default_rng(seed)
    fold_of = np.zeros(len(data.labels), dtype=np.int64)
    for number in range(data.classes):
        members = rng.permutation(np.flatnonzero(data.labels == number))
        if len(members) < FOLDS:
            raise TrainingFailed(f"class number {number} has {len(members)} photos; training needs {FOLDS} or more")
        fold_of[members] = np.arange(len(members)) % FOLDS
    return fold_of


def _share_out(tasks: list[Task], pipes: list[Connection], report: Callable[[Progress], None]) -> Iterator[Done]:
    """Keep every worker busy until nothing is left, yielding results as they come."""
    waiting, busy = list(tasks), 0
    for pipe in pipes:
        pipe.send(waiting.pop(0))
        busy += 1
    while busy:
        for ready in wait(pipes):
            pipe = next(pipe for pipe in pipes if pipe is ready)
            message = _receive(pipe)
            if isinstance(message, Progress):
                report(message)
                continue
            busy -= 1
            yield message
            if waiting:
                pipe.send(waiting.pop(0))
                busy += 1


def _receive(pipe: Connection) -> Progress | Done:
    try:
        message = pipe.recv()
    except (EOFError, OSError) as error:
        raise TrainingFailed("a training process ended early (out of memory?); its messages are in the log") from error
    if isinstance(message, Progress | Done):
        return message
    raise TrainingFailed(f"a training process failed: {message}")


@contextmanager
def _workers(data: Labelled, fold_of: npt.NDArray[np.int64], count: int) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    pipes: list[Connection] = []
    # Ctrl-C reaches the whole process group; only this process shall answer it. The ignoring is inherited.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, data, fold_of), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        signal.signal(signal.SIGINT, interrupt)
        yield pipes
    finally:
        signal.signal(signal.SIGINT, interrupt)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(_GRACE_SECONDS)
            process.kill()
            process.join()
        for pipe in pipes:
            pipe.close()
