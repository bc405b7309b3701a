"""Robustness: how right the model stays when photos are damaged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.evaluation.asking import Ask, Progress
from scones.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from scones.evaluation.metrics import Interval, evaluate_predictions
from scones.photos.encode import png

Photos = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Damaged:
    """The figures under one kind of damage at one severity; those at the threshold as in Evaluation."""

    kind: str
    severity: int
    meaning: str
    n: int
    accuracy: float
    interval: Interval
    coverage: float
    accuracy_covered: float | None


@dataclass(frozen=True, slots=True)
class Judge:
    """What answers are judged by: the true *labels*, the *classes* and the *threshold*."""

    labels: tuple[str, ...]
    classes: tuple[str, ...]
    threshold: float


def measure_robustness(ask: Ask, photos: Photos, judge: Judge, seed: int, progress: Progress) -> tuple[Damaged, ...]:
    """Damage *photos*, uint8 [N, H, W, 3] at the model's own size, in every way, and ask about each."""
    cases = [(kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES]
    found = []
    for kind, severity in cases:
        answers = ask([png(photo) for photo in corrupt(photos, kind, severity, seed)]).probabilities
        words = meaning(kind, severity, photos.shape[1])
        found.append(_damaged((kind, severity, words), answers, judge))
        progress(len(found), len(cases), "kinds of damage")
    return tuple(found)


def meaning(kind: str, severity: int, side: int) -> str:
    """Say what a severity of a kind of damage does to photos of *side* pixels."""
    corruption = CORRUPTIONS[kind]
    return corruption.meaning.format(corruption.amount(severity, side))


def _damaged(case: tuple[str, int, str], answers: Floats, judge: Judge) -> Damaged:
    kind, severity, words = case
    figures = evaluate_predictions(judge.labels, answers, judge.classes, judge.threshold)
    return Damaged(
        kind=kind,
        severity=severity,
        meaning=words,
        n=figures.n,
        accuracy=figures.accuracy,
        interval=figures.interval,
        coverage=figures.coverage,
        accuracy_covered=figures.accuracy_covered,
    )
