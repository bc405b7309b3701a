"""Study: everything that can be said of one model, from its answers to test photos and what its model file keeps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.domain.statistics import Interval, wilson_interval
from scones.evaluation.calibration import (
    Bin,
    Point,
    accuracy_at,
    before_temperature,
    reliability,
    risk_coverage,
    thinned,
)
from scones.evaluation.comparison import Comparison
from scones.evaluation.gate import Check
from scones.evaluation.int8_comparison import WholeNumbers
from scones.evaluation.load_test import Load
from scones.evaluation.metrics import (
    Evaluation,
    calibration_error,
    error_by_chance,
    evaluate_predictions,
)
from scones.evaluation.ood import Guarding
from scones.evaluation.robustness import Damaged
from scones.evaluation.thresholds import Terms, ThresholdTrial, try_on_halves, try_threshold
from scones.model.out_of_fold import ScoredPredictions, label_columns

_COVERAGE = 0.9

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model that was asked: where it is, and what its model file says."""

    name: str
    version: str
    data_version: str
    created: str
    temperature: float
    image_size: int
    classes: tuple[str, ...]
    unfamiliar_above: float | None = None
    """Photos with more unfamiliarity are refused; None for a model without a guard."""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The test photos; *kind* is `rendered` where Scones drew them itself."""

    name: str
    kind: str
    photos: int


@dataclass(frozen=True, slots=True)
class Answers:
    """What the model said: *probabilities* [N, C] of photos whose *labels* are known; *keys* say which photos."""

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """How often networks that had not seen a training photo named it rightly, over all *n* of them."""

    n: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Study:
    """All figures of one model; parts that were not asked for, or that it has not, are None or empty.

    *ece_before* is the calibration error without the model's temperature, *ece_by_chance* that which a perfectly
    calibrated model would show on as many photos. *accuracy_at_90* is the accuracy among the
    surest photos that make up nine tenths. *curve* is thinned for charts. *report* is the page's path.
    """

    model: ModelFacts
    data: DataFacts
    metrics: Evaluation
    ece_before: float
    ece_by_chance: float
    accuracy_at_90: float
    threshold: ThresholdTrial
    reliability: tuple[Bin, ...]
    reliability_before: tuple[Bin, ...]
    curve: tuple[Point, ...]
    answers: Answers
    gate: tuple[Check, ...]
    out_of_fold: CrossValidated | None = None
    guard: Guarding | None = None
    int8: WholeNumbers | None = None
    robustness: tuple[Damaged, ...] = ()
    comparison: Comparison | None = None
    load: tuple[Load, ...] = ()
    report: str = ""


def study(
    model: ModelFacts, data: DataFacts, answers: Answers, out_of_fold: ScoredPredictions | None, terms: Terms
) -> Study:
    """Work out every figure that needs no further question to the model.

    The threshold is chosen on the *out_of_fold* answers; without them, on halves of the test photos.
    """
    table = np.asarray(answers.probabilities, np.float64)
    truth = label_columns(answers.labels, table, model.classes)
    right, confidence = table.argmax(axis=1) == truth, table.max(axis=1)
    raw = before_temperature(table, model.temperature).max(axis=1)
    asked = ScoredPredictions(right, confidence)
    curve = risk_coverage(right, confidence)
    return Study(
        model=model,
        data=data,
        metrics=evaluate_predictions(answers.labels, table, model.classes, terms.current),
        ece_before=calibration_error(right, raw),
        ece_by_chance=error_by_chance(confidence, terms.seed),
        accuracy_at_90=accuracy_at(_COVERAGE, curve),
        threshold=try_threshold(out_of_fold, asked, terms) if out_of_fold else try_on_halves(asked, terms),
        reliability=reliability(right, confidence),
        reliability_before=reliability(right, raw),
        curve=thinned(curve),
        answers=answers,
        gate=(),
        out_of_fold=_cross_validated(out_of_fold.right) if out_of_fold else None,
    )


def _cross_validated(right: NDArray[np.bool_]) -> CrossValidated:
    return CrossValidated(len(right), float(right.mean()), wilson_interval(int(right.sum()), len(right)))
