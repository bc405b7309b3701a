"""Pictures of nothing: plain colours, noise and blurs, which the guard learns to refuse."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

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
