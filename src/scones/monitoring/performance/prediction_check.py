"""Prediction check: does the endpoint predict as the registered model does? A few photos are enough.

A wrong, swapped or half-deployed model, or photos that are prepared in another way, predict differently at once,
whatever the photos show; no test of distributions can promise that. Captured predictions are compared with the
registered model's, and probe images with known labels are sent to the endpoint in every monitoring run.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.data.dataset import Sample
from scones.domain.errors import MonitoringError

TOLERANCE: Final = 0.1
"""Smaller differences in probability are numerics: int8 and float32 differed by at most .06."""
MIN_MISMATCHES: Final = 2
"""One photo may have been captured badly; two indicate another model."""
PROBES_PER_CLASS: Final = 4

Floats = NDArray[np.floating]


class UnmatchedPredictions(MonitoringError):
    """Captured and expected predictions do not fit together."""


@dataclass(frozen=True, slots=True)
class PredictionCheck:
    """The comparison of captured predictions with the registered model's: which photos differ, and by how much."""

    photos: int = 0
    mismatches: tuple[int, ...] = ()
    """The places of the photos that differ."""
    largest: float = 0.0
    """The largest difference in probability."""
    found_after: int | None = None
    """The number of photos after which another model was certain; None if it is the registered one."""

    @property
    def another_model(self) -> bool:
        """Whether another model than the registered one answers."""
        return self.found_after is not None

    def join(self, following: "PredictionCheck") -> "PredictionCheck":
        """Add the check of the photos that followed; the mismatches of several windows count together."""
        mismatches = (*self.mismatches, *(self.photos + place for place in following.mismatches))
        return PredictionCheck(
            photos=self.photos + following.photos,
            mismatches=mismatches,
            largest=max(self.largest, following.largest),
            found_after=_found_after(mismatches),
        )


def check_predictions(captured: Floats, expected: Floats, tolerance: float = TOLERANCE) -> PredictionCheck:
    """Compare probabilities [n, C] of an endpoint with those of the registered model for the same photos.

    Raises:
        UnmatchedPredictions: the two differ in shape: another model's classes, or other photos.
    """
    if captured.shape != expected.shape or captured.ndim != 2:
        raise UnmatchedPredictions(f"captured predictions are {captured.shape}, expected ones {expected.shape}")
    differences = np.abs(captured - expected).max(axis=1, initial=0.0)
    # NaN is not the registered model's prediction either.
    mismatches = tuple(np.flatnonzero(~(differences <= tolerance)).tolist())
    largest = float(np.nan_to_num(differences, nan=1.0).max(initial=0.0))
    return PredictionCheck(len(captured), mismatches, largest, _found_after(mismatches))


def _found_after(mismatches: tuple[int, ...]) -> int | None:
    return mismatches[MIN_MISMATCHES - 1] + 1 if len(mismatches) >= MIN_MISMATCHES else None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe image that was sent: its key, its label, and the predicted class; empty if the endpoint failed."""

    key: str
    label: str
    prediction: str

    @classmethod
    def of(cls, sample: Sample, response: bytes | None, classes: Sequence[str]) -> "ProbeResult":
        """Read the endpoint's response to a probe; None if the endpoint failed."""
        try:
            prediction = classes[int(np.argmax(json.loads(response)))] if response is not None else ""
        except (ValueError, TypeError, IndexError):
            prediction = ""
        return cls(sample.key, sample.label, prediction)

    @property
    def right(self) -> bool:
        """Whether the prediction is the label."""
        return self.prediction == self.label


def probe_images(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Choose a few test photos of each class, always the same ones."""
    taken: Counter[str] = Counter()
    chosen = []
    for sample in sorted(samples, key=lambda sample: sample.sha256):
        if sample.split == "test" and taken[sample.label] < PROBES_PER_CLASS:
            taken[sample.label] += 1
            chosen.append(sample)
    return tuple(chosen)
