"""The network, and its predictions: the mean over each photo and its mirror image."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from scones.training.calibration import NEIGHBOURS, spread_sample
from scones.training.recipe import (
    LOGIT_SCALE,
    MEAN,
    MIN_CONTRAST,
    MIN_DEVIATION,
    NOISE_ALL,
    NOISE_FROM,
    REACH,
    STD,
    STEM_COMPONENTS,
    WIDTHS,
    NetworkOutputs,
    noise_finder,
    smoothing,
    stem_stride,
)


def restore(photos: Tensor) -> Tensor:
    """Restore photos, float [N, 3, H, W] with values 0 to 1; the values may leave these a little."""
    down, across, noise = (torch.from_numpy(kernel).to(photos.device) for kernel in (*smoothing(), noise_finder()))
    level = functional.conv2d(photos, noise).abs().mean(dim=(1, 2, 3), keepdim=True)
    share = ((level - NOISE_FROM) / (NOISE_ALL - NOISE_FROM)).clamp(0, 1)
    calm, noisy = photos.clone(), share.flatten() > 0
    # Most photos are calm already, and smoothing is the dearest part.
    if noisy.any():
        padded = functional.pad(photos[noisy], [REACH] * 4, mode="reflect")
        smoothed = functional.conv2d(functional.conv2d(padded, down), across)
        calm[noisy] += share[noisy] * (smoothed - photos[noisy])
    # A pale photo keeps its cast, so each colour has a middle of its own.
    middle = calm.mean(dim=(2, 3), keepdim=True)
    deviation = (calm - middle).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return middle + (calm - middle) * (MIN_CONTRAST / deviation.clamp(min=MIN_DEVIATION)).clamp(min=1)


QUARTERS: Final = 4
"""An upright photo is turned by none."""


def turn(photos: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose *count* of the square *photos*, or all if they are fewer, and turn them by one to three quarters.

    Gives them, float [count, 3, H, H], and by how many, int64 [count].
    """
    chosen = torch.randperm(len(photos), generator=generator)[:count].to(photos.device)
    # In the order of the quarters, so that those that are turned alike are turned at once.
    quarters = torch.randint(1, QUARTERS, (len(chosen),), generator=generator).sort().values.to(photos.device)
    turned = [torch.rot90(photos[chosen[quarters == number]], number, (2, 3)) for number in range(1, QUARTERS)]
    return torch.cat(turned), quarters


_WHITENING_FLOOR: Final = 1e-2
# Enough 3 x 3 patches to know their 27 x 27 covariance well.
_PATCH_PHOTOS: Final = 1000


class Convolution(nn.Module):
    """A 3 x 3 convolution whose weight is the matrix [out, 9 * in] that matrix optimisers such as Muon expect."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.weight = nn.Parameter(torch.empty(outputs, 9 * inputs))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [N, in, H, W] to [N, out, H, W]."""
        # Channels vary fastest, which is the memory layout that the CPU kernels like best.
        kernel = self.weight.view(-1, 3, 3, self.inputs).permute(0, 3, 1, 2)
        return functional.conv2d(x, kernel, padding=1)


class Normalised(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = Convolution(inputs, outputs)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in, H, W] to [N, out, H, W]."""
        convolved: Tensor = self.norm(self.convolution(x))
        return functional.relu(convolved)


class Stage(nn.Module):
    """Halve the picture, widen it, and add what one more convolution finds."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Normalised(inputs, outputs)
        self.second = Normalised(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in, H, W] to [N, out, H/2, W/2]."""
        first: Tensor = self.first(functional.max_pool2d(x, 2))
        second: Tensor = self.second(first)
        return first + second


class Network(nn.Module):
    """From float photos [N, 3, H, W], values 0 to 1, to logits [N, classes + 1]; the last one says "none of these"."""

    stem: Tensor

    def __init__(self, classes: int, stem: Tensor, image_size: int) -> None:
        """Take the *stem* from `whitening`; larger photos get a coarser stem, so that all cost about the same."""
        super().__init__()
        self.stride = stem_stride(image_size)
        self.register_buffer("stem", stem)
        first, second, third = WIDTHS
        self.entry = Normalised(len(stem), first)
        self.stages = nn.Sequential(Stage(first, second), Stage(second, third))
        self.head = nn.Linear(2 * third, classes + 1)
        # Only used during training.
        self.turns = nn.Linear(2 * third, QUARTERS)

    def features(self, photos: Tensor) -> Tensor:
        """Map photos to what the head sees, [N, 2 * the last width]."""
        x = functional.conv2d(normalise(restore(photos)), self.stem, stride=self.stride, padding=1)
        x = self.stages(self.entry(functional.relu(functional.max_pool2d(x, 2))))
        return torch.cat([x.amax(dim=(2, 3)), x.mean(dim=(2, 3))], dim=1)

    def judge(self, features: Tensor) -> Tensor:
        """Map features to logits."""
        logits: Tensor = self.head(features)
        return LOGIT_SCALE * logits

    def forward(self, photos: Tensor) -> Tensor:
        """Map photos to logits."""
        return self.judge(self.features(photos))


def normalise(photos: Tensor) -> Tensor:
    """Bring values 0 to 1 to mean 0 and deviation 1, as they are over photos of all kinds."""
    mean, std = (torch.tensor(values, device=photos.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (photos - mean) / std


def whitening(photos: npt.NDArray[np.uint8]) -> Tensor:
    """Compute the stem's filters, float [2 * STEM_COMPONENTS, 3, 3, 3], from uint8 [N, H, W, 3].

    They are the first principal components of 3 x 3 patches, scaled to unit variance, in both signs. At most a
    thousand photos are used, spread over all of them, since photos often come sorted by class.
    """
    some = photos[:: max(1, len(photos) // _PATCH_PHOTOS)]
    patches = functional.unfold(normalise(to_input(some)), 3, stride=2).transpose(1, 2).reshape(-1, 27)
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    filters = (vectors / torch.sqrt(values + _WHITENING_FLOOR)).T.reshape(27, 3, 3, 3).flip(0)[:STEM_COMPONENTS]
    return torch.cat([filters, -filters]).contiguous(memory_format=torch.channels_last)


def to_input(photos: npt.NDArray[np.uint8]) -> Tensor:
    """Turn uint8 [N, H, W, 3] into the network's float [N, 3, H, W], channels last in memory."""
    return torch.from_numpy(photos).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last) / 255


_BATCH = 250


class NetworkPredictions(NamedTuple):
    """How a network sees N photos, each in the mean over photo and mirror image; all float32.

    Log-probabilities [N, classes], the logit for "none of these" [N], and features [N, F] of length 1.
    """

    log_probabilities: npt.NDArray[np.float32]
    outlier_logits: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]

    def some(self, chosen: npt.NDArray[np.bool_] | slice) -> "NetworkPredictions":
        """Leave all photos out but the chosen ones."""
        return NetworkPredictions(*(column[chosen] for column in self))


def predict(network: Network, photos: npt.NDArray[np.uint8]) -> NetworkPredictions:
    """Show the network photos, uint8 [N, H, W, 3]."""
    if not len(photos):
        widths = ((network.head.out_features - 1,), (), (network.head.in_features,))
        return NetworkPredictions(*(np.zeros((0, *width), dtype=np.float32) for width in widths))
    parts = [_predict(network, photos[at : at + _BATCH]) for at in range(0, len(photos), _BATCH)]
    return NetworkPredictions(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


def reference_features(seen: NetworkPredictions) -> npt.NDArray[np.float32]:
    """Give the features, float32 [K, F], of a sample of the training photos."""
    return seen.features[spread_sample(len(seen.features))]


def to_outputs(seen: NetworkPredictions, memory: npt.NDArray[np.float32]) -> NetworkOutputs:
    """Give the network's answers to photos; *memory* is what `remember` made of its training photos."""
    strangeness = np.column_stack([seen.outlier_logits, distance(seen.features, memory)])
    return NetworkOutputs(seen.log_probabilities, strangeness)


def distance(features: npt.NDArray[np.float32], memory: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Give the mean cosine distance, float32 [N], of features of length 1 from the nearest in *memory*."""
    nearest = np.sort(features @ memory.T, axis=1)[:, -NEIGHBOURS:]
    return np.asarray(1 - nearest.mean(axis=1), dtype=np.float32)


@torch.no_grad()
def _predict(network: Network, photos: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor, Tensor]:
    inputs = to_input(photos).to(network.stem.device)
    sides = [network.features(side) for side in (inputs, inputs.flip(3))]
    logits = [network.judge(features) for features in sides]
    logs = torch.stack([functional.log_softmax(each[:, :-1], dim=1) for each in logits]).mean(dim=0)
    strange = torch.stack([each[:, -1] for each in logits]).mean(dim=0)
    features = functional.normalize(torch.stack(sides).mean(dim=0), dim=1)
    return logs.cpu(), strange.cpu(), features.cpu()
