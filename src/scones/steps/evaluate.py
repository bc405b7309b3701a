"""Evaluate: ask the endpoint about every test photo, and measure how right and how sure it is."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from scones.aws.connection import Aws
from scones.errors import SconesError
from scones.evaluation.metrics import Evaluation, evaluate_predictions
from scones.manifest import Sample
from scones.monitoring.traffic import evaluation_id
from scones.progress import Reporter
from scones.settings import Settings


class NothingToEvaluate(SconesError):
    """The staged data has no test photos."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The metrics, and what they were computed from, in the order of the photos."""

    endpoint: str
    metrics: Evaluation
    keys: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]


def evaluate(aws: Aws, settings: Settings, endpoint: str, samples: Sequence[Sample], report: Reporter) -> Evaluated:
    """Send every test photo among *samples* to the endpoint itself; its monitor passes these calls over.

    Raises:
        NothingToEvaluate: there is no test photo.
        AwsError: the endpoint refused a photo.
    """
    test = [sample for sample in samples if sample.split == "test"]
    if not test:
        raise NothingToEvaluate("there are no test photos among the staged ones; stage a folder that has some")

    def ask(sample: Sample) -> tuple[float, ...]:
        photo = aws.bucket.get(sample.key)
        answer = aws.sagemaker.invoke(endpoint, photo, "application/x-image", evaluation_id(sample.sha256))
        return tuple(json.loads(answer))

    probabilities = []
    with ThreadPoolExecutor(settings.clients) as pool:
        for answer in pool.map(ask, test):
            probabilities.append(answer)
            report.progress(len(probabilities), len(test), "photos evaluated")
    labels = tuple(sample.label for sample in test)
    metrics = evaluate_predictions(labels, np.array(probabilities), settings.classes, settings.threshold)
    return Evaluated(endpoint, metrics, tuple(sample.key for sample in test), labels, tuple(probabilities))
