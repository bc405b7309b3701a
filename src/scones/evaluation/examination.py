"""Examination: put every question to a model that a plan asks for, and gather what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scones.data.decode import png
from scones.domain.errors import SconesError
from scones.evaluation.comparison import Comparison, compare
from scones.evaluation.gate import Floors, check_floors, not_worse
from scones.evaluation.int8_comparison import Pair, WholeNumbers, compare_int8
from scones.evaluation.load_test import Bounds, Send, measure_load
from scones.evaluation.model_client import Ask, Floats, decoded
from scones.evaluation.ood import NOTHING, Guarding, flat_and_noise, judge_guard
from scones.evaluation.robustness import Damaged, Judge, measure_robustness
from scones.evaluation.study import Answers, DataFacts, ModelFacts, Study, study
from scones.evaluation.thresholds import Terms
from scones.model.out_of_fold import ScoredPredictions, label_columns

Progress = Callable[[int, int, str], None]


class CannotEvaluate(SconesError):
    """The model cannot be evaluated as requested."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A test photo: its key, its true class and its bytes."""

    key: str
    label: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that can be asked; *out_of_fold* is None where its model file tells nothing of such answers.

    *senders* are what can be put under load, each by its name. *pair* is None where there is no int8 model.
    """

    facts: ModelFacts
    ask: Ask
    out_of_fold: ScoredPredictions | None = None
    senders: tuple[tuple[str, Send], ...] = ()
    pair: Pair | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to look at: the terms of the threshold, the floors, and what more is wanted.

    *others* are photos that show none of the classes, by which the guard is judged beside made-up pictures.
    """

    terms: Terms
    floors: Floors
    robustness: bool = False
    against: Candidate | None = None
    load: Bounds | None = None
    others: tuple[Shown, ...] = ()


def examine(model: Candidate, data: DataFacts, photos: Sequence[Shown], plan: Plan, progress: Progress) -> Study:
    """Ask *model* about the test photos, and about whatever the plan adds.

    Raises:
        CannotEvaluate: there are no photos, or the model to compare with has other classes.
    """
    if not photos:
        raise CannotEvaluate("there are no test photos; name a folder that has some")
    said = model.ask([photo.data for photo in photos])
    answers = _answers(said.probabilities, photos)
    found = study(model.facts, data, answers, model.out_of_fold, plan.terms)
    comparison = _compare(model, answers, photos, plan.against) if plan.against else None
    gate = check_floors(found.metrics, plan.floors)
    return replace(
        found,
        gate=(*gate, not_worse(comparison)) if comparison else gate,
        guard=_guard(model, said.unfamiliarity, plan.others),
        int8=_int8(model, answers, photos),
        comparison=comparison,
        robustness=_robustness(model, photos, plan, progress) if plan.robustness else (),
        load=tuple(measure_load(name, send, plan.load, progress) for name, send in model.senders) if plan.load else (),
    )


def _answers(table: Floats, photos: Sequence[Shown]) -> Answers:
    return Answers(
        keys=tuple(photo.key for photo in photos),
        labels=tuple(photo.label for photo in photos),
        probabilities=tuple(tuple(float(value) for value in row) for row in table),
    )


def _guard(model: Candidate, known: Floats | None, others: Sequence[Shown]) -> Guarding | None:
    limit = model.facts.unfamiliar_above
    if limit is None or known is None:
        return None
    made_up = [png(picture) for picture in flat_and_noise(model.facts.image_size)]
    groups = {NOTHING: [Shown(str(number), "", picture) for number, picture in enumerate(made_up)]}
    if others:
        groups["other things"] = list(others)
    strangers = {}
    for kind, group in groups.items():
        scores = model.ask([picture.data for picture in group]).unfamiliarity
        if scores is not None:
            strangers[kind] = tuple(picture.key for picture in group), scores
    return judge_guard(limit, known, strangers)


def _int8(model: Candidate, answers: Answers, photos: Sequence[Shown]) -> WholeNumbers | None:
    if model.pair is None:
        return None
    pixels = decoded([photo.data for photo in photos], model.facts.image_size)
    table = np.array(answers.probabilities)
    truth = label_columns(answers.labels, table, model.facts.classes)
    return compare_int8(model.pair, pixels, truth, len(model.facts.classes))


def _robustness(model: Candidate, photos: Sequence[Shown], plan: Plan, progress: Progress) -> tuple[Damaged, ...]:
    pixels = decoded([photo.data for photo in photos], model.facts.image_size)
    judge = Judge(tuple(photo.label for photo in photos), model.facts.classes, plan.terms.current)
    return measure_robustness(model.ask, pixels, judge, plan.terms.seed, progress)


def _compare(model: Candidate, answers: Answers, photos: Sequence[Shown], other: Candidate) -> Comparison:
    if other.facts.classes != model.facts.classes:
        theirs, ours = ", ".join(other.facts.classes), ", ".join(model.facts.classes)
        raise CannotEvaluate(f"model {other.facts.name} tells {theirs} apart, not {ours}; compare models of one task")
    named = [(photo.key, photo.label) for photo in photos]
    probabilities = other.ask([photo.data for photo in photos]).probabilities
    return compare(named, np.array(answers.probabilities), probabilities, model.facts.classes, other.facts.name)
