"""Random variations of a batch of photos, such as other cameras and other courtyards would bring."""

import torch
from torch import Tensor
from torch.nn import functional

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
