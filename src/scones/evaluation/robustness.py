"""Robustness: seeded image corruptions in three strengths, and accuracy under each."""

import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from scones.data.decode import png
from scones.domain.statistics import Interval
from scones.evaluation.metrics import ClassificationMetrics
from scones.evaluation.model_client import Predict, Progress

SEVERITIES: Final = (1, 3, 5)
"""The severities that are measured, of the five of the published benchmarks."""

SMALL_SIDE: Final = 64
"""Photos of up to this many pixels a side are corrupted as CIFAR-10-C's (32 a side), larger ones as ImageNet-C's."""

_WHITE = 255.0
_LUMA = np.array([0.299, 0.587, 0.114])
_MIDDLE_GRAY = 0.5

Photos = NDArray[np.uint8]
Light = NDArray[np.float64]
"""Photos [N, H, W, 3] as light between 0 and 1."""


@dataclass(frozen=True, slots=True)
class Corruption:
    """One kind of corruption: how it is applied at an amount, and the amount at each of SEVERITIES.

    *small* has the amounts for photos of up to SMALL_SIDE, where they differ.
    """

    meaning: str
    amounts: tuple[float, float, float]
    apply: Callable[[Light, float, np.random.Generator], Light]
    small: tuple[float, float, float] | None = None

    def amount(self, severity: int, side: int) -> float:
        """Give the amount for photos of *side* pixels."""
        amounts = self.small if self.small and side <= SMALL_SIDE else self.amounts
        return amounts[SEVERITIES.index(severity)]


def corrupt(photos: Photos, kind: str, severity: int, seed: int) -> Photos:
    """Corrupt *photos*, uint8 [N, H, W, 3]; the same arguments give the same pixels."""
    corruption = CORRUPTIONS[kind]
    rng = np.random.default_rng([seed, severity, zlib.crc32(kind.encode())])
    amount = corruption.amount(severity, photos.shape[1])
    light = corruption.apply(photos / _WHITE, amount, rng)
    return np.asarray((np.clip(light, 0, 1) * _WHITE).round(), np.uint8)


def _noise(light: Light, amount: float, rng: np.random.Generator) -> Light:
    return light + rng.normal(0, amount, light.shape)


def _blur(light: Light, amount: float, _rng: np.random.Generator) -> Light:
    sigma = amount * light.shape[1]
    return np.asarray(scipy.ndimage.gaussian_filter(light, (0, sigma, sigma, 0), mode="nearest"))


def _brighter(light: Light, amount: float, _rng: np.random.Generator) -> Light:
    return light + amount


def _darker(light: Light, amount: float, _rng: np.random.Generator) -> Light:
    return light * (1 - amount)


def _contrast(light: Light, amount: float, _rng: np.random.Generator) -> Light:
    mean = light.mean(axis=(1, 2), keepdims=True)
    return np.asarray(mean + amount * (light - mean))


def _jpeg(light: Light, amount: float, _rng: np.random.Generator) -> Light:
    return np.stack([_through_jpeg(photo, int(amount)) for photo in light])


def _through_jpeg(photo: Light, quality: int) -> Light:
    out = io.BytesIO()
    Image.fromarray((photo * _WHITE).round().astype(np.uint8)).save(out, "JPEG", quality=quality)
    with Image.open(out) as image:
        return np.asarray(image, np.float64) / _WHITE


def _rotation(light: Light, amount: float, rng: np.random.Generator) -> Light:
    angles = rng.choice((-amount, amount), len(light))
    pairs = zip(light, angles, strict=True)
    # Corners are filled as a camera's view would be: with what lies beside them.
    return np.stack(
        [scipy.ndimage.rotate(photo, angle, reshape=False, order=1, mode="reflect") for photo, angle in pairs]
    )


def _gray(light: Light, amount: float, _rng: np.random.Generator) -> Light:
    return np.asarray((1 - amount) * light + amount * (light @ _LUMA)[..., None])


def _occlusion(light: Light, amount: float, rng: np.random.Generator) -> Light:
    height, width = light.shape[1:3]
    tall, wide = max(1, round(amount * height)), max(1, round(amount * width))
    covered = light.copy()
    tops, lefts = rng.integers(0, height - tall + 1, len(light)), rng.integers(0, width - wide + 1, len(light))
    for photo, top, left in zip(covered, tops, lefts, strict=True):
        photo[top : top + tall, left : left + wide] = _MIDDLE_GRAY
    return covered


CORRUPTIONS: Final[Mapping[str, Corruption]] = MappingProxyType(
    {
        "noise": Corruption("Gaussian noise, sigma {:g} of white", (0.08, 0.18, 0.38), _noise, (0.04, 0.08, 0.1)),
        "blur": Corruption("Gaussian blur, sigma {:.1%} of the side", (0.0125, 0.022, 0.032), _blur),
        "brighter": Corruption("brighter by {:.0%} of white", (0.1, 0.3, 0.5), _brighter, (0.05, 0.15, 0.3)),
        "darker": Corruption("darker by {:.0%}", (0.3, 0.5, 0.7), _darker),
        "contrast": Corruption("contrast reduced to {:.0%}", (0.4, 0.2, 0.05), _contrast, (0.75, 0.4, 0.15)),
        "jpeg": Corruption("JPEG at quality {:g}", (25, 15, 7), _jpeg, (80, 58, 40)),
        "rotation": Corruption("rotated by {:g} degrees, left or right", (10, 20, 40), _rotation),
        "gray": Corruption("saturation reduced by {:.0%}", (0.33, 0.67, 1.0), _gray),
        "occlusion": Corruption("square of {:.0%} of the side covered", (0.2, 0.35, 0.5), _occlusion),
    }
)
"""Every kind, in the order of the report."""


Score = Callable[[NDArray[np.float64]], ClassificationMetrics]
"""Compare probabilities [N, C] of the corrupted photos with their labels."""


@dataclass(frozen=True, slots=True)
class CorruptionResult:
    """The metrics under one kind of corruption at one severity; the last two are those at the threshold."""

    kind: str
    severity: int
    meaning: str
    n: int
    accuracy: float
    interval: Interval
    coverage: float
    accuracy_covered: float | None


def measure_robustness(
    predict: Predict, photos: Photos, score: Score, seed: int, progress: Progress
) -> tuple[CorruptionResult, ...]:
    """Corrupt *photos*, uint8 [N, H, W, 3] at the model's own size, in every way, and score the predictions."""
    cases = [(kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES]
    results = []
    for kind, severity in cases:
        metrics = score(predict([png(photo) for photo in corrupt(photos, kind, severity, seed)]).probabilities)
        results.append(
            CorruptionResult(
                kind=kind,
                severity=severity,
                meaning=meaning(kind, severity, photos.shape[1]),
                n=metrics.n,
                accuracy=metrics.accuracy,
                interval=metrics.interval,
                coverage=metrics.coverage,
                accuracy_covered=metrics.accuracy_covered,
            )
        )
        progress(len(results), len(cases), "corruptions")
    return tuple(results)


def meaning(kind: str, severity: int, side: int) -> str:
    """Describe a corruption of photos of *side* pixels at a severity."""
    corruption = CORRUPTIONS[kind]
    return corruption.meaning.format(corruption.amount(severity, side))
