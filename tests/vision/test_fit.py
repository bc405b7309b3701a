"""Fitting learns, repeats itself exactly, and tells how it goes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from scones.vision.fit import fit, predict
from scones.vision.messages import Epoch, Labelled
from scones.vision.recipe import Recipe

Stripes = Callable[..., Labelled]
QUICK = Recipe(epochs=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As in a training process: only then is a sum the same every time."""
    torch.set_num_threads(1)


def ignore(_epoch: Epoch) -> None:
    """A report that nobody reads."""


@pytest.mark.parametrize(("size", "classes"), [(32, 2), (64, 3), (96, 2)])
def test_what_can_be_learnt_is_learnt(stripes: Stripes, size: int, classes: int) -> None:
    """Unseen stripes of any size are told apart after a few epochs."""
    network = fit(stripes(300, size, classes), QUICK, 0, ignore)
    unseen = stripes(90, size, classes, seed=1)
    assert (predict(network, unseen.photos).argmax(axis=1) == unseen.labels).mean() > 0.95


def test_the_same_seed_gives_the_same_weights(stripes: Stripes) -> None:
    """To the last bit; another seed gives others."""
    data = stripes(100)
    first, again, other = (fit(data, Recipe(epochs=1), seed, ignore).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_each_epoch_is_reported(stripes: Stripes) -> None:
    """Numbered from 1, with a falling loss and a rising accuracy."""
    heard: list[Epoch] = []
    fit(stripes(300), QUICK, 0, heard.append)
    assert [(e.number, e.of) for e in heard] == [(n, 4) for n in (1, 2, 3, 4)]
    assert heard[-1].train_loss < heard[0].train_loss
    assert heard[-1].train_accuracy > heard[0].train_accuracy


def test_fewer_photos_than_a_batch_are_enough(stripes: Stripes) -> None:
    """A handful is one batch."""
    fit(stripes(7), Recipe(epochs=1), 0, ignore)


def test_answers_are_log_probabilities_and_the_same_for_a_mirror_image(stripes: Stripes) -> None:
    """Photo and mirror image are averaged, so turning one into the other changes nothing."""
    data = stripes(300)
    network = fit(data, Recipe(epochs=1), 0, ignore)
    answers = predict(network, data.photos)
    mirrored = predict(network, np.ascontiguousarray(data.photos[:, :, ::-1]))
    assert answers.shape == (300, 2)
    assert np.allclose(answers, mirrored, atol=1e-4)
    assert np.exp(answers).sum(axis=1).max() <= 1 + 1e-5
