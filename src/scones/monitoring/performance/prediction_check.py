"""Prediction check: does the endpoint predict as the registered model does? A few photos are enough.

A wrong, swapped or half-deployed model, or photos that are prepared in another way, predict differently at once,
whatever the photos show; no test of distributions can promise that. Captured predictions are compared with the
registered model's, and probe images with known labels are sent to the endpoint in every monitoring run.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.data.manifest import Sample
from scones.domain.errors import SconesError

TOLERANCE: Final = 0.1
"""Differences in probability up to this are numerics: int8 against float32 differed by .06 at most."""
MIN_MISMATCHES: Final = 2
"""One photo may have been captured badly; two are the model."""

Floats = NDArray[np.floating]


class InvalidPredictions(SconesError):
    """Captured and replayed answers do not fit together."""


@dataclass(frozen=True, slots=True)
class PredictionCheck:
    """What the comparison found: how many photos, which of them differ, and by how much at most."""

    photos: int
    mismatches: tuple[int, ...]
    largest: float
    found_after: int | None
    """The number of photos after which another model was certain; None if it is the registered one."""

    @property
    def another_model(self) -> bool:
        """Whether something else than the registered model answers."""
        return self.found_after is not None


def check_predictions(captured: Floats, replayed: Floats, tolerance: float = TOLERANCE) -> PredictionCheck:
    """Compare probabilities [n, C] that an endpoint gave with those of the registered model for the same photos.

    Raises:
        BadReplay: the two differ in shape: another model's classes, or other photos.
    """
    if captured.shape != replayed.shape or captured.ndim != 2:
        raise InvalidPredictions(
            f"captured answers are {captured.shape}, replayed {replayed.shape}; replay the same photos"
        )
    differences = np.abs(captured - replayed).max(axis=1, initial=0.0)
    # What is not a number is no answer of the registered model either.
    mismatches = np.flatnonzero(~(differences <= tolerance))
    certain = len(mismatches) >= MIN_MISMATCHES
    return PredictionCheck(
        photos=len(captured),
        mismatches=tuple(mismatches.tolist()),
        largest=float(np.nan_to_num(differences, nan=1.0).max(initial=0.0)),
        found_after=int(mismatches[MIN_MISMATCHES - 1]) + 1 if certain else None,
    )


PROBES_PER_CLASS = 4
_MIN_CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One photo that was sent: its key, its label, and what the endpoint made of it; empty where it did not answer."""

    key: str
    label: str
    answer: str

    @property
    def right(self) -> bool:
        """Whether the endpoint knew it."""
        return self.answer == self.label


def probe_images(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Choose a few test photos of each class, always the same ones."""
    taken: Counter[str] = Counter()
    chosen = []
    for sample in sorted(samples, key=lambda sample: sample.sha256):
        if sample.split == "test" and taken[sample.label] < PROBES_PER_CLASS:
            taken[sample.label] += 1
            chosen.append(sample)
    return tuple(chosen)


def is_reliable_probe(label: str, probabilities: NDArray[np.floating], classes: Sequence[str]) -> bool:
    """Whether the registered model, whose *probabilities* [C] these are, is right about a photo and sure of it.

    Only such photos are canaries: a photo that the model itself gets wrong says nothing of the endpoint.
    """
    best = int(np.argmax(probabilities))
    return classes[best] == label and bool(probabilities[best] >= _MIN_CONFIDENCE)
