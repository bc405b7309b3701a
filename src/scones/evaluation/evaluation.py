"""Evaluation: everything that is measured about one model on labelled test photos."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scones.data.dataset import NO_NEW_SOURCE, ONE_SOURCE
from scones.data.decode import png
from scones.data.image_header import UnreadablePhoto
from scones.domain.errors import EvaluationError, SconesError, raise_as
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.statistics import Interval, wilson_interval
from scones.evaluation.comparison import Comparison, compare
from scones.evaluation.gate import GateCheck, GateRequirements, check_not_worse, check_requirements
from scones.evaluation.metrics import (
    ClassificationMetrics,
    Flags,
    ReliabilityBin,
    RiskCoveragePoint,
    accuracy_at,
    calibration_error,
    error_by_chance,
    evaluate_predictions,
    reliability_bins,
    risk_coverage,
    thin_curve,
    undo_temperature,
)
from scones.evaluation.model_client import (
    Floats,
    LoadLimits,
    LoadResult,
    Pixels,
    Predict,
    Send,
    decode_photos,
    measure_load,
)
from scones.evaluation.ood import SYNTHETIC, OodEvaluation, evaluate_ood, flat_and_noise
from scones.evaluation.robustness import CorruptionResult, measure_robustness
from scones.evaluation.thresholds import (
    ThresholdEvaluation,
    ThresholdTerms,
    evaluate_threshold,
    evaluate_threshold_on_halves,
)
from scones.model.model_file import ModelFile
from scones.model.out_of_fold import OutOfFoldPredictions, ScoredPredictions, SourceAnswers, label_columns

_COVERAGE = 0.9
OTHER_THINGS = "other things"
"""The name of the out-of-distribution photos that the user provides."""

Progress = Callable[[int, int, str], None]


class CannotEvaluate(EvaluationError):
    """The model cannot be evaluated as requested."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The evaluated model, as its file describes it; *name* says where it is."""

    name: str
    version: str
    data_version: str
    created: str
    temperature: float
    photo_size: int
    """The side of its training photos, at which photos are corrupted."""
    classes: tuple[str, ...]
    ood_threshold: float | None = None
    """Photos with a higher out-of-distribution score are rejected; None for a model without a detector."""

    @classmethod
    def of(cls, model_file: ModelFile, name: str) -> "ModelFacts":
        """Read them from a model file."""
        return cls(
            name=name,
            version=model_file.version,
            data_version=model_file.data_version,
            created=model_file.created,
            temperature=model_file.temperature,
            photo_size=model_file.photo_size,
            classes=model_file.classes,
            ood_threshold=model_file.unfamiliar_above,
        )


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The test photos; *kind* is `rendered` where Scones drew them itself."""

    name: str
    kind: str
    photos: int


@dataclass(frozen=True, slots=True)
class EvaluationPhoto:
    """A test photo: its key, its true class, its bytes, and the source that it comes from, "" where unknown."""

    key: str
    label: str
    data: bytes
    source: str = ""


@dataclass(frozen=True, slots=True)
class Predictions:
    """The *probabilities* [N, C] that the model gave photos whose *labels* are known; *keys* identify the photos."""

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class SampleAccuracy:
    """The accuracy on *n* photos, with its 95% interval (Wilson)."""

    n: int
    accuracy: float
    interval: Interval

    @classmethod
    def of(cls, right: Flags) -> "SampleAccuracy":
        """Count the right predictions, of which there is one or more."""
        return cls(len(right), float(right.mean()), wilson_interval(int(right.sum()), len(right)))


@dataclass(frozen=True, slots=True)
class SourceAccuracy:
    """The accuracy on one source: on its *test* photos, and on its training photos when it is *left_out* of training.

    None where it has no such photos, or cannot be left out.
    """

    source: str
    test: SampleAccuracy | None
    left_out: SampleAccuracy | None


@dataclass(frozen=True, slots=True)
class Evaluation(StepResult):
    """All measurements of one model; parts that were not requested, or do not apply to it, are None or empty.

    *ece_before* is the calibration error without the model's temperature, *ece_by_chance* that which a perfectly
    calibrated model would show on as many photos. *accuracy_at_90* is the accuracy among the 90% of photos with the
    highest confidence. *curve* is thinned for charts. *report* is the page's path. *out_of_fold* is the accuracy by
    cross-validation, *new_source* that on sources left out of training, *by_source* that on each source.
    """

    TABLE = "predictions"
    FIGURE = ("threshold.selection.curve", "threshold", "dollars_per_1000")

    model: ModelFacts
    data: DataFacts
    metrics: ClassificationMetrics
    ece_before: float
    ece_by_chance: float
    accuracy_at_90: float
    threshold: ThresholdEvaluation
    reliability: tuple[ReliabilityBin, ...]
    reliability_before: tuple[ReliabilityBin, ...]
    curve: tuple[RiskCoveragePoint, ...]
    predictions: Predictions
    gate: tuple[GateCheck, ...]
    out_of_fold: SampleAccuracy | None = None
    new_source: SampleAccuracy | None = None
    by_source: tuple[SourceAccuracy, ...] = ()
    warnings: tuple[str, ...] = ()
    """What these figures do not show."""
    ood: OodEvaluation | None = None
    robustness: tuple[CorruptionResult, ...] = ()
    comparison: Comparison | None = None
    load: tuple[LoadResult, ...] = ()
    report: str = ""


@dataclass(frozen=True, slots=True)
class ModelUnderTest:
    """A model that can be called; *out_of_fold* and *by_source* are None where its file keeps no such predictions.

    *load_targets* are what can be put under load, each with its name.
    """

    facts: ModelFacts
    predict: Predict
    out_of_fold: ScoredPredictions | None = None
    by_source: SourceAnswers | None = None
    load_targets: tuple[tuple[str, Send], ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What to measure: the costs and target for the threshold, the gate's requirements, and the optional parts.

    *ood_photos* show none of the classes; the out-of-distribution detector is tested on them and on generated images.
    """

    terms: ThresholdTerms
    requirements: GateRequirements
    ood: bool = False
    ood_photos: tuple[EvaluationPhoto, ...] = ()
    robustness: bool = False
    against: ModelUnderTest | None = None
    load: LoadLimits | None = None


def evaluate_model(
    model: ModelUnderTest,
    data: DataFacts,
    photos: Sequence[EvaluationPhoto],
    plan: EvaluationPlan,
    progress: Progress,
) -> Evaluation:
    """Classify the test photos with *model*, and measure what the plan asks for.

    Raises:
        CannotEvaluate: there are no photos, or the model to compare with has other classes.
    """
    if not photos:
        raise CannotEvaluate("there are no test photos; name a folder that has some")
    output = model.predict([photo.data for photo in photos])
    result = _from_predictions(model, data, photos, output.probabilities, plan.terms)
    comparison = _compare(model, output.probabilities, photos, plan.against) if plan.against else None
    new_source = result.new_source.interval if result.new_source else None
    gate = check_requirements(result.metrics, plan.requirements, new_source)
    return replace(
        result,
        gate=(*gate, check_not_worse(comparison)) if comparison else gate,
        ood=_evaluate_ood(model, output.ood_scores, plan.ood_photos) if plan.ood else None,
        comparison=comparison,
        robustness=_robustness(model, photos, plan, progress) if plan.robustness else (),
        load=tuple(measure_load(name, send, plan.load, progress) for name, send in model.load_targets)
        if plan.load
        else (),
    )


def load_out_of_fold(model_file: ModelFile, report: Reporter) -> OutOfFoldPredictions | None:
    """Read the out-of-fold predictions of a model file, or say what follows where it has none."""
    known = OutOfFoldPredictions.kept(model_file)
    if known is None:
        report.tell(
            "this model file has no out-of-fold predictions: the threshold is chosen on half of the test photos,"
        )
        report.tell("and test photos that the model was trained on cannot be excluded; train again to have both")
    return known


def exclude_unreadable_photos(
    photos: Sequence[EvaluationPhoto], read: Callable[[bytes], object], report: Reporter
) -> tuple[EvaluationPhoto, ...]:
    """Leave out the photos that *read* refuses, as the model would, and say which and why."""

    def usable(photo: EvaluationPhoto) -> bool:
        try:
            with raise_as(UnreadablePhoto):
                read(photo.data)
        except SconesError as error:
            report.tell(f"{photo.key} is left out: it {str(error).removeprefix('the photo ')}")
            return False
        return True

    return tuple(photo for photo in photos if usable(photo))


def exclude_training_photos(
    known: OutOfFoldPredictions | None, photos: Sequence[EvaluationPhoto], size: int, report: Reporter
) -> tuple[EvaluationPhoto, ...]:
    """Leave out the photos that the model was trained on, and say how many.

    Raises:
        CannotEvaluate: none is left.
    """
    if known is None or not photos:
        return tuple(photos)
    trained = known.learnt_from(decode_photos([photo.data for photo in photos], size))
    if trained.any():
        report.tell(f"{trained.sum()} of {len(photos)} test photos are left out: the model was trained on them")
    if trained.all():
        raise CannotEvaluate("the model was trained on every one of these test photos; evaluate it on others")
    return tuple(photo for photo, excluded in zip(photos, trained, strict=True) if not excluded)


def _from_predictions(
    model: ModelUnderTest,
    data: DataFacts,
    photos: Sequence[EvaluationPhoto],
    probabilities: Floats,
    terms: ThresholdTerms,
) -> Evaluation:
    """Everything that needs no further call to the model.

    The threshold is chosen on the out-of-fold predictions; without them, on halves of the test photos.
    """
    labels = tuple(photo.label for photo in photos)
    truth = label_columns(labels, probabilities, model.facts.classes)
    right, confidence = probabilities.argmax(axis=1) == truth, probabilities.max(axis=1)
    uncalibrated = undo_temperature(probabilities, model.facts.temperature).max(axis=1)
    curve = risk_coverage(right, confidence)
    return Evaluation(
        model=model.facts,
        data=data,
        metrics=evaluate_predictions(labels, probabilities, model.facts.classes, terms.current),
        ece_before=calibration_error(right, uncalibrated),
        ece_by_chance=error_by_chance(confidence, terms.seed),
        accuracy_at_90=accuracy_at(_COVERAGE, curve),
        threshold=_threshold(model.out_of_fold, ScoredPredictions(right, confidence), terms),
        reliability=reliability_bins(right, confidence),
        reliability_before=reliability_bins(right, uncalibrated),
        curve=thin_curve(curve),
        predictions=Predictions(
            keys=tuple(photo.key for photo in photos),
            labels=labels,
            probabilities=tuple(tuple(row) for row in probabilities.tolist()),
        ),
        gate=(),
        out_of_fold=SampleAccuracy.of(model.out_of_fold.right) if model.out_of_fold else None,
        new_source=_estimate(model.by_source.right) if model.by_source else None,
        by_source=_by_source(model.by_source, [photo.source for photo in photos], right),
        warnings=_warnings(model.by_source),
    )


def _estimate(right: Flags) -> SampleAccuracy | None:
    return SampleAccuracy.of(right) if len(right) else None


def _by_source(known: SourceAnswers | None, sources: Sequence[str], right: Flags) -> tuple[SourceAccuracy, ...]:
    """The accuracy on each source, the largest first; nothing where there is but one."""
    tested, trained = np.array(sources, np.str_), np.array(known.sources if known else (), np.str_)
    counts = Counter([*tested.tolist(), *trained.tolist()])
    if len(counts) < 2:
        return ()
    left_out = known.right if known else np.zeros(0, np.bool_)
    return tuple(
        SourceAccuracy(source, _estimate(right[tested == source]), _estimate(left_out[trained == source]))
        for source, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _warnings(known: SourceAnswers | None) -> tuple[str, ...]:
    if known is None:
        return ("the model file does not say how the model does on photos of a new source",)
    if known.count < 2:
        return (ONE_SOURCE,)
    return () if len(known.right) else (NO_NEW_SOURCE,)


def _threshold(known: ScoredPredictions | None, test: ScoredPredictions, terms: ThresholdTerms) -> ThresholdEvaluation:
    return evaluate_threshold(known, test, terms) if known else evaluate_threshold_on_halves(test, terms)


def _evaluate_ood(
    model: ModelUnderTest, scores: Floats | None, photos: Sequence[EvaluationPhoto]
) -> OodEvaluation | None:
    threshold = model.facts.ood_threshold
    if threshold is None or scores is None:
        return None
    generated = [png(image) for image in flat_and_noise(model.facts.photo_size)]
    groups = {SYNTHETIC: [EvaluationPhoto(str(number), "", image) for number, image in enumerate(generated)]}
    if photos:
        groups[OTHER_THINGS] = list(photos)
    ood_scores = {}
    for kind, group in groups.items():
        found = model.predict([photo.data for photo in group]).ood_scores
        if found is not None:
            ood_scores[kind] = tuple(photo.key for photo in group), found
    return evaluate_ood(threshold, scores, ood_scores)


def _pixels(model: ModelUnderTest, photos: Sequence[EvaluationPhoto]) -> Pixels:
    return decode_photos([photo.data for photo in photos], model.facts.photo_size)


def _robustness(
    model: ModelUnderTest, photos: Sequence[EvaluationPhoto], plan: EvaluationPlan, progress: Progress
) -> tuple[CorruptionResult, ...]:
    labels = [photo.label for photo in photos]

    def score(probabilities: Floats) -> ClassificationMetrics:
        return evaluate_predictions(labels, probabilities, model.facts.classes, plan.terms.current)

    return measure_robustness(model.predict, _pixels(model, photos), score, plan.terms.seed, progress)


def _compare(
    model: ModelUnderTest, probabilities: Floats, photos: Sequence[EvaluationPhoto], other: ModelUnderTest
) -> Comparison:
    if other.facts.classes != model.facts.classes:
        theirs, ours = ", ".join(other.facts.classes), ", ".join(model.facts.classes)
        raise CannotEvaluate(
            f"model {other.facts.name} has the classes {theirs}, not {ours}; compare models of one task"
        )
    named = [(photo.key, photo.label) for photo in photos]
    other_probabilities = other.predict([photo.data for photo in photos]).probabilities
    return compare(named, probabilities, other_probabilities, model.facts.classes, other.facts.name)
