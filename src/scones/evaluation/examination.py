"""Examination: put every question to a model that a plan asks for, and gather what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scones.evaluation.comparison import Comparison, compare
from scones.evaluation.gate import Floors, check_floors, not_worse
from scones.evaluation.load import Bounds, Send, measure_load
from scones.evaluation.metrics import CannotEvaluate
from scones.evaluation.out_of_fold import Judged
from scones.evaluation.robustness import Ask, Damaged, Judge, measure_robustness
from scones.evaluation.study import Answers, DataFacts, ModelFacts, Study, study
from scones.evaluation.trial import Terms
from scones.photos.decode import decode

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Shown:
    """A test photo: its key, its true class and its bytes."""

    key: str
    label: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that can be asked; *out_of_fold* is None where its artefact tells nothing of such answers.

    *senders* are what can be put under load, each by its name.
    """

    facts: ModelFacts
    ask: Ask
    out_of_fold: Judged | None = None
    senders: tuple[tuple[str, Send], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to look at: the terms of the threshold, the floors, and what more is wanted."""

    terms: Terms
    floors: Floors
    robustness: bool = False
    against: Candidate | None = None
    load: Bounds | None = None


def examine(model: Candidate, data: DataFacts, photos: Sequence[Shown], plan: Plan, progress: Progress) -> Study:
    """Ask *model* about the test photos, and about whatever the plan adds.

    Raises:
        CannotEvaluate: there are no photos, or the model to compare with has other classes.
    """
    if not photos:
        raise CannotEvaluate("there are no test photos; name a folder that has some")
    answers = _answers(model, photos)
    found = study(model.facts, data, answers, model.out_of_fold, plan.terms)
    comparison = _compare(model, answers, photos, plan.against) if plan.against else None
    gate = check_floors(found.metrics, plan.floors)
    return replace(
        found,
        gate=(*gate, not_worse(comparison)) if comparison else gate,
        comparison=comparison,
        robustness=_robustness(model, photos, plan, progress) if plan.robustness else (),
        load=tuple(measure_load(name, send, plan.load, progress) for name, send in model.senders) if plan.load else (),
    )


def _answers(model: Candidate, photos: Sequence[Shown]) -> Answers:
    table = model.ask([photo.data for photo in photos])
    return Answers(
        keys=tuple(photo.key for photo in photos),
        labels=tuple(photo.label for photo in photos),
        probabilities=tuple(tuple(float(value) for value in row) for row in table),
    )


def _robustness(model: Candidate, photos: Sequence[Shown], plan: Plan, progress: Progress) -> tuple[Damaged, ...]:
    pixels = np.stack([decode(photo.data, model.facts.image_size) for photo in photos])
    judge = Judge(tuple(photo.label for photo in photos), model.facts.classes, plan.terms.current)
    return measure_robustness(model.ask, pixels, judge, plan.terms.seed, progress)


def _compare(model: Candidate, answers: Answers, photos: Sequence[Shown], other: Candidate) -> Comparison:
    if other.facts.classes != model.facts.classes:
        theirs, ours = ", ".join(other.facts.classes), ", ".join(model.facts.classes)
        raise CannotEvaluate(f"model {other.facts.name} tells {theirs} apart, not {ours}; compare models of one task")
    named = [(photo.key, photo.label) for photo in photos]
    probabilities = other.ask([photo.data for photo in photos])
    return compare(named, np.array(answers.probabilities), probabilities, model.facts.classes, other.facts.name)
