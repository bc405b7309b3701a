"""Challenge: the live model and a new one on the same photos: the frozen test set, fresh photos, and damaged ones."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scones.data.decode import png
from scones.domain.statistics import Interval, wilson_interval
from scones.evaluation.comparison import mcnemar
from scones.evaluation.evaluation import CannotEvaluate, EvaluationPhoto, ModelUnderTest
from scones.evaluation.gate import (
    GateCheck,
    PairedAnswers,
    SideEffects,
    check_challenger,
    check_side_effects,
    explain,
    require_same_classes,
)
from scones.evaluation.metrics import ClassificationMetrics, Floats, evaluate_predictions
from scones.evaluation.model_client import ModelOutput, Pixels, Progress, decode_photos
from scones.evaluation.ood import SYNTHETIC, OodEvaluation, evaluate_ood, flat_and_noise
from scones.evaluation.robustness import measure_robustness

MAX_DAMAGED: Final = 24
"""So many test photos are damaged in each way and strength; of more, these are spread evenly."""
MAX_GENERATED: Final = 60
"""So many images without content are shown to the out-of-distribution detectors."""


@dataclass(frozen=True, slots=True)
class PairedAccuracy:
    """The accuracy of both models on the same *n* photos; *p_value* is that of McNemar's exact test."""

    name: str
    n: int
    champion: float
    challenger: float
    only_champion: int
    only_challenger: int
    p_value: float

    def __str__(self) -> str:
        """One line for a person."""
        split = f"{self.only_challenger} only the new model has right, {self.only_champion} only the live one"
        return f"{self.name}: accuracy {self.champion:.1%} live, {self.challenger:.1%} new, n = {self.n} ({split})"


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """A challenger's answers to *n* recent photos beside those that the live model gave then; no one knows the truth.

    *disagreements* counts photos by both classes. A model routes those on which its confidence reaches the threshold.
    """

    n: int
    agree: int
    disagreements: Mapping[str, int]
    only_live_routes: int
    only_new_routes: int

    @property
    def interval(self) -> Interval:
        """The 95% interval of the share of photos on which they agree."""
        return wilson_interval(self.agree, self.n)

    def __str__(self) -> str:
        """One line for a person."""
        share = f"{self.agree / self.n:.1%} [{self.interval.low:.1%} to {self.interval.high:.1%}]"
        others = ", ".join(f"{count} {what}" for what, count in self.disagreements.items())
        routes = f"{self.only_live_routes} only the live one routes, {self.only_new_routes} only the new one"
        return f"shadow: the models agree on {share} of {self.n} recent photos ({others or 'none differs'}; {routes})"


def shadow(recorded: Floats, challenger: Floats, classes: Sequence[str], threshold: float) -> ShadowReport:
    """Compare the *recorded* probabilities [N, C] of the live model with the *challenger*'s for the same photos."""
    old, new = recorded.argmax(axis=1), challenger.argmax(axis=1)
    kinds = Counter(f"{classes[a]} -> {classes[b]}" for a, b in zip(old.tolist(), new.tolist(), strict=True) if a != b)
    routed, routes = recorded.max(axis=1) >= threshold, challenger.max(axis=1) >= threshold
    return ShadowReport(
        n=len(old),
        agree=int((old == new).sum()),
        disagreements=dict(kinds.most_common()),
        only_live_routes=int((routed & ~routes).sum()),
        only_new_routes=int((routes & ~routed).sum()),
    )


@dataclass(frozen=True, slots=True)
class ChallengeTerms:
    """What the gate asks of a challenger; it *must_be_better* on fresh photos where drift was found."""

    must_be_better: bool
    margin: float
    threshold: float
    seed: int


@dataclass(frozen=True, slots=True)
class Challenge:
    """The comparison of a challenger with the champion, and the gate's checks."""

    accuracies: tuple[PairedAccuracy, ...]
    champion: SideEffects
    challenger: SideEffects
    gate: tuple[GateCheck, ...]
    shadow: ShadowReport | None = None
    """None if no photo was captured since the live model's deployment."""

    def lines(self) -> tuple[str, ...]:
        """What was compared, a line each."""
        return (*map(str, self.accuracies), *([str(self.shadow)] if self.shadow else []))

    @property
    def passed(self) -> bool:
        """Whether the challenger may serve."""
        return bool(self.gate) and all(check.passed for check in self.gate)

    def reason(self) -> str:
        """Why it may serve or not, in one line."""
        return explain(self.gate) or "; ".join(map(str, self.accuracies))


def challenge(
    champion: ModelUnderTest,
    challenger: ModelUnderTest,
    photos: tuple[Sequence[EvaluationPhoto], Sequence[EvaluationPhoto]],
    terms: ChallengeTerms,
    progress: Progress,
) -> Challenge:
    """Compare the models on test *photos* and on fresh ones, of which there may be none.

    Raises:
        UnlikeModels: the models have other classes.
        CannotEvaluate: there are no test photos.
    """
    test, fresh = photos
    classes = champion.facts.classes
    require_same_classes(classes, challenger.facts.classes)
    if not test:
        raise CannotEvaluate("there are no test photos to compare the models on; run: scones stage")
    data = [photo.data for photo in test]
    old, new = champion.predict(data), challenger.predict(data)
    frozen = PairedAnswers([photo.label for photo in test], old.probabilities, new.probabilities)
    recent = _ask(champion, challenger, fresh) if fresh else None
    some = [test[place] for place in np.unique(np.linspace(0, len(test) - 1, min(len(test), MAX_DAMAGED)).astype(int))]
    pixels = decode_photos([photo.data for photo in some], champion.facts.photo_size)
    sides = [
        _side_effects(model, output, (pixels, [photo.label for photo in some]), terms, progress)
        for model, output in ((champion, old), (challenger, new))
    ]
    named = [("test photos", frozen), *([("fresh photos", recent)] if recent else [])]
    return Challenge(
        accuracies=tuple(paired_accuracy(name, answers, classes) for name, answers in named),
        champion=sides[0],
        challenger=sides[1],
        gate=(
            *check_challenger(frozen, recent, classes, must_be_better=terms.must_be_better, margin=terms.margin),
            *check_side_effects(sides[0], sides[1], terms.margin),
        ),
    )


def _ask(champion: ModelUnderTest, challenger: ModelUnderTest, photos: Sequence[EvaluationPhoto]) -> PairedAnswers:
    data = [photo.data for photo in photos]
    old, new = champion.predict(data).probabilities, challenger.predict(data).probabilities
    return PairedAnswers([photo.label for photo in photos], old, new)


def paired_accuracy(name: str, answers: PairedAnswers, classes: Sequence[str]) -> PairedAccuracy:
    """Count what each model has right."""
    old, new = answers.right(classes)
    only_old, only_new = int((old & ~new).sum()), int((new & ~old).sum())
    return PairedAccuracy(
        name=name,
        n=len(old),
        champion=float(old.mean()),
        challenger=float(new.mean()),
        only_champion=only_old,
        only_challenger=only_new,
        p_value=mcnemar(only_old, only_new),
    )


def _side_effects(
    model: ModelUnderTest,
    output: ModelOutput,
    damaged: tuple[Pixels, Sequence[str]],
    terms: ChallengeTerms,
    progress: Progress,
) -> SideEffects:
    pixels, labels = damaged

    def score(probabilities: Floats) -> ClassificationMetrics:
        return evaluate_predictions(labels, probabilities, model.facts.classes, terms.threshold)

    return SideEffects(
        robustness=measure_robustness(model.predict, pixels, score, terms.seed, progress),
        ood=_detector(model, output.ood_scores),
    )


def _detector(model: ModelUnderTest, scores: Floats | None) -> OodEvaluation | None:
    threshold = model.facts.ood_threshold
    if threshold is None or scores is None:
        return None
    images = flat_and_noise(model.facts.photo_size)[:MAX_GENERATED]
    found = model.predict([png(image) for image in images]).ood_scores
    keys = tuple(map(str, range(len(images))))
    return evaluate_ood(threshold, scores, {} if found is None else {SYNTHETIC: (keys, found)})
