"""Canaries: photos with known labels, sent at every look, which the endpoint must answer as its model does."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.data.manifest import Sample

CANDIDATES_PER_CLASS = 4
_SURE = 0.9


@dataclass(frozen=True, slots=True)
class Canary:
    """One photo that was sent: its key, its label, and what the endpoint made of it; empty where it did not answer."""

    key: str
    label: str
    answer: str

    @property
    def right(self) -> bool:
        """Whether the endpoint knew it."""
        return self.answer == self.label


def candidates(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Choose a few test photos of each class, always the same ones."""
    taken: Counter[str] = Counter()
    chosen = []
    for sample in sorted(samples, key=lambda sample: sample.sha256):
        if sample.split == "test" and taken[sample.label] < CANDIDATES_PER_CLASS:
            taken[sample.label] += 1
            chosen.append(sample)
    return tuple(chosen)


def is_sure(label: str, probabilities: NDArray[np.floating], classes: Sequence[str]) -> bool:
    """Whether the registered model, whose *probabilities* [C] these are, is right about a photo and sure of it.

    Only such photos are canaries: a photo that the model itself gets wrong says nothing of the endpoint.
    """
    best = int(np.argmax(probabilities))
    return classes[best] == label and bool(probabilities[best] >= _SURE)
