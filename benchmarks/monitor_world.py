"""What the monitoring is measured on: real photos, a model that never saw them, and 25 kinds of change."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from threadpoolctl import threadpool_limits

from scones.data.decode import decode, resize
from scones.evaluation.robustness import CORRUPTIONS, SEVERITIES, corrupt
from scones.monitoring.drift.features import FEATURES, ContentDirections, clip_ood_score, measure_features
from scones.training.backbone import backbone_weights
from scones.training.calibration import soften
from scones.training.cross_validation import assign_folds, cross_validate
from scones.training.export import build_backbone
from scones.training.features import VIEWS, FeatureExtractor, Features, TrainingData
from scones.training.head import Head, LayerGroups, StudySet
from scones.training.train import ModelCalibration, calibrate

SIDE = 32
SIZE = 160
"""The side at which the model looks at photos, as the product does at photos of this size."""
TAUGHT = 500
WRONG_LABELS = 0.35

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

LIGHT_LEFT = (0.35, 0.5, 0.65, 0.8, 0.9, 1.0)

SWAPPED, MISTRAINED, OTHERS, CLEAN = "labels swapped", "model mis-trained", "OOD 100%", "none"
SHARES: Mapping[str, float] = {"OOD 10%": 0.1, "OOD 30%": 0.3}
PRIORS: Mapping[str, float] = {"classes 70/30": 0.7, "classes 90/10": 0.9}


def _noise(photos: Pixels, sigma: float) -> Floats:
    return np.asarray(photos + np.random.default_rng(2).normal(0, sigma, photos.shape), np.float64)


def _blur(photos: Pixels, sigma: float) -> Floats:
    return np.asarray(ndimage.gaussian_filter(photos.astype(float), (0, sigma, sigma, 0)))


def _rotate(photos: Pixels, degrees: float) -> Floats:
    """Turned within a mirrored surrounding, so that no corner is black."""
    wide = np.pad(photos, ((0, 0), (8, 8), (8, 8), (0, 0)), mode="reflect")
    turned = [np.asarray(Image.fromarray(photo).rotate(degrees, Image.Resampling.BILINEAR)) for photo in wide]
    return np.asarray(np.stack(turned)[:, 8:-8, 8:-8], np.float64)


def _gray(photos: Pixels, share: float) -> Floats:
    return np.asarray((1 - share) * photos + share * photos.mean(axis=3, keepdims=True), np.float64)


FAMILIES: Mapping[str, tuple[Callable[[Pixels, float], Floats], tuple[float, ...]]] = {
    "noise": (_noise, (5, 10, 25)),
    "blur": (_blur, (0.5, 0.8, 1.5)),
    "brightness": (lambda photos, by: photos.astype(float) + by, (-40, 20, 40)),
    "contrast": (lambda photos, left: (photos.astype(float) - 128) * left + 128, (0.8, 0.6, 0.3)),
    "rotation": (_rotate, (10, 30, 90)),
    "gray": (_gray, (0.25, 0.5, 1.0)),
}
"""Each family of damage to photos, and its three strengths."""
DAMAGES = tuple(f"{family} {amount:g}" for family, (_, amounts) in FAMILIES.items() for amount in amounts)
CELLS = (*DAMAGES, OTHERS, *SHARES, *PRIORS, MISTRAINED, SWAPPED)
"""The 25 changes."""


@dataclass(frozen=True)
class Seen:
    """What is known of each photo under one change: features, probabilities, and whether the answer is right."""

    features: Floats
    probabilities: Floats
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class World:
    """Everything that was seen, by change and by simulated damage, and the photos' labels."""

    labels: NDArray[np.int64]
    seen: Mapping[str, Seen]
    simulated: Mapping[str, Seen]

    def window(self, cell: str, stream: NDArray[np.intp], photos: int, rng: np.random.Generator) -> "Window":
        """Draw *photos* of the *stream* under the change *cell*, each once as long as there are enough."""
        if cell in PRIORS:
            first = self.labels[stream] == 0
            wanted = rng.binomial(photos, PRIORS[cell])
            rows = np.concatenate([_draw(stream[first], wanted, rng), _draw(stream[~first], photos - wanted, rng)])
            return Window(self.seen[CLEAN], rows, self.seen[CLEAN], rows[:0])
        if cell in SHARES:
            strange = rng.binomial(photos, SHARES[cell])
            others = rng.integers(0, len(self.seen[OTHERS].features), strange)
            return Window(self.seen[CLEAN], _draw(stream, photos - strange, rng), self.seen[OTHERS], others)
        if cell == OTHERS:
            rows = rng.integers(0, len(self.seen[OTHERS].features), photos)
        else:
            rows = _draw(stream, photos, rng)
        return Window(self.seen[cell], rows, self.seen[cell], rows[:0])


@dataclass(frozen=True)
class Window:
    """Some rows of what was seen, and some rows of something else mixed in."""

    main: Seen
    rows: NDArray[np.intp]
    other: Seen
    other_rows: NDArray[np.intp]

    def features(self) -> Floats:
        """The features, [n, features]."""
        return np.concatenate([self.main.features[self.rows], self.other.features[self.other_rows]])

    def probabilities(self) -> Floats:
        """The answers, [n, classes]."""
        return np.concatenate([self.main.probabilities[self.rows], self.other.probabilities[self.other_rows]])

    def right(self) -> NDArray[np.bool_]:
        """Which answers are right, [n]."""
        return np.concatenate([self.main.right[self.rows], self.other.right[self.other_rows]])


def _draw(rows: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return rng.choice(rows, count, replace=count > len(rows))


class Sight:
    """What the backbone sees in photos; each batch of them is looked at once, and kept in the folder *kept*."""

    def __init__(self, photos: Pixels, kept: Path) -> None:
        self._weights = backbone_weights("lite0")
        backbone = build_backbone(self._weights, resize(photos[:: max(1, len(photos) // 80)], SIZE))
        self.last = backbone.last
        self.extractor = FeatureExtractor(backbone.model, SIZE, kept)
        self._seen: dict[bytes, Features] = {}

    def see(self, photos: Pixels) -> Features:
        """Their features, [N, F]."""
        key = hashlib.sha256(np.ascontiguousarray(photos).tobytes()).digest()
        if key not in self._seen:
            self._seen[key] = self.extractor.see(photos)
        return self._seen[key]

    def study(self, data: TrainingData) -> StudySet:
        """All that the training program fits heads to."""
        views = [self.extractor.see(data.photos, view) for view in range(VIEWS)]
        imagenet = np.ascontiguousarray(self._weights["_fc.weight"].T), self._weights["_fc.bias"]
        groups = LayerGroups(views, self.last, imagenet)
        return StudySet(views, data.labels, data.classes, self.see(data.outliers), self.last, groups)


@dataclass(frozen=True)
class Quick:
    """The model that the training program makes of few photos: its head, calibration, and content directions."""

    sight: Sight
    head: Head
    calibrated: ModelCalibration
    content: ContentDirections
    familiar: float

    @classmethod
    def learn(cls, data: TrainingData, unseen: Pixels, sight: Sight) -> "Quick":
        """Train on *data*; OOD scores are clipped where those of *unseen* photos are."""
        with threadpool_limits(1):
            study = sight.study(data)
            found = cross_validate(study, assign_folds(data, 0), data.sources, lambda _share: None)
        calibrated = calibrate(data, found)
        scores = calibrated.ood_detector.score(found.final.ask(sight.see(unseen)).strangeness)
        content = ContentDirections.of(study.views[0][:, sight.last], data.labels)
        return cls(sight, found.final, calibrated, content, float(clip_ood_score(scores).min()))

    def measure(self, photos: Pixels, labels: NDArray[np.int64]) -> Seen:
        """Answer, and measure what monitoring measures; no answer to a photo with the label -1 is right."""
        features = self.sight.see(photos)
        answers = self.head.ask(features)
        probabilities = soften(answers.log_probabilities, self.calibrated.temperature)
        strange = clip_ood_score(self.calibrated.ood_detector.score(answers.strangeness), self.familiar)
        content = self.content.measure(features[:, self.sight.last])
        table = measure_features(as_monitored(photos), probabilities, strange, content)
        return Seen(table, probabilities, probabilities.argmax(axis=1) == labels)


def as_monitored(photos: Pixels) -> Pixels:
    """Scale photos to the model's size and back, as the monitor does before it measures them."""
    return resize(resize(photos, SIZE), SIDE)


def damage(photos: Pixels, cell: str) -> Pixels:
    """Damage *photos* as the cell of DAMAGES says."""
    family, amount = cell.split()
    return np.asarray(np.clip(FAMILIES[family][0](photos, float(amount)), 0, 255).round(), np.uint8)


def lights(model: Quick, photos: Pixels, labels: NDArray[np.int64]) -> list[Seen]:
    """Look at the photos at night, at noon, and in between."""
    return [model.measure(np.asarray(photos * left, np.uint8), labels) for left in LIGHT_LEFT]


def measure_all(model: Quick, wrong: Quick, photos: Pixels, labels: NDArray[np.int64], others: Pixels) -> World:
    """Ask about every photo under every change, and under every damage that training simulates."""
    clean = model.measure(photos, labels)
    mirrored = clean.probabilities[:, ::-1]
    seen = {CLEAN: clean} | {cell: model.measure(damage(photos, cell), labels) for cell in DAMAGES}
    seen[OTHERS] = model.measure(others, np.full(len(others), -1))
    seen[MISTRAINED] = wrong.measure(photos, labels)
    # Only the labels are swapped: all else is as before.
    swapped = clean.features.copy()
    swapped[:, FEATURES.index("log_odds")] *= -1
    seen[SWAPPED] = Seen(swapped, mirrored, ~clean.right)
    simulated = {
        f"{kind} {severity}": model.measure(corrupt(photos, kind, severity, 0), labels)
        for kind in CORRUPTIONS
        for severity in SEVERITIES
    }
    return World(labels, seen, simulated)


def load(folder: Path, classes: Sequence[str] | None = None) -> tuple[Pixels, NDArray[np.int64]]:
    """Read a folder of one folder a class; the labels are numbers of *classes*, or -1 where there are none."""
    paths = sorted(folder.glob("*/*.png"))
    labels = [-1 if classes is None else classes.index(path.parent.name) for path in paths]
    return np.stack([decode(path.read_bytes(), SIDE) for path in paths]), np.array(labels)
