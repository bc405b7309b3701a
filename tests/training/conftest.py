"""What the tests of training share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from scones.training.backbone import backbone_weights
from scones.training.export import FeatureModel, build_backbone
from scones.training.features import VIEWS, FeatureExtractor, TrainingData
from scones.training.head import LayerGroups, StudySet


def spots(rng: np.random.Generator, count: int, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Of no class: one bright spot each, anywhere."""
    rows, columns = np.indices((size, size))
    middles = rng.uniform(size / 4, 3 * size / 4, (2, count, 1, 1))
    inside = (rows - middles[0]) ** 2 + (columns - middles[1]) ** 2 < (size / 5) ** 2
    colours = rng.integers(60, 256, (count, 1, 1, 3))
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = inside[..., None] * colours + rng.integers(
        0, 20, (count, size, size, 3)
    )
    photos: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = pixels.clip(0, 255).astype(np.uint8)
    return photos


@pytest.fixture(scope="session")
def stripes() -> Callable[..., TrainingData]:
    """A world that is easily learnt: lying (0) and standing (1) stripes and chequerboards (2), in any colour."""

    def make(count: int, size: int = 32, classes: int = 2, seed: int = 0, outliers: int = 0) -> TrainingData:
        rng = np.random.default_rng(seed)
        labels = np.arange(count) % classes
        rows, columns = np.indices((size, size)) // max(2, size // 8) % 2
        patterns = np.stack([rows, columns, rows ^ columns])[labels][..., None]
        low, high = rng.integers(0, 120, (count, 1, 1, 3)), rng.integers(130, 256, (count, 1, 1, 3))
        noisy = low + patterns * (high - low) + rng.normal(0, 15, (count, size, size, 3))
        photos = noisy.clip(0, 255).astype(np.uint8)
        sources = tuple(f"source {number // classes % 3}" for number in range(count))
        return TrainingData(photos, labels.astype(np.int64), classes, spots(rng, outliers, size), sources)

    return make


SIDE = 64
"""The model's size in most tests: larger ones take longer, and show nothing else."""


@dataclass(frozen=True, slots=True)
class Study:
    """Photos of stripes, the backbone, and what it sees in them."""

    data: TrainingData
    backbone: FeatureModel
    extractor: FeatureExtractor
    study: StudySet


@pytest.fixture(scope="session")
def studied(stripes: Callable[..., TrainingData]) -> Study:
    """Made once a process: quantizing takes seconds."""
    data, weights = stripes(90, SIDE, 3, outliers=20), backbone_weights("lite0")
    backbone = build_backbone(weights, data.photos[:8])
    extractor = FeatureExtractor(backbone.model, SIDE)
    views = [extractor.see(data.photos, view, 0) for view in range(VIEWS)]
    groups = LayerGroups(views, backbone.last, (np.ascontiguousarray(weights["_fc.weight"].T), weights["_fc.bias"]))
    outliers = extractor.see(data.outliers)
    study = StudySet(views, data.labels, data.classes, outliers, backbone.last, groups)
    return Study(data, backbone, extractor, study)
