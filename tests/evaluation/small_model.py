"""A small model in this process, for the tests of its evaluation."""

from collections.abc import Sequence

import numpy as np

from scones.data.decode import decode
from scones.evaluation.evaluation import DataFacts, EvaluationPhoto, EvaluationPlan, ModelFacts, ModelUnderTest
from scones.evaluation.gate import GateRequirements
from scones.evaluation.model_client import ModelOutput
from scones.evaluation.thresholds import Costs, RiskTarget, ThresholdTerms
from scones.model.out_of_fold import ScoredPredictions
from tiny_model import noisy_pngs, probability

CLASSES = ("bicycle", "motorcycle")
FACTS = ModelFacts("model.tar.gz", "0123456789ab", "test", "2026-01-01T00:00:00Z", 0.8, 32, CLASSES)
PLAN = EvaluationPlan(
    ThresholdTerms(0.8, Costs(8, 0.4), RiskTarget(0.03, 0.05), 0), GateRequirements(0.5, 0.5, 0.1, 0.5)
)


def predict(photos: Sequence[bytes]) -> ModelOutput:
    """The brighter, the likelier a motorcycle; the farther from the middle gray, the higher the OOD score."""
    levels = np.array([float(decode(photo, 32).mean()) for photo in photos])
    second = np.array([probability(level) for level in levels])
    return ModelOutput(np.column_stack([1 - second, second]), np.abs(levels - 128))


def predict_opposite(photos: Sequence[bytes]) -> ModelOutput:
    """The opposite of each prediction."""
    output = predict(photos)
    return output._replace(probabilities=1 - output.probabilities)


def photos(count: int = 40) -> tuple[EvaluationPhoto, ...]:
    """Test photos of which this model gets nine of ten right."""
    data = noisy_pngs(count, seed=4)
    predicted = predict(data).probabilities.argmax(axis=1)
    return tuple(
        EvaluationPhoto(f"test/{index}.png", CLASSES[predicted[index] if index % 10 else 1 - predicted[index]], photo)
        for index, photo in enumerate(data)
    )


def facts(count: int = 40, kind: str = "photos") -> DataFacts:
    """The name and kind of the test photos."""
    return DataFacts("grays", kind, count)


def small_model(name: str = "model.tar.gz") -> ModelUnderTest:
    """The model, with a thousand confident out-of-fold predictions, nearly all right."""
    known = ScoredPredictions(np.arange(1000) % 100 > 0, np.linspace(0.7, 0.9999, 1000))
    return ModelUnderTest(ModelFacts(name, "0123456789ab", "test", "2026", 0.8, 32, CLASSES), predict, known)
