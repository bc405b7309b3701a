"""Study report: one model's evaluation as one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from scones import __version__
from scones.data.decode import decode, png
from scones.evaluation.examination import Shown
from scones.evaluation.ood import NOTHING, Strangers, flat_and_noise
from scones.evaluation.robustness import CORRUPTIONS, SEVERITIES, Damaged, corrupt
from scones.evaluation.study import Study
from scones.reports import charts, evaluation_charts
from scones.reports.gallery import choose
from scones.reports.story import Answer
from scones.reports.theme import class_colours, environment

_MOST_CHANGED: Final = 16
_MOST_MET: Final = 16


@dataclass(frozen=True, slots=True)
class Damage:
    """One kind of damage as a row: the figures at each severity, each with a picture of it."""

    kind: str
    cells: tuple[tuple[Damaged, bytes], ...]


@dataclass(frozen=True, slots=True)
class Met:
    """One kind of strangers as rows of pictures, each with its score: those let through, and those refused.

    The most familiar come first in both; *hidden* counts those let through that were too many to show.
    """

    strangers: Strangers
    let_through: tuple[tuple[float, bytes], ...]
    refused: tuple[tuple[float, bytes], ...]
    hidden: int


def render_study(study: Study, photos: Sequence[Shown], others: Sequence[Shown], seed: int) -> str:
    """Render the report: inline styles, drawings and photos; no script, and nothing is fetched.

    *photos* are the test photos, in the order of the study's answers; *others* are the photos of other things.
    """
    answers = _story(study, photos)
    classes = study.model.classes
    example = _example(study, answers)
    return (
        environment()
        .get_template("study.html.j2")
        .render(
            study=study,
            data=study.model,
            noun="photo" if study.data.kind == "photos" else "drawing",
            scores=study.metrics,
            trial=study.threshold,
            gallery=choose(answers, classes, study.metrics.threshold),
            clean=png(example[0]),
            damages=_damages(study, example, seed),
            changed=_changed(study, answers),
            met=_met(study, others),
            turned_away=_turned_away(study, answers),
            charts=_charts(study, answers),
            colour_of=class_colours(classes),
            created=datetime.now(UTC),
            version=__version__,
        )
    )


def _story(study: Study, photos: Sequence[Shown]) -> tuple[Answer, ...]:
    classes = study.model.classes
    return tuple(
        Answer(
            photo=photo.data,
            name=PurePosixPath(photo.key).name,
            truth=photo.label,
            label=classes[row.index(max(row))],
            confidence=max(row),
        )
        for photo, row in zip(photos, study.answers.probabilities, strict=True)
    )


def _charts(study: Study, answers: Sequence[Answer]) -> Mapping[str, Markup | list[Markup]]:
    classes, current = len(study.model.classes), study.metrics.threshold
    return {
        "confidence": charts.confidence_histogram(answers, current, classes),
        "reliability": evaluation_charts.reliability_diagram(study.reliability, study.reliability_before, classes),
        "curve": evaluation_charts.risk_coverage_curve(study.curve, current, study.threshold.choice.best.threshold),
        "costs": evaluation_charts.cost_curve(study.threshold),
        "load": [evaluation_charts.load_chart(load) for load in study.load],
    }


def _example(study: Study, answers: Sequence[Answer]) -> NDArray[np.uint8]:
    """The photo to show damage on, uint8 [1, H, W, 3] at the model's size: the one that it is surest of."""
    surest = max(answers, key=lambda answer: (answer.right, answer.confidence))
    return decode(surest.photo, study.model.image_size)[None]


def _damages(study: Study, example: NDArray[np.uint8], seed: int) -> tuple[Damage, ...]:
    at = {(item.kind, item.severity): item for item in study.robustness}
    return tuple(
        Damage(kind, tuple((at[kind, level], png(corrupt(example, kind, level, seed)[0])) for level in SEVERITIES))
        for kind in CORRUPTIONS
        if at
    )


def _met(study: Study, others: Sequence[Shown]) -> tuple[Met, ...]:
    if study.guard is None:
        return ()
    of = {photo.key: photo.data for photo in others}
    made_up = flat_and_noise(study.model.image_size)
    rows = []
    for strangers in study.guard.strangers:
        order = sorted(zip(strangers.scores, strangers.keys, strict=True))
        seen = [(score, png(made_up[int(key)]) if strangers.kind == NOTHING else of[key]) for score, key in order]
        through = [item for item in seen if item[0] <= study.guard.limit]
        stopped = seen[len(through) :]
        # Spread over all of them: the first would be the hardest alone.
        shown = stopped[:: -(-len(stopped) // _MOST_MET) or 1]
        hidden = max(0, len(through) - _MOST_MET)
        rows.append(Met(strangers, tuple(through[:_MOST_MET]), tuple(shown), hidden))
    return tuple(rows)


def _turned_away(study: Study, answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """The test photos that the guard refuses."""
    if study.guard is None:
        return ()
    scored = zip(study.guard.scores, answers, strict=True)
    return tuple(answer for score, answer in scored if score > study.guard.limit)[:_MOST_MET]


def _changed(study: Study, answers: Sequence[Answer]) -> tuple[tuple[Answer, Answer], ...]:
    """What this model, and the other, said of the photos that they differ on."""
    if not study.comparison:
        return ()
    of = dict(zip(study.answers.keys, answers, strict=True))
    return tuple(
        (
            of[item.name],
            Answer(of[item.name].photo, of[item.name].name, item.truth, item.theirs, item.their_confidence),
        )
        for item in study.comparison.changed[:_MOST_CHANGED]
    )
