"""Business value: orders on time in simulated days with this model, with better and worse ones, and without one."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri

from scones.dispatch.assignment import Floats, Ints
from scones.dispatch.orders import Rules
from scones.dispatch.simulation import BICYCLE, BLIND, MOTORCYCLE, SHIFTS, UNSURE, City, Day, play

_POOL = 1000
NO_THRESHOLD = 0.5
"""No prediction between two vehicles has a lower confidence."""


@dataclass(frozen=True, slots=True)
class ClassifierBehaviour:
    """A classifier's predictions for photos of each vehicle, with their confidence; one entry for each photo."""

    truth: Ints
    predicted: Ints
    confidence: Floats

    @property
    def accuracy(self) -> float:
        """The share of photos that it classifies correctly."""
        return float(np.mean(self.predicted == self.truth))


@dataclass(frozen=True, slots=True)
class ValueSimulation:
    """The simulated days: *accuracies* of hypothetical classifiers, each at all *thresholds*, a day for each seed."""

    city: City = field(default_factory=City)
    seeds: tuple[int, ...] = (0, 1, 2)
    accuracies: tuple[float, ...] = (0.7, 0.85, 0.97)
    thresholds: tuple[float, ...] = (NO_THRESHOLD, 0.8, 0.95)


@dataclass(frozen=True, slots=True)
class DailyFigure:
    """The mean of a figure over several days, and its standard deviation between days."""

    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class DispatchScenario:
    """The results for one classifier and threshold; *unsure* is the share of photos below the threshold."""

    name: str
    accuracy: float
    threshold: float
    unsure: float
    on_time: DailyFigure
    minutes_late: DailyFigure
    km_per_order: DailyFigure
    cancelled: DailyFigure


@dataclass(frozen=True, slots=True)
class BusinessValue:
    """The scenarios: perfect knowledge, no classifier, this model at each threshold, and hypothetical classifiers."""

    trial: ValueSimulation
    perfect: DispatchScenario
    blind: DispatchScenario
    measured: tuple[DispatchScenario, ...]
    reviewed: DispatchScenario | None
    """This model at the workflow's threshold, if a person reviews every photo below it."""
    hypothetical: tuple[DispatchScenario, ...]


def measured_classifier(
    labels: Sequence[str], probabilities: Sequence[Sequence[float]], classes: Sequence[str]
) -> ClassifierBehaviour | None:
    """The model's predictions for labelled photos; None where none shows a bicycle, or none a motorcycle."""
    kinds = {"bicycle": BICYCLE, "motorcycle": MOTORCYCLE}
    known = [index for index, label in enumerate(labels) if label in kinds]
    if {labels[index] for index in known} != set(kinds):
        return None
    table = np.array([probabilities[index] for index in known], dtype=np.float64)
    codes = np.array([kinds.get(name, UNSURE) for name in classes], dtype=np.intp)
    return ClassifierBehaviour(
        truth=np.array([kinds[labels[index]] for index in known], dtype=np.intp),
        predicted=codes[table.argmax(axis=1)],
        confidence=table.max(axis=1),
    )


def hypothetical_classifier(accuracy: float) -> ClassifierBehaviour:
    """A perfectly calibrated classifier of this accuracy: of its predictions at 80% confidence, 80% are right.

    Its evidence for the truth is normal, with a mean of half its variance: the one such family that is calibrated.
    """
    deviation = 2 * ndtri(accuracy)
    evidence = deviation**2 / 2 + deviation * ndtri((np.arange(_POOL) + 0.5) / _POOL)
    right = 1 / (1 + np.exp(-evidence))
    truth = np.repeat([BICYCLE, MOTORCYCLE], _POOL)
    predicted = np.where(np.tile(right >= 0.5, 2), truth, BICYCLE + MOTORCYCLE - truth)
    return ClassifierBehaviour(truth, predicted, np.tile(np.maximum(right, 1 - right), 2))


def simulate_business_value(
    found: ClassifierBehaviour | None, trial: ValueSimulation, rules: Rules, threshold: float
) -> BusinessValue:
    """Simulate every day of *trial* in each scenario, *threshold* being the workflow's.

    The days and couriers are the same in all scenarios.
    """
    week = _Week.of(trial, rules)
    thresholds = sorted({*trial.thresholds, threshold})
    return BusinessValue(
        trial=trial,
        perfect=week.line("perfect knowledge", 1, NO_THRESHOLD, week.truths),
        blind=week.line("no classifier", 0, NO_THRESHOLD, [np.full_like(truth, BLIND) for truth in week.truths]),
        measured=tuple(week.seen("this model", found, each) for each in thresholds) if found else (),
        reviewed=week.reviewed(found, threshold) if found else None,
        hypothetical=tuple(
            week.seen("hypothetical", hypothetical_classifier(accuracy), each)
            for each in trial.thresholds
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
    def of(cls, trial: ValueSimulation, rules: Rules) -> "_Week":
        days = [Day.of(trial.city, seed) for seed in trial.seeds]
        return cls(trial.seeds, days, [np.tile(day.motorcycle.astype(np.intp), (SHIFTS, 1)) for day in days], rules)

    def seen(self, name: str, behaviour: ClassifierBehaviour, threshold: float) -> DispatchScenario:
        return self.line(name, behaviour.accuracy, threshold, self._beliefs(behaviour, threshold))

    def reviewed(self, behaviour: ClassifierBehaviour, threshold: float) -> DispatchScenario:
        seen = self._beliefs(behaviour, threshold)
        known = [np.where(part == UNSURE, truth, part) for part, truth in zip(seen, self.truths, strict=True)]
        line = self.line("this model, unsure photos reviewed", behaviour.accuracy, threshold, known)
        return replace(line, unsure=_unsure(seen))

    def line(self, name: str, accuracy: float, threshold: float, beliefs: Sequence[Ints]) -> DispatchScenario:
        outcomes = [play(day, believed, self.rules) for day, believed in zip(self.days, beliefs, strict=True)]
        return DispatchScenario(
            name=name,
            accuracy=accuracy,
            threshold=threshold,
            unsure=_unsure(beliefs),
            on_time=_figure([item.on_time for item in outcomes]),
            minutes_late=_figure([item.minutes_late for item in outcomes]),
            km_per_order=_figure([item.km_per_order for item in outcomes]),
            cancelled=_figure([item.cancelled for item in outcomes]),
        )

    def _beliefs(self, behaviour: ClassifierBehaviour, threshold: float) -> Sequence[Ints]:
        return [believe(behaviour, truth, threshold, seed) for truth, seed in zip(self.truths, self.seeds, strict=True)]


def believe(behaviour: ClassifierBehaviour, truth: Ints, threshold: float, seed: int) -> Ints:
    """The vehicle that the dispatcher assumes for each courier, by a photo of the same vehicle drawn at random."""
    luck = np.random.default_rng(seed).random(truth.shape)
    believed = np.full_like(truth, UNSURE)
    for kind in (BICYCLE, MOTORCYCLE):
        photos = np.flatnonzero(behaviour.truth == kind)
        # The same draws for all classifiers, so that they differ by their quality and not by luck.
        right = np.where(behaviour.predicted[photos] == kind, 1, -1) * behaviour.confidence[photos]
        ranked = photos[np.argsort(right, kind="stable")]
        drawn = ranked[(luck[truth == kind] * len(ranked)).astype(np.intp)]
        sure = behaviour.confidence[drawn] >= threshold
        believed[truth == kind] = np.where(sure, behaviour.predicted[drawn], UNSURE)
    return believed


def _unsure(beliefs: Sequence[Ints]) -> float:
    return float(np.mean([believed == UNSURE for believed in beliefs]))


def _figure(values: Sequence[float]) -> DailyFigure:
    return DailyFigure(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0)
