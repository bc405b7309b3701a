"""Fit one network to labelled photos: augmentation, optimisers, checkpoints; seeded, on one thread or a GPU."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import SGD, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from scones.training.network import Convolution, Network, to_input, turn, whitening
from scones.training.recipe import LOGIT_SCALE, Epoch, EpochRange, Recipe, TrainingData

# How far each variation goes, measured for 32 x 32 photos of vehicles (angles in radians, lengths as shares of a side).
_ANGLE = 0.175
_LOG_SCALE = 0.15
_LOG_ASPECT = 0.075
_SHEAR = 0.2
_SHIFT = 3 / 32
_GAIN = 0.2
_OFFSET = 0.2
_SATURATION = 0.3
_CHANNEL_OFFSET = 0.06
_CUTOUT = 11 / 32


def augment(photos: Tensor, generator: torch.Generator) -> Tensor:
    """Vary *photos*, float [N, 3, H, W] with values 0 to 1: place, shape, light and a missing square.

    Everything random comes from *generator*, a processor's, whatever device the photos are on; the values may leave
    0 to 1 a little.
    """
    return _cut_out(_relight(_move(photos, generator), generator), generator)


def _uniform(generator: torch.Generator, photos: Tensor, limit: float, columns: int = 1) -> Tensor:
    return ((torch.rand(len(photos), columns, generator=generator) * 2 - 1) * limit).to(photos.device)


def _move(photos: Tensor, generator: torch.Generator) -> Tensor:
    """One bilinear resampling does it all: mirror, rotation, scale, aspect, shear and shift; edges are reflected."""
    angle, shear, log_aspect, log_scale = (
        _uniform(generator, photos, limit)[:, 0] for limit in (_ANGLE, _SHEAR, _LOG_ASPECT, _LOG_SCALE)
    )
    mirror = (torch.randint(0, 2, (len(photos),), generator=generator) * 2 - 1).to(photos.device)
    width, height = torch.exp(log_scale + log_aspect), torch.exp(log_scale - log_aspect)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack(
        [
            torch.stack([mirror * width * cos, height * (shear * cos - sin)], dim=1),
            torch.stack([mirror * width * sin, height * (shear * sin + cos)], dim=1),
        ],
        dim=1,
    )
    theta = torch.cat([rows, _uniform(generator, photos, 2 * _SHIFT, 2)[:, :, None]], dim=2)
    grid = functional.affine_grid(theta, list(photos.shape), align_corners=False)
    return functional.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)


def _relight(photos: Tensor, generator: torch.Generator) -> Tensor:
    gain = 1 + _uniform(generator, photos, _GAIN)[:, :, None, None]
    offset = (_uniform(generator, photos, _OFFSET) + _uniform(generator, photos, _CHANNEL_OFFSET, 3))[:, :, None, None]
    saturation = 1 + _uniform(generator, photos, _SATURATION)[:, :, None, None]
    gray = photos.mean(dim=1, keepdim=True)
    middle = photos.mean(dim=(1, 2, 3), keepdim=True)
    return middle + gain * (gray + saturation * (photos - gray) - middle) + offset


def _cut_out(photos: Tensor, generator: torch.Generator) -> Tensor:
    """Hide one square of each photo behind the photo's own mean, so that no single part decides."""
    n, _, height, width = photos.shape
    side = round(_CUTOUT * height)
    top = torch.randint(0, height - side + 1, (n, 1, 1), generator=generator)
    left = torch.randint(0, width - side + 1, (n, 1, 1), generator=generator)
    y, x = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    hidden = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
    return torch.where(hidden[:, None].to(photos.device), photos.mean(dim=(1, 2, 3), keepdim=True), photos)


_NOISE: Final = 0.4
_COARSE: Final = (2, 8)


def make_up(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Make up pictures, float [count, 3, size, size] with values 0 to 1, of each kind in turn."""
    colour = torch.rand(count, 3, 1, 1, generator=generator)
    strength = _NOISE * torch.rand(count, 1, 1, 1, generator=generator)
    noise = colour + strength * torch.randn(count, 3, size, size, generator=generator)
    blurs = [_blur(count, cells, size, generator) for cells in _COARSE]
    kinds = torch.stack([colour.expand_as(noise), noise, *blurs])
    number = torch.randint(0, len(kinds), (count,), generator=generator)
    return kinds[number, torch.arange(count)].clamp(0, 1)


def _blur(count: int, cells: int, size: int, generator: torch.Generator) -> Tensor:
    rough = torch.rand(count, 3, cells, cells, generator=generator)
    return functional.interpolate(rough, size=(size, size), mode="bilinear")


State = dict[str, Any]
"""What torch keeps of an optimiser or a schedule."""


class Optimiser:
    """Takes *steps* steps, with rates that rise and then fall as the *recipe* says."""

    def __init__(self, network: Network, recipe: Recipe, steps: int) -> None:
        self._convolutions = [part.weight for part in network.modules() if isinstance(part, Convolution)]
        matrices = {id(weight) for weight in self._convolutions}
        rest = [weight for weight in network.parameters() if id(weight) not in matrices]
        muon = Muon(
            self._convolutions,
            lr=recipe.convolution_rate,
            momentum=recipe.convolution_momentum,
            weight_decay=0.0,
            ns_steps=3,
        )
        sgd = SGD(rest, lr=recipe.rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True)
        self._optimisers = (muon, sgd)
        warm = max(1, round(recipe.warm_up * steps))
        self._schedules = [
            LambdaLR(each, lambda n: min((n + 1) / warm, (steps - n) / max(1, steps - warm)))
            for each in self._optimisers
        ]

    def step(self, loss: Tensor) -> None:
        """Move the weights a step down the *loss*."""
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._restore_norms()
        for optimiser in self._optimisers:
            optimiser.step()  # type: ignore[no-untyped-call]
        for schedule in self._schedules:
            schedule.step()

    def state(self) -> list[State]:
        """Give all that `restore` needs to go on from here."""
        return [part.state_dict() for part in self._parts()]

    def restore(self, states: list[State]) -> None:
        """Go on from where `state` was asked."""
        for part, state in zip(self._parts(), states, strict=True):
            part.load_state_dict(state)

    def _parts(self) -> list[Optimizer | LRScheduler]:
        return [*self._optimisers, *self._schedules]

    @torch.no_grad()
    def _restore_norms(self) -> None:
        # Batch normalisation makes the output blind to a weight's length; fixing it keeps Muon's steps in proportion.
        for weight in self._convolutions:
            weight.mul_(len(weight) ** 0.5 / weight.norm())


class Progressed(NamedTuple):
    """All that changes while a network is fitted."""

    network: Network
    optimiser: Optimiser
    generator: torch.Generator


def save(path: Path, progressed: Progressed, epochs: int) -> None:
    """Keep the state after so many *epochs*; a stop in the midst of it leaves the last one whole."""
    state = {
        "epochs": epochs,
        "network": progressed.network.state_dict(),
        "optimiser": progressed.optimiser.state(),
        "generator": progressed.generator.get_state(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)  # noqa: PTH105 - the one call that replaces at once on every system


def load(path: Path, progressed: Progressed) -> int:
    """Bring back the state in *path* and give its number of epochs; 0, and nothing changed, if there is none."""
    if not path.exists():
        return 0
    # Only tensors and plain values are read; whatever else a file may hold is refused.
    state = torch.load(path, weights_only=True, map_location=progressed.network.stem.device)
    progressed.network.load_state_dict(state["network"])
    progressed.optimiser.restore(state["optimiser"])
    progressed.generator.set_state(state["generator"].cpu())
    return int(state["epochs"])


MIN_STEPS: Final = 8
"""Steps of an epoch, however few the photos: 200 of them learn too little from four steps an epoch."""
_GUARD_SMOOTHING: Final = 0.05
"""The OOD detector's targets are this much short of certain, as label smoothing makes those of the classes."""


def fit(
    data: TrainingData, recipe: Recipe, seed: int, report: Callable[[Epoch], None], sitting: EpochRange | None = None
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

    def __init__(self, data: TrainingData, recipe: Recipe, seed: int) -> None:
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
        ood_detector = _ood_detector_loss(logits[:, -1], len(labels))
        turns = self.network.turns(torch.cat([features[:real], features[len(photos) :]]))
        by = torch.cat([quarters.new_zeros(real), quarters])
        turning = functional.cross_entropy(LOGIT_SCALE * turns, by)
        self.optimiser.step(loss + self.recipe.guard_weight * ood_detector + self.recipe.turn_weight * turning)
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


def _ood_detector_loss(logits: Tensor, known: int) -> Tensor:
    """How badly the last logit tells the first *known* photos from the rest; each photo of the batch counts alike."""
    targets = torch.full_like(logits, 1 - _GUARD_SMOOTHING)
    targets[:known] = _GUARD_SMOOTHING
    return functional.binary_cross_entropy_with_logits(logits, targets)
