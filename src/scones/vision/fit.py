"""Fits one network to labelled photos: seeded, on one thread, the same every time."""

import time
from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import SGD, Muon

from scones.vision.augment import augment
from scones.vision.messages import Epoch, Labelled
from scones.vision.model import Convolution, Network, to_input, whitening
from scones.vision.recipe import Recipe

_PREDICT_BATCH = 250


def fit(data: Labelled, recipe: Recipe, seed: int, report: Callable[[Epoch], None]) -> Network:
    """Train a network on *data* and return it ready to predict; *report* hears of every epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Network(data.classes, whitening(data.photos), data.photos.shape[1])
    training = _Training(network, recipe, steps=recipe.epochs * _steps(data, recipe))
    inputs, labels = to_input(data.photos), torch.from_numpy(data.labels)
    for number in range(1, recipe.epochs + 1):
        started, loss_sum, right, seen = time.monotonic(), 0.0, 0, 0
        order = torch.randperm(len(labels), generator=generator)
        for step in range(_steps(data, recipe)):
            chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
            loss, hits = training.step(augment(inputs[chosen], generator), labels[chosen])
            loss_sum, right, seen = loss_sum + loss * len(chosen), right + hits, seen + len(chosen)
        report(Epoch(number, recipe.epochs, loss_sum / seen, right / seen, time.monotonic() - started))
    return network.eval()


def predict(network: Network, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Give the mean log-probabilities, float32 [N, classes], of each photo and its mirror image."""
    parts = [_predict(network, photos[at : at + _PREDICT_BATCH]) for at in range(0, len(photos), _PREDICT_BATCH)]
    return np.concatenate(parts)


@torch.no_grad()
def _predict(network: Network, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    inputs = to_input(photos)
    sides = [functional.log_softmax(network(side), dim=1) for side in (inputs, inputs.flip(3))]
    return cast("npt.NDArray[np.float32]", (sum(sides[1:], sides[0]) / len(sides)).numpy())


def _steps(data: Labelled, recipe: Recipe) -> int:
    # An incomplete last batch is left to a later epoch: its statistics would be the noisiest.
    return max(1, len(data.labels) // recipe.batch)


class _Training:
    """The optimisers of one network, and their common schedule."""

    def __init__(self, network: Network, recipe: Recipe, steps: int) -> None:
        self.network = network.train()
        self.recipe = recipe
        self.convolutions = [part.weight for part in network.modules() if isinstance(part, Convolution)]
        matrices = {id(weight) for weight in self.convolutions}
        rest = [weight for weight in network.parameters() if id(weight) not in matrices]
        muon = Muon(
            self.convolutions,
            lr=recipe.convolution_rate,
            momentum=recipe.convolution_momentum,
            weight_decay=0.0,
            ns_steps=3,
        )
        sgd = SGD(rest, lr=recipe.rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True)
        self.optimizers = (muon, sgd)
        warm = max(1, round(recipe.warm_up * steps))
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(each, lambda n: min((n + 1) / warm, (steps - n) / max(1, steps - warm)))
            for each in self.optimizers
        ]

    def step(self, photos: Tensor, labels: Tensor) -> tuple[float, int]:
        """Learn from one batch; give its loss and how many it got right."""
        logits = self.network(photos)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._restore_norms()
        for optimizer in self.optimizers:
            optimizer.step()  # type: ignore[no-untyped-call]
        for schedule in self.schedules:
            schedule.step()
        return loss.item(), int((logits.argmax(dim=1) == labels).sum())

    @torch.no_grad()
    def _restore_norms(self) -> None:
        # Batch normalisation makes the output blind to a weight's length; fixing it keeps Muon's steps in proportion.
        for weight in self.convolutions:
            weight.mul_(len(weight) ** 0.5 / weight.norm())
