"""Fitting learns, repeats itself exactly, and tells how it goes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from scones.data.sources.synthetic import render
from scones.domain.decision import VEHICLES
from scones.training.fit import augment, fit, make_up
from scones.training.network import predict, to_input, turn
from scones.training.recipe import Epoch, EpochRange, Recipe, TrainingData

Stripes = Callable[..., TrainingData]
QUICK = Recipe(epochs=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As in a training process: only then is a sum the same every time."""
    torch.set_num_threads(1)


def ignore(_epoch: Epoch) -> None:
    """A report that is not read."""


@pytest.mark.parametrize(
    ("size", "classes"), [(32, 2), *(pytest.param(*larger, marks=pytest.mark.slow) for larger in ((64, 3), (96, 2)))]
)
def test_what_can_be_learnt_is_learnt(stripes: Stripes, size: int, classes: int) -> None:
    """Unseen stripes of any size are told apart after a few epochs, each of which is reported.

    They are numbered from 1, with a falling loss and a rising accuracy.
    """
    data = stripes(300, size, classes)
    heard: list[Epoch] = []
    network = fit(data, QUICK, 0, heard.append)
    assert [(e.number, e.of) for e in heard] == [(n, 4) for n in (1, 2, 3, 4)]
    assert heard[-1].train_loss < heard[0].train_loss
    assert heard[-1].train_accuracy > heard[0].train_accuracy
    unseen = stripes(90, size, classes, seed=1)
    answers = predict(network, unseen.photos).log_probabilities
    assert (answers.argmax(axis=1) == unseen.labels).mean() > 0.95


def test_the_same_seed_gives_the_same_weights(stripes: Stripes) -> None:
    """To the last bit; another seed gives others."""
    data = stripes(100)
    first, again, other = (fit(data, Recipe(epochs=1), seed, ignore).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_fewer_photos_than_a_batch_are_enough(stripes: Stripes) -> None:
    """A handful is one batch."""
    fit(stripes(7), Recipe(epochs=1), 0, ignore)


@pytest.mark.slow
def test_few_photos_are_shown_more_often(stripes: Stripes) -> None:
    """Sixty, one batch, would be four steps in four epochs, which teach nothing."""
    data, unseen = stripes(60), stripes(90, seed=1)
    network = fit(data, QUICK, 0, ignore)
    answers = predict(network, unseen.photos).log_probabilities
    assert (answers.argmax(axis=1) == unseen.labels).mean() > 0.9


class Stopped(Exception):
    """Raised by a report to stop a training at the end of an epoch."""


@pytest.mark.parametrize("after", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stopped_training_goes_on_to_the_same_weights(stripes: Stripes, tmp_path: Path, after: int) -> None:
    """From its checkpoint, with the epochs that were left, to the last bit."""
    data, two = stripes(60, outliers=20), Recipe(epochs=2)
    whole = fit(data, two, 0, ignore).state_dict()
    sitting = EpochRange(tmp_path / "checkpoints" / "final.pt", until=2)

    def stop(epoch: Epoch) -> None:
        if epoch.number == after:
            raise Stopped

    with pytest.raises(Stopped):
        fit(data, two, 0, stop, sitting)
    heard: list[Epoch] = []
    resumed = fit(data, two, 0, heard.append, sitting).state_dict()
    assert [epoch.number for epoch in heard] == list(range(after + 1, 3))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert [path.name for path in sitting.checkpoint.parent.iterdir()] == ["final.pt"]


@pytest.mark.slow
def test_photos_of_other_things_are_told_apart(stripes: Stripes) -> None:
    """The last logit is higher for unseen spots than for unseen stripes."""
    data = stripes(300, outliers=100)
    network = fit(data, QUICK, 0, ignore)
    unseen = stripes(100, seed=1, outliers=100)
    known, other = (predict(network, some).outlier_logits for some in (unseen.photos, unseen.outliers))
    assert (known.max() < other).mean() > 0.9


@pytest.mark.slow
def test_turned_photos_are_told_by_how_much_they_were_turned() -> None:
    """Drawings that the network has not seen, more often than by chance."""
    drawings = np.stack([np.asarray(render(label, "train", n)) for n in range(120) for label in VEHICLES])
    labels = np.arange(240, dtype=np.int64) % 2
    network = fit(TrainingData(drawings[:200], labels[:200], 2, drawings[:0]), Recipe(epochs=12), 0, ignore)
    turned, quarters = turn(to_input(drawings[200:]), 40, torch.Generator().manual_seed(0))
    with torch.no_grad():
        told = network.turns(network.features(turned)).argmax(dim=1)
    assert (told == quarters).float().mean() > 0.5


def test_pictures_of_nothing_are_of_several_kinds() -> None:
    """Values 0 to 1; some plain, some smooth, some rough; the same again from the same chance."""
    pictures, again = (make_up(40, 24, torch.Generator().manual_seed(0)) for _ in range(2))
    assert pictures.shape == (40, 3, 24, 24)
    assert torch.equal(pictures, again)
    assert 0 <= pictures.min() <= pictures.max() <= 1
    steps = (pictures[:, :, 1:] - pictures[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    assert (steps == 0).sum() >= 4
    assert ((steps > 0) & (steps < 0.03)).sum() >= 4
    assert (steps > 0.1).sum() >= 4


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
