"""Fits the final network and, beside it, one for each fold, in processes side by side; loads no torch itself.

Each fold's network answers for the photos that it did not see: those out-of-fold answers are the honest ones.
"""

import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from scones.errors import SconesError
from scones.vision.messages import Answers, Done, Fitted, Folds, Labelled, Progress, Task
from scones.vision.recipe import Recipe
from scones.vision.worker import work

FOLDS: Final = 3
"""Three folds cost as much as two more final networks; two would halve what each may learn from."""
_GRACE_SECONDS: Final = 1.0


class TrainingFailed(SconesError):
    """Training cannot start or go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Crossfit:
    """The final network, one network a fold, and the out-of-fold answers to every photo and every outlier.

    `sample` is what the final network says of the first photos, for the export to be compared with. `features`, float32
    [N, F], are those of all folds' networks side by side: how they see each photo, learnt from or not.
    """

    final: Fitted
    of_fold: tuple[Fitted, ...]
    folds: Folds
    photos: Answers
    outliers: Answers
    sample: Answers
    features: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to fit: by which recipe, from which seed, and in which folder to keep checkpoints, if in any."""

    recipe: Recipe
    seed: int
    checkpoints: Path | None = None


def crossfit(data: Labelled, plan: Plan, report: Callable[[Progress], None]) -> Crossfit:
    """Fit everything; *report* hears of each epoch of each network. No process outlives this call, or its caller.

    Raises:
        TrainingFailed: a class has fewer photos than there are folds, or a process failed.
    """
    folds = assign_folds(data, plan.seed)
    folder = plan.checkpoints / _fingerprint(data, plan) if plan.checkpoints else None
    # The final network is the longest task, so it goes first.
    tasks = [
        Task(fold, plan.recipe, plan.seed, folder / f"{'final' if fold is None else fold}.pt" if folder else None)
        for fold in (None, *range(FOLDS))
    ]
    photos, outliers = _blank(len(data.photos), data.classes), _blank(len(data.outliers), data.classes)
    found: dict[int | None, Done] = {}
    with _workers(data, folds, min(len(tasks), os.cpu_count() or 1)) as pipes:
        for done in _share_out(tasks, pipes, report):
            found[done.fold] = done
            if done.fold is not None:
                _fill(photos, folds.photos == done.fold, done.answers)
                _fill(outliers, folds.outliers == done.fold, done.outlier_answers)
    of_fold = tuple(found[fold].fitted for fold in range(FOLDS))
    features = np.concatenate([found[fold].features for fold in range(FOLDS)], axis=1)
    return Crossfit(found[None].fitted, of_fold, folds, photos, outliers, found[None].answers, features)


def assign_folds(data: Labelled, seed: int) -> Folds:
    """Give each photo a fold, so that every fold has its share of every class, and each outlier too."""
    rng = np.random.default_rng(seed)
    fold_of = np.zeros(len(data.labels), dtype=np.int64)
    for number in range(data.classes):
        members = rng.permutation(np.flatnonzero(data.labels == number))
        if len(members) < FOLDS:
            raise TrainingFailed(f"class number {number} has {len(members)} photos; training needs {FOLDS} or more")
        fold_of[members] = np.arange(len(members)) % FOLDS
    return Folds(fold_of, rng.permutation(np.arange(len(data.outliers)) % FOLDS))


def _fingerprint(data: Labelled, plan: Plan) -> str:
    """Name all that the weights depend on, so that no checkpoint of another training is ever taken up."""
    whole = hashlib.sha256(json.dumps([asdict(plan.recipe), plan.seed, data.classes]).encode())
    for part in (data.photos, data.labels, data.outliers):
        whole.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
    return whole.hexdigest()[:12]


def _blank(count: int, classes: int) -> Answers:
    return Answers(np.zeros((count, classes), dtype=np.float32), np.zeros((count, 2), dtype=np.float32))


def _fill(whole: Answers, where: npt.NDArray[np.bool_], part: Answers) -> None:
    whole.log_probabilities[where] = part.log_probabilities
    whole.strangeness[where] = part.strangeness


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
def _workers(data: Labelled, folds: Folds, count: int) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    pipes: list[Connection] = []
    # Ctrl-C reaches the whole process group; only this process shall answer it. The ignoring is inherited.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, data, folds), daemon=True)
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
