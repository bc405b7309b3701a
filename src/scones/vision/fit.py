"""Fits one network to labelled photos: seeded, on one thread, the same every time; on a GPU where there is one."""

import time
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from scones.vision.augment import augment
from scones.vision.checkpoint import Progressed, load, save
from scones.vision.messages import Epoch, Labelled, Sitting
from scones.vision.model import Network, to_input, whitening
from scones.vision.optimise import Optimiser
from scones.vision.outliers import make_up
from scones.vision.recipe import LOGIT_SCALE, Recipe
from scones.vision.turns import turn

MIN_STEPS: Final = 8
"""Steps of an epoch, however few the photos: 200 of them learn too little from four steps an epoch."""
_GUARD_SMOOTHING: Final = 0.05
"""The guard's targets are this much short of certain, as label smoothing makes those of the classes."""


def fit(
    data: Labelled, recipe: Recipe, seed: int, report: Callable[[Epoch], None], sitting: Sitting | None = None
) -> Network:
    """Train a network on *data* and return it ready to predict; *report* hears of every epoch.

    In a *sitting* each epoch's end is kept in a file; what it holds already is where training goes on from, and it ends
    with the same weights as if it had never stopped.
    """
    torch.manual_seed(seed)
    fitting = _Fitting(data, recipe, seed)
    done = load(sitting.checkpoint, fitting.progressed()) if sitting else 0
    for number in range(done + 1, (sitting.until if sitting else recipe.epochs) + 1):
        started = time.monotonic()
        loss, accuracy = fitting.epoch()
        if sitting:
            save(sitting.checkpoint, fitting.progressed(), number)
        report(Epoch(number, recipe.epochs, loss, accuracy, time.monotonic() - started))
    return fitting.network.eval()


class _Fitting:
    """A network on its way: the photos on the device, the optimiser, and the source of chance."""

    def __init__(self, data: Labelled, recipe: Recipe, seed: int) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.recipe = recipe
        self.generator = torch.Generator().manual_seed(seed)
        self.photos, self.outliers = to_input(data.photos).to(device), to_input(data.outliers).to(device)
        self.labels = torch.from_numpy(data.labels).to(device)
        # An incomplete last batch is left to a later epoch: its statistics would be the noisiest.
        self.steps = max(MIN_STEPS, len(data.labels) // recipe.batch)
        self.network = Network(data.classes, whitening(data.photos), data.photos.shape[1]).to(device).train()
        self.optimiser = Optimiser(self.network, recipe, steps=recipe.epochs * self.steps)

    def progressed(self) -> Progressed:
        """Give what changes from epoch to epoch."""
        return Progressed(self.network, self.optimiser, self.generator)

    def epoch(self) -> tuple[float, float]:
        """Show each photo once, or as often as few must be; give mean loss and accuracy on the varied photos."""
        times = -(-self.steps * self.recipe.batch // len(self.labels))
        order = torch.cat([torch.randperm(len(self.labels), generator=self.generator) for _ in range(times)])
        losses, hits, seen = 0.0, 0, 0
        for step in range(self.steps):
            chosen = order[step * self.recipe.batch : (step + 1) * self.recipe.batch].to(self.labels.device)
            labels = self.labels[chosen]
            loss, logits = self._learn(self._batch(chosen), labels)
            losses, seen = losses + loss.item() * len(labels), seen + len(labels)
            hits += int((logits.argmax(dim=1) == labels).sum())
        return losses / seen, hits / seen

    def _learn(self, photos: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step: of *photos* the first have *labels*. Gives the loss of the classes and their logits."""
        real = len(photos) - self.recipe.made_up
        turned, quarters = turn(photos[:real], self.recipe.turned, self.generator)
        features = self.network.features(_together(photos, turned))
        logits = self.network.judge(features[: len(photos)])
        known = logits[: len(labels), :-1]
        loss = functional.cross_entropy(known, labels, label_smoothing=self.recipe.label_smoothing)
        guard = _guard_loss(logits[:, -1], len(labels))
        turns = self.network.turns(torch.cat([features[:real], features[len(photos) :]]))
        by = torch.cat([quarters.new_zeros(real), quarters])
        turning = functional.cross_entropy(LOGIT_SCALE * turns, by)
        self.optimiser.step(loss + self.recipe.guard_weight * guard + self.recipe.turn_weight * turning)
        return loss, known

    def _batch(self, chosen: Tensor) -> Tensor:
        """Varied photos, then, beside them, varied outliers and made-up pictures."""
        some = torch.randint(0, max(1, len(self.outliers)), (self.recipe.outliers,), generator=self.generator)
        others = self.outliers[some.to(self.outliers.device)] if len(self.outliers) else self.outliers
        photos = torch.cat([self.photos[chosen], others])
        varied = augment(photos, self.generator)
        made_up = make_up(self.recipe.made_up, photos.shape[2], self.generator)
        return torch.cat([varied, made_up.to(varied.device)])


def _together(photos: Tensor, more: Tensor) -> Tensor:
    return torch.cat([photos, more]).contiguous(memory_format=torch.channels_last)


def _guard_loss(logits: Tensor, known: int) -> Tensor:
    """How badly the last logit tells the first *known* photos from the rest; each photo of the batch counts alike."""
    targets = torch.full_like(logits, 1 - _GUARD_SMOOTHING)
    targets[:known] = _GUARD_SMOOTHING
    return functional.binary_cross_entropy_with_logits(logits, targets)
