"""Restores photos before the network looks: smooths noise where there is much, lifts contrast where there is little.

What most photos are like stays as it is. It sees noise that differs between the colours, as that of cameras does; gray
grain passes. ADR 23 compares it with teaching the network to bear noise and fog.
"""

import torch
from torch import Tensor
from torch.nn import functional

from scones.vision.kernels import REACH, noise_finder, smoothing
from scones.vision.recipe import MIN_CONTRAST, MIN_DEVIATION, NOISE_ALL, NOISE_FROM


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
