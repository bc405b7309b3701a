"""Recipe: every number that shapes the model and its training, and the messages between its processes; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

MEAN: Final = (0.53, 0.515, 0.49)
"""Subtracted from each channel of photos scaled to 0 to 1."""
STD: Final = (0.26, 0.26, 0.27)
"""By which each channel is then divided."""
LOGIT_SCALE: Final = 0.25
"""Keeps the first steps small, whatever the head starts from."""
NOISE_FROM: Final = 0.02
"""Photos with noise of a higher deviation, for values 0 to 1, are smoothed a little."""
NOISE_ALL: Final = 0.05
"""From here on they are smoothed as far as it goes."""
MIN_CONTRAST: Final = 0.16
"""The deviation from each colour's mean, for values 0 to 1, to which paler photos are lifted: nearly one in four is."""
MIN_DEVIATION: Final = 1e-3
"""A photo plainer than this has no contrast to lift."""
STEM_COMPONENTS: Final = 20
"""So many of the 27 principal components of 3 x 3 patches are looked at; the rest is noise more than photo."""
WIDTHS: Final = (32, 64, 128)
"""Channels after the entry and after each of the two stages."""
MIN_IMAGE_SIZE: Final = 16
"""Three halvings must leave something to look at."""
MAX_IMAGE_SIZE: Final = 256
"""Beyond it, training would take hours on a processor."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained. The defaults were chosen by cross-validation on CIFAR-100's two-wheelers."""

    epochs: int = 25
    batch: int = 50
    label_smoothing: float = 0.1
    convolution_rate: float = 0.1
    """Muon's learning rate, for the convolutions' weights, which are kept at norm sqrt(outputs)."""
    convolution_momentum: float = 0.6
    rate: float = 0.05
    """Nesterov SGD's learning rate, for all else."""
    momentum: float = 0.85
    weight_decay: float = 5e-4
    warm_up: float = 0.2
    """The share of steps in which the rates rise linearly; then they fall linearly to 0."""
    outliers: int = 15
    """Photos of other things in each batch, if there are any."""
    made_up: int = 3
    """Pictures of nothing, as `outliers.py` makes them up, in each batch."""
    guard_weight: float = 0.5
    """How much telling outliers from photos of the classes counts beside telling the classes."""
    turned: int = 12
    """Photos of each batch that are shown once more, turned by quarters, to be told by how many (`turns.py`)."""
    turn_weight: float = 0.5
    """How much telling that counts beside telling the classes."""


def without_outliers(recipe: Recipe) -> Recipe:
    """Train the classes alone: made-up pictures without others teach the OOD detector next to nothing."""
    return replace(recipe, outliers=0, made_up=0, guard_weight=0.0)


def stem_stride(image_size: int) -> int:
    """Tell by how much the first layer thins the photo, so that large ones do not cost much more than small ones."""
    return max(1, round(image_size / 40))


REACH: Final = 3
"""Pixels on each side that smoothing looks at; beyond the edges the photo is mirrored."""
Kernel = npt.NDArray[np.float32]


def smoothing() -> tuple[Kernel, Kernel]:
    """Two kernels, [4, 3, 7, 1] then [3, 4, 1, 7], that blur the colours much and the brightness a little, as eyes do.

    The first gives the colours, blurred much, and the brightness, blurred a little; the second goes on, and exchanges
    the brightness of the colours. One kernel [3, 3, 7, 7] would do the same with nearly three times the work.
    """
    little, much = np.pad(_binomial(2), REACH - 1), _binomial(2 * REACH)
    down = np.concatenate([np.eye(3)[:, :, None] * much, np.full((1, 3, 1), 1 / 3) * little])
    across = np.concatenate([(np.eye(3) - 1 / 3)[:, :, None] * much, np.ones((3, 1, 1)) * little], axis=1)
    return np.asarray(down[:, :, :, None], dtype=np.float32), np.asarray(across[:, :, None, :], dtype=np.float32)


def noise_finder() -> Kernel:
    """A kernel [2, 3, 3, 3] whose mean absolute answer is the deviation of noise that differs between the colours.

    The differences of neighbouring colours, without what is straight in them: J. Immerkær, "Fast noise variance
    estimation", 1996.
    """
    rough = np.outer([1, -2, 1], [1, -2, 1]) / 6
    differences = np.array([[1, -1, 0], [0, 1, -1]])[:, :, None, None]
    return np.asarray(differences * rough * np.sqrt(np.pi / 2) / np.sqrt(2), dtype=np.float32)


def _binomial(order: int) -> npt.NDArray[np.float64]:
    row = np.ones(1)
    for _ in range(order):
        row = np.convolve(row, [0.5, 0.5])
    return row


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
