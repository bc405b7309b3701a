"""Asks a fitted network: each photo and its mirror image, so that turning a photo changes nothing."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from scones.training.messages import NetworkOutputs
from scones.training.network import Network, to_input
from scones.training.ood_detector import NEIGHBOURS, spread_sample

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
