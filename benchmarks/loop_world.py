"""What the loop is measured on: real photos under changes that happen in life, and models on cached features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scones.data.decode import decode, resize
from scones.evaluation.robustness import corrupt
from scones.training.backbone import backbone_weights
from scones.training.calibration import OodDetector, fit_ood_detector, fit_temperature, soften
from scones.training.cross_validation import assign_folds, cross_validate
from scones.training.export import build_backbone
from scones.training.features import VIEWS, FeatureExtractor, Features, TrainingData
from scones.training.head import Head, LayerGroups, StudySet

CLASSES = ("bicycle", "motorcycle")
SIDE, SIZE = 32, 128
"""The side of all photos, and that at which the network looks at them: less than the product's, to take less time."""
FIRST, PHONE, SOFT, NIGHT, DIRTY = "first camera", "other photos", "cheap phone", "night", "dirty lens"
"""Photos of CIFAR-100; of Open Images and phones; and the first ones damaged in three ways."""
OTHERS = ("lawn_mower", "tractor", "pickup_truck", "bus", "streetcar", "tank", "train")
"""Vehicles that are neither: they stand for cargo bikes and e-scooters."""
SEED = 1
PHONE_PHOTOS = 218
"""Of each class: there are so many motorcycles."""
TRAINED, FROZEN = 200, 125
"""Photos of each class for the first training, and in the test set."""

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Rows = NDArray[np.intp]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Photos:
    """Photos of one kind: the features of each view, [views][N, F], and the labels, -1 where they show no class."""

    views: Sequence[Features]
    labels: Numbers


@dataclass(frozen=True)
class Split:
    """The places of the first camera's photos for training, the test set, traffic, and judging; of the phone's two."""

    train: Rows
    frozen: Rows
    traffic: Rows
    judged: Rows
    phone_traffic: Rows
    phone_judged: Rows

    @classmethod
    def of(cls, world: "World", seed: int) -> "Split":
        """Divide the photos at random; each class has the same share of each part."""
        rng = np.random.default_rng([seed, 18])
        first = _by_class(world.kinds[FIRST].labels, (TRAINED, FROZEN, 150), rng)
        return cls(*first, *_by_class(world.kinds[PHONE].labels, (120,), rng))

    def rows(self, kind: str, judged: bool) -> Rows:
        """The photos of a kind that arrive, or those on which the true accuracy is judged."""
        if kind == PHONE:
            return self.phone_judged if judged else self.phone_traffic
        return self.judged if judged else self.traffic


def _by_class(labels: Numbers, counts: Sequence[int], rng: np.random.Generator) -> list[Rows]:
    """Parts with so many photos of each class, and the rest."""
    orders = [rng.permutation(np.flatnonzero(labels == each)) for each in range(len(CLASSES))]
    ends = np.cumsum([0, *counts])
    parts = [np.concatenate([order[start:end] for order in orders]) for start, end in pairwise(ends)]
    return [*parts, np.concatenate([order[ends[-1] :] for order in orders])]


@dataclass(frozen=True)
class Answers:
    """What a model says of photos: probabilities [N, 2] and unfamiliarity [N]."""

    probabilities: Floats
    unfamiliarity: Floats


@dataclass(frozen=True)
class Model:
    """A head on the network's features, with its temperature, its detector, and its out-of-fold probabilities."""

    head: Head
    temperature: float
    detector: OodDetector
    out_of_fold: Floats

    def ask(self, features: Features) -> Answers:
        """Answer for photos with these features."""
        found = self.head.ask(features)
        return Answers(soften(found.log_probabilities, self.temperature), self.detector.score(found.strangeness))

    def right(self, photos: Photos, rows: Rows) -> NDArray[np.bool_]:
        """Which of these photos it classifies right."""
        return np.asarray(self.ask(photos.views[0][rows]).probabilities.argmax(axis=1) == photos.labels[rows])


Labelled = tuple[str, Rows, Numbers]
"""Photos of one kind, by their places, with the labels that people gave."""


@dataclass(frozen=True)
class World:
    """Every kind of photos, and which features are the last layer's."""

    kinds: Mapping[str, Photos]
    strange: Features
    last: slice

    def train(self, parts: Sequence[Labelled], seed: int) -> Model:
        """Train as the product does, on features that were extracted before."""
        views = [
            np.concatenate([self.kinds[kind].views[view][rows] for kind, rows, _ in parts]) for view in range(VIEWS)
        ]
        labels = np.concatenate([labels for _, _, labels in parts])
        none = np.zeros((0, SIDE, SIDE, 3), np.uint8)
        sources = ("",) * len(labels)
        data = TrainingData(np.zeros((len(labels), 1, 1, 3), np.uint8), labels, len(CLASSES), none, sources)
        groups = LayerGroups(views, self.last, None)
        study = StudySet(views, labels, len(CLASSES), self.strange[:0], self.last, groups)
        found = cross_validate(study, assign_folds(data, seed), sources, lambda _share: None)
        temperature = fit_temperature(found.photos.log_probabilities, labels)
        detector = fit_ood_detector(found.photos.strangeness, learnt=False)
        return Model(found.final, temperature, detector, soften(found.photos.log_probabilities, temperature))


def cheap_phone(photos: Pixels) -> Pixels:
    """Soft, flat, warm and noisy."""
    soft = ndimage.gaussian_filter(photos.astype(float), (0, 0.6, 0.6, 0))
    flat = ((soft - 128) * 0.65 + 120) * [1.08, 1.0, 0.88]
    noisy = flat + np.random.default_rng(SEED).normal(0, 10, photos.shape)
    return np.asarray(np.clip(noisy, 0, 255).round(), np.uint8)


def dirty_lens(photos: Pixels) -> Pixels:
    """A haze over a soft picture."""
    soft = ndimage.gaussian_filter(photos.astype(float), (0, 0.9, 0.9, 0))
    return np.asarray(np.clip(0.55 * soft + 70, 0, 255).round(), np.uint8)


def load(folder: Path, kept: Path) -> World:
    """Read the photos below *folder*; their features are written to *kept*, and read when they are there."""
    wheels = folder / "cifar100-two-wheelers"
    first, labels = _read([sorted(wheels.glob(f"*/{name}/*.png")) for name in CLASSES])
    natural = [sorted((folder / "natural").glob(f"*/{name}/*.jpg")) for name in CLASSES]
    rng = np.random.default_rng(SEED)
    some = [[paths[place] for place in np.sort(rng.permutation(len(paths))[:PHONE_PHOTOS])] for paths in natural]
    phone, phone_labels = _read(some)
    strange, _ = _read([sorted((folder / "cifar100-others").glob(f"*/{name}/*.png")) for name in OTHERS])
    network = build_backbone(backbone_weights("lite0"), resize(first[::15], SIZE))
    extractor = FeatureExtractor(network.model, SIZE, kept)

    def see(photos: Pixels, numbers: Numbers) -> Photos:
        return Photos([extractor.see(photos, view, SEED) for view in range(VIEWS)], numbers)

    kinds = {
        FIRST: see(first, labels),
        PHONE: see(phone, phone_labels),
        SOFT: see(cheap_phone(first), labels),
        NIGHT: see(corrupt(first, "darker", 5, SEED), labels),
        DIRTY: see(dirty_lens(first), labels),
    }
    return World(kinds, extractor.see(strange), network.last)


def _read(groups: Sequence[Sequence[Path]]) -> tuple[Pixels, Numbers]:
    photos = np.stack([decode(path.read_bytes(), SIDE) for group in groups for path in group])
    return photos, np.repeat(np.arange(len(groups)), [len(group) for group in groups])
