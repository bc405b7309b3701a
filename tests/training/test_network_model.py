"""The network's shapes, and its whitening stem."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from scones.training.network import Network, normalise, to_input, whitening
from scones.training.recipe import STEM_COMPONENTS


def smooth(count: int, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Photos with neighbouring pixels alike, as real ones have."""
    rough = torch.rand(count, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    large = functional.interpolate(rough, (size, size), mode="bilinear")
    return (large * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("size", [16, 32, 50, 64, 96, 128, 256])
@pytest.mark.parametrize("classes", [2, 5])
def test_any_size_and_number_of_classes_work(size: int, classes: int) -> None:
    """Photos in, one logit a class out, and one for none of them."""
    photos = smooth(3, size)
    assert Network(classes, whitening(photos), size)(to_input(photos)).shape == (3, classes + 1)


def test_the_stem_whitens() -> None:
    """What its filters see in photos is uncorrelated, and has unit variance wherever there is any."""
    photos = smooth(200, 32)
    normal = normalise(to_input(photos))
    seen = functional.conv2d(normal, whitening(photos)[:STEM_COMPONENTS], stride=2)
    covariance = torch.cov(seen.permute(1, 0, 2, 3).reshape(STEM_COMPONENTS, -1))
    variances = covariance.diagonal()
    assert variances.max() < 1.1
    assert variances[:9].min() > 0.7
    assert (covariance - variances.diag()).abs().max() < 0.1


def test_the_stem_does_not_depend_on_the_order_of_classes() -> None:
    """Of more than a thousand photos a spread sample is used, not the first thousand."""
    photos = smooth(2400, 16)
    photos[:1200] //= 8
    normal = normalise(to_input(photos))
    brightest = functional.conv2d(normal, whitening(photos)[:1])
    assert brightest.var() == pytest.approx(1, rel=0.1)


def test_the_network_is_small() -> None:
    """0.3 million parameters: it serves in half a millisecond."""
    network = Network(2, whitening(smooth(10, 32)), 32)
    assert sum(weight.numel() for weight in network.parameters()) < 300_000
