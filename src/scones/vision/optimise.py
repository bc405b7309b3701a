"""The optimisers of one network, Muon for the convolutions and SGD for the rest, and their common schedule."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from scones.vision.model import Convolution, Network
from scones.vision.recipe import Recipe

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
