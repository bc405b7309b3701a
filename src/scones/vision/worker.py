"""A training process: fits the networks that it is told to, until its parent ends it or is gone."""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

from scones.vision.messages import Done, Fitted, Folds, Labelled, Progress, Task

_SAMPLE_PHOTOS = 64


def work(pipe: Connection, data: Labelled, folds: Folds) -> None:
    """Receive tasks from *pipe*, and send the progress and the result of each; a text tells of a failure."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_perform(task, data, folds, pipe))
        except (RuntimeError, MemoryError, ValueError) as error:
            # torch reports nearly everything, a full memory too, as a RuntimeError of many lines.
            pipe.send(f"{type(error).__name__}: {error}".splitlines()[0])
            raise


def _perform(task: Task, data: Labelled, folds: Folds, pipe: Connection) -> Done:
    # Only here, so that the parent, which imports this module, does without torch.
    import torch  # noqa: PLC0415

    from scones.vision.fit import fit  # noqa: PLC0415
    from scones.vision.predict import describe, predict, remember  # noqa: PLC0415

    # At this size a second thread gains nothing; a second process does.
    torch.set_num_threads(1)
    held_out, outliers_held_out = (of == task.fold for of in (folds.photos, folds.outliers))
    seen = Labelled(data.photos[~held_out], data.labels[~held_out], data.classes, data.outliers[~outliers_held_out])
    network = fit(seen, task.recipe, task.seed, lambda epoch: pipe.send(Progress(task.fold, epoch)), task.checkpoint)
    memory = remember(network, seen.photos)
    asked = data.photos[:_SAMPLE_PHOTOS] if task.fold is None else data.photos[held_out]
    answers, outlier_answers = (predict(network, some, memory) for some in (asked, data.outliers[outliers_held_out]))
    weights = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
    features = describe(network, data.photos) if task.fold is not None else memory[:0]
    return Done(task.fold, answers, outlier_answers, features, Fitted(weights, memory))


def _die_with_parent() -> None:
    """A parent that was killed cannot clean up; its end is a signal of its own."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
