"""A small model under study, in this process, for the tests of what is made of its answers."""

from collections.abc import Sequence

import numpy as np

from scones.data.decode import decode
from scones.evaluation.examination import Candidate, Plan, Shown
from scones.evaluation.gate import Floors
from scones.evaluation.int8_comparison import Pair
from scones.evaluation.model_client import Said
from scones.evaluation.study import DataFacts, ModelFacts
from scones.evaluation.thresholds import Costs, Terms, Wish
from scones.model.out_of_fold import ScoredPredictions
from tiny_model import noisy_pngs, probability

CLASSES = ("bicycle", "motorcycle")
FACTS = ModelFacts("model.tar.gz", "0123456789ab", "test", "2026-01-01T00:00:00Z", 0.8, 32, CLASSES)
PLAN = Plan(Terms(0.8, Costs(8, 0.4), Wish(0.03, 0.05), 0), Floors(0.5, 0.5, 0.1, 0.5))


def ask(photos: Sequence[bytes]) -> Said:
    """The brighter, the likelier a motorcycle; the farther from the middle, the less familiar."""
    levels = np.array([float(decode(photo, 32).mean()) for photo in photos])
    second = np.array([probability(level) for level in levels])
    return Said(np.column_stack([1 - second, second]), np.abs(levels - 128))


def ask_pixels(photos: np.ndarray) -> np.ndarray:
    """The same of decoded photos."""
    second = np.array([probability(float(photo.mean())) for photo in photos])
    return np.column_stack([1 - second, second])


PAIR = Pair(ask_pixels, ask_pixels, served=True)
"""An int8 model that says the same."""


def ask_otherwise(photos: Sequence[bytes]) -> Said:
    """The opposite of each answer."""
    said = ask(photos)
    return said._replace(probabilities=1 - said.probabilities)


def photos(count: int = 40) -> tuple[Shown, ...]:
    """Test photos of which this model gets nine of ten right."""
    data = noisy_pngs(count, seed=4)
    said = ask(data).probabilities.argmax(axis=1)
    return tuple(
        Shown(f"test/{index}.png", CLASSES[said[index] if index % 10 else 1 - said[index]], photo)
        for index, photo in enumerate(data)
    )


def facts(count: int = 40, kind: str = "photos") -> DataFacts:
    """What the photos are called."""
    return DataFacts("grays", kind, count)


def candidate(name: str = "model.tar.gz") -> Candidate:
    """The model, with answers to a thousand training photos, all sure and nearly all right."""
    known = ScoredPredictions(np.arange(1000) % 100 > 0, np.linspace(0.7, 0.9999, 1000))
    return Candidate(ModelFacts(name, "0123456789ab", "test", "2026", 0.8, 32, CLASSES), ask, known)
