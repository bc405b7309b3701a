"""Worth: what the classifier is worth to the city, in orders on time: simulated days under better and worse ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri

from scones.dispatch.cost_matrix import Floats, Ints
from scones.dispatch.orders import Rules
from scones.dispatch.simulation import BICYCLE, BLIND, MOTORCYCLE, SHIFTS, UNSURE, City, Day, play

_POOL = 1000
TRUST_ALL = 0.5
"""The threshold that no answer about two vehicles is below."""


@dataclass(frozen=True, slots=True)
class Answers:
    """How a classifier answers photos of each vehicle: what it says, and how sure it is; one entry a photo."""

    truth: Ints
    said: Ints
    confidence: Floats

    @property
    def accuracy(self) -> float:
        """The share of photos that it names rightly."""
        return float(np.mean(self.said == self.truth))


@dataclass(frozen=True, slots=True)
class Trial:
    """Which days are played: *accuracies* of imagined classifiers, each at every one of *thresholds*, over *seeds*."""

    city: City = field(default_factory=City)
    seeds: tuple[int, ...] = (0, 1, 2)
    accuracies: tuple[float, ...] = (0.7, 0.85, 0.97)
    thresholds: tuple[float, ...] = (TRUST_ALL, 0.8, 0.95)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure over several days: its mean, and its standard deviation from day to day."""

    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class Line:
    """One way to see the couriers, and how the days went; *unsure* is the share of photos below the threshold."""

    name: str
    accuracy: float
    threshold: float
    unsure: float
    on_time: Figure
    minutes_late: Figure
    km_per_order: Figure
    cancelled: Figure


@dataclass(frozen=True, slots=True)
class Worth:
    """All lines: perfect knowledge, nobody looking, this model by threshold, and imagined classifiers."""

    trial: Trial
    perfect: Line
    blind: Line
    measured: tuple[Line, ...]
    reviewed: Line | None
    """This model at the threshold of the rules, where a person looks at every courier who is unsure."""
    imagined: tuple[Line, ...]


def measured(labels: Sequence[str], probabilities: Sequence[Sequence[float]], classes: Sequence[str]) -> Answers | None:
    """How the model answered photos whose truth is known; None where none shows a bicycle, or none a motorcycle."""
    kinds = {"bicycle": BICYCLE, "motorcycle": MOTORCYCLE}
    known = [index for index, label in enumerate(labels) if label in kinds]
    if {labels[index] for index in known} != set(kinds):
        return None
    table = np.array([probabilities[index] for index in known], dtype=np.float64)
    codes = np.array([kinds.get(name, UNSURE) for name in classes], dtype=np.intp)
    return Answers(
        truth=np.array([kinds[labels[index]] for index in known], dtype=np.intp),
        said=codes[table.argmax(axis=1)],
        confidence=table.max(axis=1),
    )


def imagined(accuracy: float) -> Answers:
    """A classifier of that accuracy whose confidence is honest: of its answers at 80%, 80% are right.

    Its evidence for the truth is normal, with a mean of half its variance: the one such family that is calibrated.
    """
    deviation = 2 * ndtri(accuracy)
    evidence = deviation**2 / 2 + deviation * ndtri((np.arange(_POOL) + 0.5) / _POOL)
    right = 1 / (1 + np.exp(-evidence))
    truth = np.repeat([BICYCLE, MOTORCYCLE], _POOL)
    said = np.where(np.tile(right >= 0.5, 2), truth, BICYCLE + MOTORCYCLE - truth)
    return Answers(truth, said, np.tile(np.maximum(right, 1 - right), 2))


def worth(found: Answers | None, trial: Trial, rules: Rules) -> Worth:
    """Play every day of *trial* under every way to see the couriers; the days and couriers are the same for all."""
    week = _Week.of(trial, rules)
    thresholds = sorted({*trial.thresholds, rules.sure_confidence})
    return Worth(
        trial=trial,
        perfect=week.line("perfect knowledge", 1, TRUST_ALL, week.truths),
        blind=week.line("no classifier", 0, TRUST_ALL, [np.full_like(truth, BLIND) for truth in week.truths]),
        measured=tuple(week.seen("this model", found, threshold) for threshold in thresholds) if found else (),
        reviewed=week.reviewed(found) if found else None,
        imagined=tuple(
            week.seen("imagined", imagined(accuracy), threshold)
            for threshold in trial.thresholds
            for accuracy in trial.accuracies
        ),
    )


@dataclass(frozen=True, slots=True)
class _Week:
    """The days that are played again and again, and the couriers' true vehicles on each."""

    seeds: Sequence[int]
    days: Sequence[Day]
    truths: Sequence[Ints]
    rules: Rules

    @classmethod
    def of(cls, trial: Trial, rules: Rules) -> "_Week":
        days = [Day.of(trial.city, seed) for seed in trial.seeds]
        return cls(trial.seeds, days, [np.tile(day.motorcycle.astype(np.intp), (SHIFTS, 1)) for day in days], rules)

    def seen(self, name: str, answers: Answers, threshold: float) -> Line:
        return self.line(name, answers.accuracy, threshold, self._beliefs(answers, threshold))

    def reviewed(self, answers: Answers) -> Line:
        threshold = self.rules.sure_confidence
        seen = self._beliefs(answers, threshold)
        known = [np.where(part == UNSURE, truth, part) for part, truth in zip(seen, self.truths, strict=True)]
        line = self.line("this model, the unsure looked at", answers.accuracy, threshold, known)
        return replace(line, unsure=_unsure(seen))

    def line(self, name: str, accuracy: float, threshold: float, beliefs: Sequence[Ints]) -> Line:
        outcomes = [play(day, believed, self.rules) for day, believed in zip(self.days, beliefs, strict=True)]
        return Line(
            name=name,
            accuracy=accuracy,
            threshold=threshold,
            unsure=_unsure(beliefs),
            on_time=_figure([item.on_time for item in outcomes]),
            minutes_late=_figure([item.minutes_late for item in outcomes]),
            km_per_order=_figure([item.km_per_order for item in outcomes]),
            cancelled=_figure([item.cancelled for item in outcomes]),
        )

    def _beliefs(self, answers: Answers, threshold: float) -> Sequence[Ints]:
        return [believe(answers, truth, threshold, seed) for truth, seed in zip(self.truths, self.seeds, strict=True)]


def believe(answers: Answers, truth: Ints, threshold: float, seed: int) -> Ints:
    """What the dispatcher believes of each courier, each shown by a photo of the same vehicle drawn from *answers*."""
    luck = np.random.default_rng(seed).random(truth.shape)
    believed = np.full_like(truth, UNSURE)
    for kind in (BICYCLE, MOTORCYCLE):
        photos = np.flatnonzero(answers.truth == kind)
        # The luckier the draw, the better the answer: two classifiers then differ by what they are, not by luck.
        right = np.where(answers.said[photos] == kind, 1, -1) * answers.confidence[photos]
        ranked = photos[np.argsort(right, kind="stable")]
        drawn = ranked[(luck[truth == kind] * len(ranked)).astype(np.intp)]
        sure = answers.confidence[drawn] >= threshold
        believed[truth == kind] = np.where(sure, answers.said[drawn], UNSURE)
    return believed


def _unsure(beliefs: Sequence[Ints]) -> float:
    return float(np.mean([believed == UNSURE for believed in beliefs]))


def _figure(values: Sequence[float]) -> Figure:
    return Figure(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0)
