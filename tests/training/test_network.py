"""Clean photos stay as they are; noisy ones become calm, pale ones clear."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from scones.data.sources.synthetic import render
from scones.training.network import restore, to_input
from scones.training.recipe import MIN_CONTRAST, noise_finder, smoothing


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    """Rendered pictures, which have contrast and no noise."""
    pictures = [render("bicycle", "train", number).convert("RGB").resize((32, 32)) for number in range(8)]
    return to_input(np.stack([np.asarray(picture) for picture in pictures]))


def noisy(photos: torch.Tensor, deviation: float) -> torch.Tensor:
    """With noise that differs between the colours."""
    noise = torch.randn(photos.shape, generator=torch.Generator().manual_seed(0))
    return (photos + deviation * noise).clamp(0, 1)


def deviations(photos: torch.Tensor) -> torch.Tensor:
    """Each photo's contrast."""
    return photos.flatten(1).std(dim=1)


@pytest.mark.parametrize("deviation", [0.0, 0.04, 0.08])
def test_the_noise_finder_says_the_deviation(deviation: float) -> None:
    """On a gray photo, to a tenth."""
    photos = noisy(torch.full((4, 3, 64, 64), 0.5), deviation)
    found = functional.conv2d(photos, torch.from_numpy(noise_finder())).abs().mean()
    assert found.item() == pytest.approx(deviation, rel=0.1, abs=1e-4)


def test_noise_is_smoothed() -> None:
    """A noisy photo with contrast enough is nearer to the clean one than it was, by a half or more."""
    rows = torch.linspace(0.1, 0.9, 32).view(1, 1, 32, 1).expand(2, 3, 32, 32)
    blurred = restore(noisy(rows, 0.08))
    assert (blurred - rows).square().mean() < 0.5 * (noisy(rows, 0.08) - rows).square().mean()


def test_colours_are_blurred_much_and_brightness_a_little() -> None:
    """What one bright green pixel becomes: a binomial of two steps in all colours alike, of six in their difference."""
    down, across = (torch.from_numpy(kernel).double() for kernel in smoothing())
    pixel = torch.zeros(1, 3, 13, 13, dtype=torch.float64)
    pixel[0, 1, 6, 6] = 1
    found = functional.conv2d(functional.conv2d(pixel, down), across)[0]
    little, much = torch.zeros(7, dtype=torch.float64), torch.tensor([1, 6, 15, 20, 15, 6, 1]).double() / 64
    little[2:5] = torch.tensor([0.25, 0.5, 0.25])
    gray, off = torch.outer(little, little) / 3, torch.outer(much, much) / 3
    assert torch.allclose(found, torch.stack([gray - off, gray + 2 * off, gray - off]), atol=1e-6)


def test_a_pale_photo_gets_its_contrast_back(clean: torch.Tensor) -> None:
    """A tenth of the contrast left: lifted to the least that is usual, round the same mean."""
    middle = clean.mean(dim=(1, 2, 3), keepdim=True)
    pale = middle + 0.1 * (clean - middle)
    restored = restore(pale)
    assert torch.allclose(deviations(restored), torch.tensor(MIN_CONTRAST), rtol=0.01)
    assert torch.allclose(restored.mean(dim=(1, 2, 3)), middle.flatten(), atol=1e-4)


def test_ordinary_photos_are_left_alone() -> None:
    """Contrast enough and no noise: not a bit changes but by rounding."""
    rows = torch.linspace(0, 1, 32).view(1, 1, 32, 1).expand(2, 3, 32, 32)
    assert torch.allclose(restore(rows), rows, atol=1e-6)


def test_a_plain_photo_stays_plain() -> None:
    """There is nothing to lift, and nothing is divided by zero."""
    plain = torch.full((2, 3, 32, 32), 0.3)
    assert torch.allclose(restore(plain), plain, atol=1e-5)


def test_a_mirrored_photo_is_restored_alike(clean: torch.Tensor) -> None:
    """So the export may restore first and mirror then."""
    assert torch.allclose(restore(noisy(clean, 0.04)).flip(3), restore(noisy(clean, 0.04).flip(3)), atol=1e-5)
