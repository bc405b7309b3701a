"""Evaluate: ask the endpoint about every test photo, and measure how right and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.data.manifest import Sample
from scones.domain.errors import SconesError
from scones.domain.progress import Reporter
from scones.evaluation.metrics import Evaluation, evaluate_predictions
from scones.evaluation.model_client import asking_endpoint


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
    keys, labels = tuple(sample.key for sample in test), tuple(sample.label for sample in test)
    ask = asking_endpoint(aws.sagemaker.explain, endpoint, settings.clients, report.progress)
    table = ask(aws.bucket.get_all(keys)).probabilities
    metrics = evaluate_predictions(labels, table, settings.classes, settings.threshold)
    return Evaluated(endpoint, metrics, keys, labels, tuple(tuple(row) for row in table.tolist()))
