"""The training processes: they load torch while their parent reads photos, and end with it; loads no torch itself."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

from scones.domain.errors import SconesError
from scones.training.messages import EpochProgress, FitResult, FitTask, FoldedData, PartialFit
from scones.training.worker import work

_GRACE_SECONDS: Final = 1.0
_ENDED: Final = "a training process ended early (out of memory?); its messages are in the log"


class TrainingError(SconesError):
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
