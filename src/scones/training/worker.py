"""A training process: fits the networks that it is told to, until its parent ends it or is gone."""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

from scones.training.messages import (
    EpochProgress,
    FitResult,
    FitTask,
    FittedNetwork,
    FoldedData,
    PartialFit,
    TrainingData,
)

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
    from scones.training.predict import predict, reference_features, to_outputs  # noqa: PLC0415

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
