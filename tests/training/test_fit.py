"""Fitting learns, repeats itself exactly, and tells how it goes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from scones.data.sources.synthetic import render
from scones.domain.decision import VEHICLES
from scones.training.fit import fit
from scones.training.messages import Epoch, EpochRange, TrainingData
from scones.training.network import predict, to_input, turn
from scones.training.recipe import Recipe

Stripes = Callable[..., TrainingData]
QUICK = Recipe(epochs=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As in a training process: only then is a sum the same every time."""
    torch.set_num_threads(1)


def ignore(_epoch: Epoch) -> None:
    """A report that nobody reads."""


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
