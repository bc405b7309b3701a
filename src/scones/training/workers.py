"""Training processes: each fits networks until its parent ends; the parent loads no torch."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

from scones.domain.errors import ModelError
from scones.training.recipe import (
    EpochProgress,
    FitResult,
    FitTask,
    FittedNetwork,
    FoldedData,
    PartialFit,
    TrainingData,
)

_GRACE_SECONDS: Final = 1.0
_ENDED: Final = "a training process ended early (out of memory?); its messages are in the log"


class TrainingError(ModelError):
    """Training cannot start or go on; the message says why."""


class Workers:
    """Processes that fit networks side by side, *count* of them."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes
        self.count = len(pipes)

    def perform(
        self, study: FoldedData, tasks: Sequence[FitTask], report: Callable[[EpochProgress], None]
    ) -> Iterator[FitResult]:
        """Keep every worker busy until nothing is left, yielding results as they come; *report* hears of each epoch.

        Tasks of one network are done in their order, and never at once.

        Raises:
            TrainingError: a process failed, or ended.
        """
        waiting = list(tasks)
        busy: dict[Connection, FitTask] = {}
        for pipe in self._pipes:
            _send(pipe, study)
        while waiting or busy:
            for pipe in self._pipes:
                taken = {task.fold for task in busy.values()}
                task = next((task for task in waiting if task.fold not in taken), None)
                if pipe not in busy and task:
                    waiting.remove(task)
                    busy[pipe] = task
                    _send(pipe, task)
            for ready in wait(list(busy)):
                pipe = next(pipe for pipe in busy if pipe is ready)
                message = _receive(pipe)
                if isinstance(message, EpochProgress):
                    report(message)
                    continue
                del busy[pipe]
                if isinstance(message, FitResult):
                    yield message


@contextmanager
def open_workers(count: int) -> Iterator[Workers]:
    """Start so many processes; none outlives the block, or this process."""
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    pipes: list[Connection] = []
    # Ctrl-C reaches the whole process group; only this process shall answer it. The ignoring is inherited.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        signal.signal(signal.SIGINT, interrupt)
        yield Workers(pipes)
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


def _send(pipe: Connection, message: FoldedData | FitTask) -> None:
    try:
        pipe.send(message)
    except OSError as error:
        raise TrainingError(_ENDED) from error


def _receive(pipe: Connection) -> EpochProgress | PartialFit | FitResult:
    try:
        message = pipe.recv()
    except (EOFError, OSError) as error:
        raise TrainingError(_ENDED) from error
    if isinstance(message, EpochProgress | PartialFit | FitResult):
        return message
    raise TrainingError(f"a training process failed: {message}")


_SAMPLE_PHOTOS = 64


def work(pipe: Connection) -> None:
    """Receive the photos and then tasks from *pipe*, and send the progress and the result of each.

    A text tells of a failure.
    """
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Before the photos are there, since it takes as long as reading them; and not in the parent, which does without.
    import torch  # noqa: PLC0415

    # At this size a second thread gains nothing; a second process does.
    torch.set_num_threads(1)
    try:
        study: FoldedData = pipe.recv()
        while True:
            task: FitTask = pipe.recv()
            pipe.send(_perform(task, study, pipe))
    except EOFError:
        return
    except (RuntimeError, MemoryError, ValueError) as error:
        # torch reports nearly everything, a full memory too, as a RuntimeError of many lines.
        pipe.send(f"{type(error).__name__}: {error}".splitlines()[0])
        raise


def _perform(task: FitTask, study: FoldedData, pipe: Connection) -> FitResult | PartialFit:
    from scones.training.fit import fit  # noqa: PLC0415
    from scones.training.network import predict, reference_features, to_outputs  # noqa: PLC0415

    data, folds = study.data, study.folds
    held_out, outliers_held_out = (of == task.fold for of in (folds.photos, folds.outliers))
    seen = TrainingData(data.photos[~held_out], data.labels[~held_out], data.classes, data.outliers[~outliers_held_out])
    network = fit(seen, task.recipe, task.seed, lambda epoch: pipe.send(EpochProgress(task.fold, epoch)), task.sitting)
    if task.sitting.until < task.recipe.epochs:
        return PartialFit(task.fold)
    everything, outliers = predict(network, data.photos), predict(network, data.outliers[outliers_held_out])
    memory = reference_features(everything.some(~held_out))
    asked = everything.some(slice(_SAMPLE_PHOTOS) if task.fold is None else held_out)
    weights = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
    fitted = FittedNetwork(weights, memory)
    return FitResult(task.fold, to_outputs(asked, memory), to_outputs(outliers, memory), everything.features, fitted)


def _die_with_parent() -> None:
    """A parent that was killed cannot clean up; its end is a signal of its own."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
