"""Robustness is measured on the model's predictions for corrupted photos."""

import numpy as np
import pytest

from evaluation.small_model import predict
from scones.data.decode import decode
from scones.evaluation.metrics import ClassificationMetrics, evaluate_predictions
from scones.evaluation.robustness import CORRUPTIONS, SEVERITIES, corrupt, meaning, measure_robustness
from tiny_model import noisy_photos, plain_photo

CLASSES = ("bicycle", "motorcycle")


def score(probabilities: np.ndarray) -> ClassificationMetrics:
    """Compare with one photo of each class."""
    return evaluate_predictions(CLASSES, probabilities, CLASSES, 0.8)


def test_light_costs_this_model_its_bicycles_and_darkness_its_motorcycles() -> None:
    """A dark bicycle and a bright motorcycle: what changes the light takes one of them; colour takes none."""
    photos = np.stack([decode(plain_photo(level), 32) for level in (60, 190)])
    reported: list[tuple[int, int, str]] = []
    found = {
        (item.kind, item.severity): item
        for item in measure_robustness(predict, photos, score, 0, lambda *words: reported.append(words))
    }
    assert len(found) == len(CORRUPTIONS) * len(SEVERITIES) == reported[-1][0]
    assert found["brighter", 5].accuracy == found["darker", 5].accuracy == 0.5
    assert found["gray", 5].accuracy == 1
    assert found["darker", 1].n == 2
    assert found["brighter", 5].interval.low < 0.5 < found["brighter", 5].interval.high


@pytest.mark.parametrize(
    ("kind", "severity", "side", "words"),
    [
        ("jpeg", 3, 32, "JPEG at quality 58"),
        ("jpeg", 3, 96, "JPEG at quality 15"),
        ("occlusion", 1, 32, "square of 20% of the side covered"),
    ],
)
def test_severities_are_described(kind: str, severity: int, side: int, words: str) -> None:
    """With the amounts for photos of this size."""
    assert meaning(kind, severity, side) == words


EVERY = [(kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES]


@pytest.mark.parametrize(("kind", "severity"), EVERY)
@pytest.mark.parametrize("side", [32, 65])
def test_the_shape_stays_and_the_seed_decides(kind: str, severity: int, side: int) -> None:
    """uint8 of the same size; the same seed gives the same pixels, and the photo itself is not touched."""
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    before = photos.copy()
    damaged = corrupt(photos, kind, severity, seed=5)
    assert damaged.shape == photos.shape
    assert damaged.dtype == np.uint8
    assert (damaged == corrupt(photos, kind, severity, seed=5)).all()
    assert (photos == before).all()
    assert (damaged != photos).any()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_more_severe_is_further_from_the_photo(kind: str) -> None:
    """The mean difference grows from 1 to 3 to 5."""
    photos = noisy_photos(40, seed=2)
    far = [np.abs(corrupt(photos, kind, level, 0).astype(float) - photos).mean() for level in SEVERITIES]
    if kind != "rotation":  # of noise, every turn is as far as another
        assert far == sorted(far)
        assert far[0] < far[-1]


def test_amounts_are_what_the_words_say() -> None:
    """On plain gray: half the light, a twentieth of white more, a fifth of the side covered."""
    gray = decode(plain_photo(100), 32)[None]
    assert np.unique(corrupt(gray, "darker", 3, 0)).tolist() == [50]
    assert np.unique(corrupt(gray, "brighter", 1, 0)).tolist() == [113]
    covered = corrupt(gray, "occlusion", 1, 0)
    assert (covered == 128).all(axis=3).sum() == 6 * 6
    assert np.unique(corrupt(gray, "contrast", 5, 0)).tolist() == [100]
    noise = corrupt(gray, "noise", 1, 0).astype(float) - 100
    assert noise.std() == pytest.approx(0.04 * 255, rel=0.05)


def test_large_photos_take_more() -> None:
    """Up to 64 pixels a side noise of severity 3 is CIFAR-10-C's, beyond it ImageNet-C's."""
    spread = {}
    for side in (64, 65):
        photos = np.full((4, side, side, 3), 128, np.uint8)
        spread[side] = (corrupt(photos, "noise", 3, 0) - 128.0).std() / 255
    assert spread == pytest.approx({64: 0.08, 65: 0.18}, rel=0.05)


def test_full_gray_has_no_colour() -> None:
    """At severity 5 all three channels are one."""
    damaged = corrupt(noisy_photos(3, seed=0), "gray", 5, 0).astype(int)
    assert np.ptp(damaged, axis=3).max() == 0
