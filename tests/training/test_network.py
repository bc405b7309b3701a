"""Clean photos stay as they are; noisy ones become calm, pale ones clear."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from scones.data.sources.synthetic import render
from scones.training.calibration import REFERENCE_PHOTOS
from scones.training.fit import fit
from scones.training.network import (
    QUARTERS,
    Network,
    distance,
    normalise,
    predict,
    reference_features,
    restore,
    to_input,
    to_outputs,
    turn,
    whitening,
)
from scones.training.recipe import MIN_CONTRAST, STEM_COMPONENTS, Recipe, TrainingData, noise_finder, smoothing


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


@given(photos=st.integers(0, 6), count=st.integers(0, 8), seed=st.integers(0, 2**31 - 1))
def test_turned_back_by_as_much_each_is_one_of_the_photos(photos: int, count: int, seed: int) -> None:
    """Each at most once; as many as were asked for, or as there are; and none is left upright."""
    given_ = torch.rand(photos, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    turned, quarters = turn(given_, count, torch.Generator().manual_seed(seed))
    assert len(turned) == len(quarters) == min(photos, count)
    assert all(1 <= number < QUARTERS for number in quarters.tolist())
    back = [torch.rot90(photo, -number, (1, 2)) for photo, number in zip(turned, quarters.tolist(), strict=True)]
    found = [[bool(torch.equal(photo, one)) for one in given_].index(True) for photo in back]
    assert len(set(found)) == len(found)


def test_every_turn_is_as_likely() -> None:
    """A third each, of many."""
    photos = torch.zeros(3000, 3, 2, 2)
    _, quarters = turn(photos, 3000, torch.Generator().manual_seed(0))
    assert (quarters.bincount(minlength=QUARTERS)[1:] / 3000).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


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


Stripes = Callable[..., TrainingData]


@pytest.fixture(scope="module")
def trained(stripes: Stripes) -> tuple[Network, TrainingData]:
    """A network and what it saw."""
    data = stripes(300)
    return fit(data, Recipe(epochs=1), 0, lambda _epoch: None), data


def test_answers_are_the_same_for_a_mirror_image(trained: tuple[Network, TrainingData]) -> None:
    """Photo and mirror image are averaged, so turning one into the other changes nothing."""
    network, data = trained
    seen = predict(network, data.photos)
    answers = to_outputs(seen, reference_features(seen))
    mirrored = to_outputs(predict(network, np.ascontiguousarray(data.photos[:, :, ::-1])), reference_features(seen))
    assert (answers.log_probabilities.shape, answers.strangeness.shape) == ((300, 2), (300, 2))
    assert np.allclose(answers.log_probabilities, mirrored.log_probabilities, atol=1e-4)
    assert np.allclose(answers.strangeness, mirrored.strangeness, atol=1e-4)
    assert np.exp(answers.log_probabilities).sum(axis=1).max() <= 1 + 1e-5


def test_no_photos_get_no_answers(trained: tuple[Network, TrainingData]) -> None:
    """As when there are no outliers: empty, with the right shapes."""
    network, data = trained
    answers = to_outputs(predict(network, data.photos[:0]), reference_features(predict(network, data.photos)))
    assert (answers.log_probabilities.shape, answers.strangeness.shape) == ((0, 2), (0, 2))


def test_what_is_remembered_is_near(trained: tuple[Network, TrainingData]) -> None:
    """Training photos lie near their memory, whose features have length 1; noise lies farther off."""
    network, data = trained
    memory = reference_features(predict(network, data.photos))
    assert len(memory) <= REFERENCE_PHOTOS
    assert np.allclose(np.linalg.norm(memory, axis=1), 1, atol=1e-5)
    noise = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
    near, far = (to_outputs(predict(network, some), memory).strangeness[:, 1] for some in (data.photos, noise))
    assert near.max() < np.median(far)


def test_distance_is_the_mean_over_the_nearest_five() -> None:
    """By hand: five of six remembered directions are the photo's own."""
    here, elsewhere = np.eye(2, dtype=np.float32)
    memory = np.stack([here] * 5 + [elsewhere])
    assert np.allclose(distance(np.stack([here, elsewhere]), memory), [0, 0.8])
