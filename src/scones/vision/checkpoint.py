"""Checkpoints: what a network has become after an epoch, kept in a file so that training can go on after a stop."""

import os
from pathlib import Path
from typing import NamedTuple

import torch

from scones.vision.model import Network
from scones.vision.optimise import Optimiser


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
