"""A task beside the task: to tell by how many quarters a photo was turned, for which nobody has to label anything.

It teaches what things look like, which few labels cannot. S. Gidaris, P. Singh and N. Komodakis, "Unsupervised
Representation Learning by Predicting Image Rotations", ICLR 2018; beside labels: D. Hendrycks, M. Mazeika, S. Kadavath
and D. Song, "Using Self-Supervised Learning Can Improve Model Robustness and Uncertainty", NeurIPS 2019.
"""

from typing import Final

import torch
from torch import Tensor

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
