"""What the training processes and their parent say to each other; loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scones.training.recipe import Recipe

Weights = Mapping[str, npt.NDArray[np.float32]]
"""A network's state by torch's names."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Decoded photos, uint8 [N, H, H, 3], their class numbers, int64 [N], and how many classes there are.

    *outliers*, uint8 [M, H, H, 3], are photos of other things; there may be none.
    """

    photos: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: int
    outliers: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Folds:
    """Which fold each photo, int64 [N], and each outlier, int64 [M], belongs to."""

    photos: npt.NDArray[np.int64]
    outliers: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FoldedData:
    """The photos that all networks of a training learn from, each without its fold."""

    data: TrainingData
    folds: Folds


@dataclass(frozen=True, slots=True)
class NetworkOutputs:
    """What one network says of N photos.

    *log_probabilities*, float32 [N, classes], is the mean over photo and mirror image; *strangeness*, float32 [N, 2],
    is the input of the OOD detector (ood_detector.py): the outlier logit, and the distance from the training photos.
    """

    log_probabilities: npt.NDArray[np.float32]
    strangeness: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FittedNetwork:
    """A network's weights, and the features of its training photos, float32 [K, F], each of length 1."""

    weights: Weights
    memory: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EpochRange:
    """Go on from the epochs that the file *checkpoint* keeps, if there are any, as far as epoch *until*."""

    checkpoint: Path
    until: int


@dataclass(frozen=True, slots=True)
class FitTask:
    """Fit one network, all of it or a part: on all photos but those of *fold*, or on all of them when it is None."""

    fold: int | None
    recipe: Recipe
    seed: int
    sitting: EpochRange


@dataclass(frozen=True, slots=True)
class PartialFit:
    """The network of one fold, or the final one, is as far as it shall be by now."""

    fold: int | None


@dataclass(frozen=True, slots=True)
class Epoch:
    """How one pass over the photos went; loss and accuracy are those on the varied photos."""

    number: int
    of: int
    train_loss: float
    train_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class EpochProgress:
    """An epoch of the network of one fold, or of the final one."""

    fold: int | None
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class FitResult:
    """A fitted network and its answers: to the fold's photos and outliers, or to a sample when it is the final one.

    *features*, float32 [N, F], each of length 1, are those of all photos, the ones that it learnt from too.
    """

    fold: int | None
    answers: NetworkOutputs
    outlier_answers: NetworkOutputs
    features: npt.NDArray[np.float32]
    fitted: FittedNetwork
