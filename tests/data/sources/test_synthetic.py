"""The rendered sample: complete, repeatable, varied, and honest about what it is."""

import hashlib

import numpy as np
import pytest

from scones.data.dataset import Dataset, SourceError
from scones.data.decode import decode
from scones.data.sources.synthetic import load_sample, render


@pytest.fixture(scope="module")
def sample() -> Dataset:
    """The whole sample."""
    return load_sample(("bicycle", "motorcycle"), lambda _done, _total, _what: None)


def test_the_sample_is_complete(sample: Dataset) -> None:
    """250 training and 50 test pictures of each class, 32 x 32, named apart."""
    counts = {(p.label, p.split): 0 for p in sample.photos}
    for photo in sample.photos:
        counts[photo.label, photo.split] += 1
        assert photo.data.startswith(b"\x89PNG")
    assert counts == {(label, split): n for split, n in (("train", 250), ("test", 50)) for label in sample.classes}
    assert len({(p.name, p.label, p.split) for p in sample.photos}) == 600


def test_the_sample_never_passes_for_photos(sample: Dataset) -> None:
    """Its kind says that it is rendered."""
    assert sample.kind == "rendered"


def test_no_two_pictures_are_alike(sample: Dataset) -> None:
    """Within and across splits."""
    assert len({hashlib.sha256(p.data).digest() for p in sample.photos}) == 600


def test_a_picture_depends_on_nothing_but_its_number() -> None:
    """Rendered again, alone, it is the same to the last bit."""
    assert np.array_equal(np.asarray(render("bicycle", "test", 7)), np.asarray(render("bicycle", "test", 7)))
    assert not np.array_equal(np.asarray(render("bicycle", "test", 7)), np.asarray(render("bicycle", "train", 7)))


def test_the_classes_are_not_told_apart_by_brightness(sample: Dataset) -> None:
    """What differs is the vehicle: the mean colours of the classes lie within a twentieth of the range."""
    means = [np.mean([decode(p.data, 32).mean() for p in sample.photos if p.label == c]) for c in sample.classes]
    assert abs(means[0] - means[1]) < 0.05 * 255


def test_a_class_that_cannot_be_drawn_is_refused() -> None:
    """The message names what there is."""
    with pytest.raises(SourceError, match="no class 'van'; it has bicycle and motorcycle"):
        load_sample(("bicycle", "van"), lambda _done, _total, _what: None)
