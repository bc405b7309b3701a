"""What the training processes and their parent say to each other; loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scones.vision.recipe import Recipe

Weights = Mapping[str, npt.NDArray[np.float32]]
"""A network's state by torch's names."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Decoded photos, uint8 [N, H, H, 3], their class numbers, int64 [N], and how many classes there are."""

    photos: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: int


@dataclass(frozen=True, slots=True)
class Task:
    """Fit one network: on all photos but those of *fold*, or on all of them when it is None."""

    fold: int | None
    recipe: Recipe
    seed: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """How one pass over the photos went; loss and accuracy are those on the varied photos."""

    number: int
    of: int
    train_loss: float
    train_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """An epoch of the network of one fold, or of the final one."""

    fold: int | None
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Done:
    """A fitted network and its log-probabilities: of the fold's photos, or of a sample when it is the final one."""

    fold: int | None
    weights: Weights
    answers: npt.NDArray[np.float32]
