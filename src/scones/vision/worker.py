"""A training process: fits the networks that it is told to, until its parent ends it or is gone."""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

import numpy as np
import numpy.typing as npt

from scones.vision.messages import Done, Labelled, Progress, Task

_SAMPLE_PHOTOS = 64


def work(pipe: Connection, data: Labelled, fold_of: npt.NDArray[np.int64]) -> None:
    """Receive tasks from *pipe*, and send the progress and the result of each; a text tells of a failure."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_perform(task, data, fold_of, pipe))
        except (RuntimeError, MemoryError, ValueError) as error:
            # torch reports nearly everything, a full memory too, as a RuntimeError of many lines.
            pipe.send(f"{type(error).__name__}: {error}".splitlines()[0])
            raise


def _perform(task: Task, data: Labelled, fold_of: npt.NDArray[np.int64], pipe: Connection) -> Done:
    # Only here, so that the parent, which imports this module, does without torch.
    import torch  # noqa: PLC0415

    from scones.vision.fit import fit, predict  # noqa: PLC0415

    # At this size a second thread gains nothing; a second process does.
    torch.set_num_threads(1)
    chosen = fold_of != (-1 if task.fold is None else task.fold)
    seen = Labelled(data.photos[chosen], data.labels[chosen], data.classes)
    network = fit(seen, task.recipe, task.seed, lambda epoch: pipe.send(Progress(task.fold, epoch)))
    asked = data.photos[:_SAMPLE_PHOTOS] if task.fold is None else data.photos[~chosen]
    weights = {name: value.numpy() for name, value in network.state_dict().items()} if task.fold is None else {}
    return Done(task.fold, weights, predict(network, asked))


def _die_with_parent() -> None:
    """A parent that was killed cannot clean up; its end is a signal of its own."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
