"""Variations are random, seeded, and leave a photo a photo."""

import pytest
import torch

from scones.vision.augment import add_fog, add_noise, augment


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


def chance() -> torch.Generator:
    """The same each time."""
    return torch.Generator().manual_seed(0)


def test_noise_comes_to_its_share_of_the_photos() -> None:
    """A tenth of them, each with a strength of its own up to the limit; the rest stays to the last bit."""
    photos = torch.full((1000, 3, 8, 8), 0.5)
    noisy = add_noise(photos, 0.1, 0.2, chance())
    strengths = noisy.std(dim=(1, 2, 3))
    assert 70 < (strengths > 0).sum() < 130
    assert 0.15 < strengths.max() < 0.25
    assert torch.equal(noisy, add_noise(photos, 0.1, 0.2, chance()))
    assert torch.equal(add_noise(photos, 0, 0.2, chance()), photos)
    assert add_noise(photos, 1, 2, chance()).min() >= 0


def test_fog_takes_contrast_and_leaves_the_light() -> None:
    """Down to a tenth; the mean stays, within a level of 256."""
    photos = torch.rand(1000, 3, 8, 8, generator=chance())
    pale = add_fog(photos, 0.5, 0.1, chance())
    left = pale.std(dim=(1, 2, 3)) / photos.std(dim=(1, 2, 3))
    assert 400 < (left < 0.99).sum() < 600
    assert 0.08 < left.min() < 0.12
    assert torch.allclose(pale.mean(dim=(1, 2, 3)), photos.mean(dim=(1, 2, 3)), atol=1 / 256)
    assert torch.equal(add_fog(photos, 0, 0.1, chance()), photos)
