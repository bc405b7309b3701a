"""Fit the final network and one for each fold, and predict each training photo by a network that did not see it."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from scones.training.export import FittedModel, export
from scones.training.recipe import (
    EpochProgress,
    EpochRange,
    FitResult,
    FitTask,
    FittedNetwork,
    FoldedData,
    Folds,
    NetworkOutputs,
    Recipe,
    TrainingData,
)
from scones.training.workers import TrainingError, Workers, open_workers


class TaskPart(NamedTuple):
    """Work on one *task*, by its number, from its checkpoint up to a *share* of the whole; 1 is its end."""

    task: int
    share: float


def workers_needed(work: Sequence[float]) -> int:
    """Tell with how many workers the longest of the tasks, with so much *work* each, decides when all are done."""
    return math.ceil(sum(work) / max(work))


def schedule(work: Sequence[float], workers: int) -> list[TaskPart]:
    """Order tasks with so much *work* each for that many *workers*, no more of them than are needed.

    A free worker takes the next piece of a task that no other worker runs. A task has two pieces at most.
    """
    stretch = max(*work, sum(work) / workers)
    pieces: list[tuple[float, TaskPart]] = []
    for number, length in enumerate(work):
        begin = sum(work[:number])
        into = begin % stretch
        spill = max(0.0, into + length - stretch)
        if spill:
            pieces.append((0.0, TaskPart(number, spill / length)))
        pieces.append((into, TaskPart(number, 1.0)))
    return [piece for _, piece in sorted(pieces, key=lambda each: each[0])]


FOLDS: Final = 3
"""Three folds cost as much as two more final networks; two would halve what each may learn from."""
_NETWORKS: Final = (None, *range(FOLDS))
_WORK: Final = (FOLDS, *[FOLDS - 1] * FOLDS)
"""How many folds each of them learns from; so long do they take."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The final network, one network a fold, and the out-of-fold answers to every photo and every outlier.

    `sample` is what the final network says of the first photos, for the export to be compared with. `features`, float32
    [N, F], are those of all folds' networks side by side: how they see each photo, learnt from or not.
    """

    final: FittedNetwork
    of_fold: tuple[FittedNetwork, ...]
    folds: Folds
    photos: NetworkOutputs
    outliers: NetworkOutputs
    sample: NetworkOutputs
    features: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FitPlan:
    """How to fit: by which recipe, from which seed, and in which folder to keep checkpoints."""

    recipe: Recipe
    seed: int
    checkpoints: Path


def cross_validation_workers() -> AbstractContextManager[Workers]:
    """Start as many processes as `crossfit` can use here; they load torch while the caller reads photos."""
    return open_workers(min(workers_needed(_WORK), os.cpu_count() or 1))


def cross_validate(
    workers: Workers, data: TrainingData, plan: FitPlan, report: Callable[[EpochProgress], None]
) -> CrossValidation:
    """Fit everything; *report* hears of each epoch of each network.

    Raises:
        TrainingError: a class has fewer photos than there are folds, or a process failed.
    """
    folds = assign_folds(data, plan.seed)
    tasks = list(_tasks(plan, plan.checkpoints / _fingerprint(data, plan), workers.count))
    photos, outliers = _blank(len(data.photos), data.classes), _blank(len(data.outliers), data.classes)
    found: dict[int | None, FitResult] = {}
    for done in workers.perform(FoldedData(data, folds), tasks, report):
        found[done.fold] = done
        if done.fold is not None:
            _fill(photos, folds.photos == done.fold, done.answers)
            _fill(outliers, folds.outliers == done.fold, done.outlier_answers)
    of_fold = tuple(found[fold].fitted for fold in range(FOLDS))
    features = np.concatenate([found[fold].features for fold in range(FOLDS)], axis=1)
    return CrossValidation(found[None].fitted, of_fold, folds, photos, outliers, found[None].answers, features)


def _tasks(plan: FitPlan, folder: Path, workers: int) -> Iterator[FitTask]:
    """In the order in which to do them; a network that is fitted in two sittings goes on from its checkpoint."""
    for piece in schedule(_WORK, workers):
        fold = _NETWORKS[piece.task]
        until = round(piece.share * plan.recipe.epochs)
        # Cut within the first or the last epoch, it is done in one sitting after all.
        if piece.share == 1 or 0 < until < plan.recipe.epochs:
            file = folder / f"{'final' if fold is None else fold}.pt"
            yield FitTask(fold, plan.recipe, plan.seed, EpochRange(file, until))


def assign_folds(data: TrainingData, seed: int) -> Folds:
    """Give each photo a fold, so that every fold has its share of every class, and each outlier too."""
    rng = np.random.default_rng(seed)
    fold_of = np.zeros(len(data.labels), dtype=np.int64)
    for number in range(data.classes):
        members = rng.permutation(np.flatnonzero(data.labels == number))
        if len(members) < FOLDS:
            raise TrainingError(f"class number {number} has {len(members)} photos; training needs {FOLDS} or more")
        fold_of[members] = np.arange(len(members)) % FOLDS
    return Folds(fold_of, rng.permutation(np.arange(len(data.outliers)) % FOLDS))


def _fingerprint(data: TrainingData, plan: FitPlan) -> str:
    """Name all that the weights depend on, so that no checkpoint of another training is ever taken up."""
    whole = hashlib.sha256(json.dumps([asdict(plan.recipe), plan.seed, data.classes]).encode())
    for part in (data.photos, data.labels, data.outliers):
        whole.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
    return whole.hexdigest()[:12]


def _blank(count: int, classes: int) -> NetworkOutputs:
    return NetworkOutputs(np.zeros((count, classes), dtype=np.float32), np.zeros((count, 2), dtype=np.float32))


def _fill(whole: NetworkOutputs, where: npt.NDArray[np.bool_], part: NetworkOutputs) -> None:
    whole.log_probabilities[where] = part.log_probabilities
    whole.strangeness[where] = part.strangeness


_BATCH: Final = 50

Floats = npt.NDArray[np.floating]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class HeldOutPredictor:
    """The exact models of all folds, and which fold each training photo, int64 [N], was held out by."""

    sessions: tuple[onnxruntime.InferenceSession, ...]
    folds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, networks: CrossValidation, trained: FittedModel) -> "HeldOutPredictor":
        """Export the fold's networks with the OOD detector and the temperature of the final one, *trained*."""
        models = (export(replace(trained, fitted=networks.of_fold[fold])) for fold in range(FOLDS))
        return cls(tuple(open_session(model) for model in models), networks.folds.photos)

    def ask(self, photos: Pixels, rows: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Give probabilities [M, C] and unfamiliarity [M] of *photos*, copies of the training photos *rows* [M]."""
        parts = [np.flatnonzero(self.folds[rows] == fold) for fold in range(FOLDS)]
        answers = [ask(session, photos[part]) for session, part in zip(self.sessions, parts, strict=True) if len(part)]
        back = np.argsort(np.concatenate(parts))
        probabilities, scores = (np.concatenate(column)[back] for column in zip(*answers, strict=True))
        return probabilities, scores


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Open an ONNX model on the processor, on one thread: a second one mostly waits, and waits busily."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ask(session: onnxruntime.InferenceSession, photos: Pixels) -> tuple[Floats, Floats]:
    """Give probabilities [N, C] and unfamiliarity [N] of one or more photos, uint8 [N, H, W, 3]."""
    parts = [
        session.run(["probabilities", "unfamiliarity"], {"photos": photos[at : at + _BATCH]})
        for at in range(0, len(photos), _BATCH)
    ]
    probabilities, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return probabilities, scores
