"""Evaluation report: one model's evaluation as one HTML file that needs nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from scones.data.decode import decode, png
from scones.domain import VERSION
from scones.evaluation.evaluation import Evaluation, EvaluationPhoto, Predictions
from scones.evaluation.ood import SYNTHETIC, OodGroup, flat_and_noise
from scones.evaluation.robustness import CORRUPTIONS, SEVERITIES, CorruptionResult, corrupt
from scones.reports import charts
from scones.reports.theme import PhotoCard, choose_photos, class_colours, environment

_MAX_PHOTOS: Final = 16

ScoredPhotos = list[tuple[float, bytes]]
"""Out-of-distribution scores with their photos."""


def render_evaluation(
    evaluation: Evaluation, photos: Sequence[EvaluationPhoto], ood_photos: Sequence[EvaluationPhoto]
) -> str:
    """Render the report: inline styles, drawings and photos; no script, and nothing is fetched.

    *photos* are the test photos, in the order of the predictions; *ood_photos* those of other things.
    """
    classes = evaluation.model.classes
    cards = photo_cards(evaluation.predictions, classes, [photo.data for photo in photos])
    example = _example(evaluation, cards)
    return (
        environment()
        .get_template("evaluation.html.j2")
        .render(
            evaluation=evaluation,
            noun="photo" if evaluation.data.kind == "photos" else "drawing",
            classes=classes,
            scores=evaluation.metrics,
            threshold=evaluation.threshold,
            gallery=choose_photos(cards, classes, evaluation.metrics.threshold),
            example=png(example[0]),
            corruptions=_corruptions(evaluation, example),
            changed=_changed(evaluation, cards),
            ood_groups=list(_ood_groups(evaluation, ood_photos)),
            rejected=_rejected(evaluation, cards),
            charts=_charts(evaluation, cards),
            colour_of=class_colours(classes),
            created=datetime.now(UTC),
            version=VERSION,
        )
    )


def photo_cards(predictions: Predictions, classes: Sequence[str], photos: Sequence[bytes]) -> tuple[PhotoCard, ...]:
    """Put each of *photos*, in the order of *predictions*, beside its prediction."""
    rows = zip(photos, predictions.keys, predictions.labels, predictions.probabilities, strict=True)
    return tuple(
        PhotoCard(photo, PurePosixPath(key).name, label, classes[row.index(max(row))], max(row))
        for photo, key, label, row in rows
    )


def _charts(evaluation: Evaluation, cards: Sequence[PhotoCard]) -> Mapping[str, Markup | list[Markup]]:
    classes, current = len(evaluation.model.classes), evaluation.metrics.threshold
    proposed = evaluation.threshold.selection.best.threshold
    return {
        "confidence": charts.confidence_histogram(cards, current, classes),
        "reliability": charts.reliability_diagram(evaluation.reliability, evaluation.reliability_before, classes),
        "curve": charts.risk_coverage_curve(evaluation.curve, current, proposed),
        "costs": charts.cost_curve(evaluation.threshold),
        "load": [charts.load_chart(load) for load in evaluation.load],
    }


def _example(evaluation: Evaluation, cards: Sequence[PhotoCard]) -> NDArray[np.uint8]:
    """The photo that shows the corruptions, uint8 [1, H, W, 3] at the model's size: the most confident right one."""
    surest = max(cards, key=lambda card: (card.right, card.confidence))
    return decode(surest.photo, evaluation.model.photo_size)[None]


def _corruptions(
    evaluation: Evaluation, example: NDArray[np.uint8]
) -> list[tuple[str, list[tuple[CorruptionResult, bytes]]]]:
    """The results of each kind of corruption by severity, each with the corrupted example."""
    results = {(item.kind, item.severity): item for item in evaluation.robustness}
    seed = evaluation.threshold.terms.seed
    return [
        (kind, [(results[kind, level], png(corrupt(example, kind, level, seed)[0])) for level in SEVERITIES])
        for kind in CORRUPTIONS
        if results
    ]


def _ood_groups(
    evaluation: Evaluation, photos: Sequence[EvaluationPhoto]
) -> Iterator[tuple[OodGroup, ScoredPhotos, ScoredPhotos]]:
    """Each group with its accepted and its rejected images, the lowest score first."""
    if evaluation.ood is None:
        return
    data = {photo.key: photo.data for photo in photos}
    generated = flat_and_noise(evaluation.model.photo_size)
    for group in evaluation.ood.groups:
        scored = [
            (score, png(generated[int(key)]) if group.kind == SYNTHETIC else data[key])
            for score, key in sorted(zip(group.scores, group.keys, strict=True))
        ]
        accepted = [item for item in scored if item[0] <= evaluation.ood.threshold]
        rejected = scored[len(accepted) :]
        # Spread over all of them: the first alone would be the hardest.
        yield group, accepted[:_MAX_PHOTOS], rejected[:: -(-len(rejected) // _MAX_PHOTOS) or 1]


def _rejected(evaluation: Evaluation, cards: Sequence[PhotoCard]) -> tuple[PhotoCard, ...]:
    """The test photos that the out-of-distribution detector rejects."""
    if evaluation.ood is None:
        return ()
    scored = zip(evaluation.ood.scores, cards, strict=True)
    return tuple(card for score, card in scored if score > evaluation.ood.threshold)[:_MAX_PHOTOS]


def _changed(evaluation: Evaluation, cards: Sequence[PhotoCard]) -> tuple[tuple[PhotoCard, PhotoCard], ...]:
    """The photos that this model and the other classify differently, with both predictions."""
    if not evaluation.comparison:
        return ()
    by_key = dict(zip(evaluation.predictions.keys, cards, strict=True))
    pairs = ((by_key[item.name], item) for item in evaluation.comparison.changed[:_MAX_PHOTOS])
    return tuple(
        (card, PhotoCard(card.photo, card.name, item.truth, item.theirs, item.their_confidence)) for card, item in pairs
    )
