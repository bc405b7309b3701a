"""Variations are random, seeded, and leave a photo a photo."""

import pytest
import torch

from scones.training.fit import augment


def varied(photos: torch.Tensor, seed: int) -> torch.Tensor:
    """The photos as one epoch would show them."""
    return augment(photos, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [16, 32, 96])
def test_shape_and_type_stay(size: int) -> None:
    """Float [N, 3, H, W] in, the same out."""
    photos = torch.rand(5, 3, size, size)
    assert varied(photos, 0).shape == photos.shape
    assert varied(photos, 0).dtype == torch.float32


def test_the_seed_decides() -> None:
    """The same seed gives the same variations, another one others, and each photo its own."""
    photos = torch.rand(1, 3, 32, 32).expand(4, -1, -1, -1)
    assert torch.equal(varied(photos, 1), varied(photos, 1))
    assert not torch.equal(varied(photos, 1), varied(photos, 2))
    assert not torch.equal(varied(photos, 1)[0], varied(photos, 1)[1])


def test_light_is_neither_added_nor_taken_on_average() -> None:
    """Over many photos the mean stays where it was."""
    photos = torch.rand(500, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    assert varied(photos, 0).mean() == pytest.approx(0.5, abs=0.02)


def test_half_of_the_photos_are_mirrored() -> None:
    """A photo that is bright on the left is bright on the right in about half of its variations."""
    photos = torch.zeros(400, 3, 32, 32)
    photos[..., :16] = 1
    shown = varied(photos, 0)
    flipped = shown[..., 16:].mean(dim=(1, 2, 3)) > shown[..., :16].mean(dim=(1, 2, 3))
    assert 160 < flipped.sum() < 240


def test_the_middle_stays_in_the_picture() -> None:
    """No variation moves the middle of a photo out of it."""
    photos = torch.zeros(200, 3, 32, 32)
    photos[..., 12:20, 12:20] = 1
    spread = varied(photos, 0).amax(dim=(1, 2, 3)) - varied(photos, 0).amin(dim=(1, 2, 3))
    assert (spread > 0.3).float().mean() > 0.9
