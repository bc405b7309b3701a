"""Asks a fitted network: each photo and its mirror image, so that turning a photo changes nothing."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from scones.vision.guard import NEIGHBOURS, spread_sample
from scones.vision.messages import Answers
from scones.vision.model import Network, to_input

_BATCH = 250


def predict(network: Network, photos: npt.NDArray[np.uint8], memory: npt.NDArray[np.float32]) -> Answers:
    """Give the network's answers to uint8 [N, H, W, 3]; *memory* is what `remember` made of its training photos."""
    if not len(photos):
        classes = network.head.out_features - 1
        return Answers(np.zeros((0, classes), dtype=np.float32), np.zeros((0, 2), dtype=np.float32))
    parts = [_predict(network, photos[at : at + _BATCH]) for at in range(0, len(photos), _BATCH)]
    logs, logits, features = (torch.cat(column) for column in zip(*parts, strict=True))
    return Answers(logs.numpy(), np.column_stack([logits.numpy(), distance(features.numpy(), memory)]))


def remember(network: Network, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Give the features, float32 [K, F], of a sample of the training photos, of length 1."""
    return describe(network, photos[spread_sample(len(photos))])


def describe(network: Network, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Give the features, float32 [N, F], of uint8 [N, H, W, 3], of length 1."""
    parts = [_predict(network, photos[at : at + _BATCH])[2] for at in range(0, len(photos), _BATCH)]
    return np.asarray(torch.cat(parts).numpy())


def distance(features: npt.NDArray[np.float32], memory: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Give the mean cosine distance, float32 [N], of features of length 1 from the nearest in *memory*."""
    nearest = np.sort(features @ memory.T, axis=1)[:, -NEIGHBOURS:]
    return np.asarray(1 - nearest.mean(axis=1), dtype=np.float32)


@torch.no_grad()
def _predict(network: Network, photos: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor, Tensor]:
    """Give mean log-probabilities, mean outlier logits, and features of length 1, each over photo and mirror image."""
    inputs = to_input(photos).to(network.stem.device)
    sides = [network.features(side) for side in (inputs, inputs.flip(3))]
    logits = [network.judge(features) for features in sides]
    logs = torch.stack([functional.log_softmax(each[:, :-1], dim=1) for each in logits]).mean(dim=0)
    strange = torch.stack([each[:, -1] for each in logits]).mean(dim=0)
    features = functional.normalize(torch.stack(sides).mean(dim=0), dim=1)
    return logs.cpu(), strange.cpu(), features.cpu()
