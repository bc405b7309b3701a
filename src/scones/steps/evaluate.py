"""Evaluate: measure a deployed model, or one in a file, on labelled test photos, and write a report."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

import msgspec

from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.data.dataset import Dataset, Sample, path_of
from scones.data.decode import decode
from scones.data.image_header import UnreadablePhoto
from scones.data.loading import load_configured_dataset, load_ood_images
from scones.domain.decision import Outcome, outcome_of_error
from scones.domain.errors import require_writable
from scones.domain.naming import evaluation_id
from scones.domain.progress import Reporter, fold
from scones.evaluation.evaluation import (
    CannotEvaluate,
    DataFacts,
    Evaluation,
    EvaluationPhoto,
    EvaluationPlan,
    ModelFacts,
    ModelUnderTest,
    evaluate_model,
    exclude_training_photos,
    exclude_unreadable_photos,
    load_out_of_fold,
)
from scones.evaluation.gate import GateRequirements
from scones.evaluation.model_client import LoadLimits, Send, endpoint_predictor, model_predictor
from scones.evaluation.thresholds import Costs, RiskTarget, ThresholdTerms
from scones.model.inference import Model
from scones.model.model_file import ModelFile, open_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.serving.image_input import read_photos
from scones.serving.options import Limits

__all__ = ["DeployedModel", "Evaluation", "EvaluationOptions", "LocalModel", "evaluate", "evaluate_file"]

_LOAD_TEST = evaluation_id("load")


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to measure beyond the predictions for the test photos, and where to write the report, if anywhere.

    *ood* applies where the model has a detector. *unfamiliar* says where photos of other things come from, for it;
    *against* is another model file. With *gate* the result decides on approval; its
    requirements are always checked.
    """

    report: Path | None = None
    ood: bool = False
    robustness: bool = False
    load: bool = False
    against: int | str | PathLike[str] | None = None
    gate: bool = False
    unfamiliar: str | None = None


@dataclass(frozen=True, slots=True)
class DeployedModel:
    """An endpoint, the model file that it serves, the workflow in front of it, and the staged photos."""

    aws: Aws
    endpoint: str
    model_uri: str
    workflow_arn: str
    samples: tuple[Sample, ...]
    data_name: str
    data_kind: str


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model file on this machine, a `model.tar.gz` or its folder, and the photos whose test split it is tested on."""

    path: Path
    collection: Dataset


def evaluate(
    target: DeployedModel | LocalModel, settings: Settings, options: EvaluationOptions, report: Reporter
) -> Evaluation:
    """Evaluate the model on the test photos that it was not trained on; monitoring ignores these requests.

    Raises:
        AwsError: the endpoint rejected a photo.
        InvalidModelFile: the model file cannot be read.
        CannotEvaluate: no test photos are left, or a load test of a model file was requested.
        SourceError: there are no photos of other things at the given place.
    """
    if options.report:
        require_writable(options.report, ".json")
    model, data, photos = (
        _deployed(target, settings, report) if isinstance(target, DeployedModel) else _local(target, options, report)
    )
    plan = _plan(settings, options, model.facts.classes, report)
    result = evaluate_model(model, data, photos, plan, report.progress)
    if options.report:
        result = replace(result, report=str(options.report.absolute()))
        _write(options.report, result, photos, plan, report)
    return result


def evaluate_file(path: Path, settings: Settings, options: EvaluationOptions, report: Reporter) -> Evaluation:
    """Evaluate the model file at *path* on the photos that the settings name, without an endpoint or AWS.

    Raises:
        as `evaluate` does.
    """
    with open_model_file(path) as model_file:
        settings = replace(settings, classes=model_file.classes)
    collection = load_configured_dataset(settings, report)
    for line in fold(collection.warnings):
        report.tell(line)
    return evaluate(LocalModel(path, collection), settings, options, report)


def _deployed(
    target: DeployedModel, settings: Settings, report: Reporter
) -> tuple[ModelUnderTest, DataFacts, tuple[EvaluationPhoto, ...]]:
    aws, endpoint = target.aws, target.endpoint
    test = [sample for sample in target.samples if sample.split == "test"]
    bodies = aws.bucket.get_all([sample.key for sample in test])
    photos = tuple(EvaluationPhoto(it.key, it.label, body, it.source) for it, body in zip(test, bodies, strict=True))
    with open_model_file(aws.bucket.get(aws.bucket.key(target.model_uri))) as model_file:
        known = load_out_of_fold(model_file, report)
        photos = exclude_unreadable_photos(photos, partial(_read, size=model_file.image_size), report)
        photos = exclude_training_photos(known, photos, model_file.photo_size, report)
        model = ModelUnderTest(
            facts=ModelFacts.of(model_file, f"endpoint {endpoint}"),
            predict=endpoint_predictor(aws.sagemaker.explain, endpoint, settings.clients, report.progress),
            out_of_fold=known.scored() if known else None,
            by_source=known.by_source() if known else None,
            load_targets=(
                ("endpoint", _endpoint_load(aws, endpoint, photos)),
                ("workflow", _workflow_load(aws, target.workflow_arn, test)),
            ),
        )
    return model, DataFacts(target.data_name, target.data_kind, len(photos)), photos


def _read(photo: bytes, size: int) -> None:
    """Raises what the endpoint refuses a photo for."""
    limits = Limits()
    if len(photo) > limits.body_bytes:
        raise UnreadablePhoto(f"has {len(photo):,} bytes; the limit is {limits.body_bytes:,}")
    read_photos(b"application/x-image", photo, size, limits)


def _local(
    target: LocalModel, options: EvaluationOptions, report: Reporter
) -> tuple[ModelUnderTest, DataFacts, tuple[EvaluationPhoto, ...]]:
    if options.load:
        raise CannotEvaluate("only an endpoint can be load-tested, not a model file; leave out --load or --model")
    test = [photo for photo in target.collection.photos if photo.split == "test"]
    photos = tuple(EvaluationPhoto(path_of(photo), photo.label, photo.data, photo.source) for photo in test)
    with open_model_file(target.path) as model_file:
        known = load_out_of_fold(model_file, report)
        photos = exclude_unreadable_photos(photos, partial(decode, size=model_file.image_size), report)
        photos = exclude_training_photos(known, photos, model_file.photo_size, report)
        model = _in_process(model_file, target.path, known)
    return model, DataFacts(target.collection.name, target.collection.kind, len(photos)), photos


def _in_process(model_file: ModelFile, path: Path, known: OutOfFoldPredictions | None) -> ModelUnderTest:
    return ModelUnderTest(
        facts=ModelFacts.of(model_file, path.name),
        predict=model_predictor(Model(model_file).answer, len(model_file.classes), model_file.image_size),
        out_of_fold=known.scored() if known else None,
        by_source=known.by_source() if known else None,
    )


def _plan(settings: Settings, options: EvaluationOptions, classes: tuple[str, ...], report: Reporter) -> EvaluationPlan:
    return EvaluationPlan(
        terms=ThresholdTerms(
            current=settings.threshold,
            costs=Costs(settings.wrong_route_cost, settings.review_cost),
            risk_target=RiskTarget(settings.max_routed_error, settings.guarantee_alpha),
            seed=settings.seed,
        ),
        requirements=GateRequirements.of(settings),
        ood=options.ood,
        ood_photos=_ood_photos(settings, options.unfamiliar, classes, report) if options.unfamiliar else (),
        robustness=options.robustness,
        against=_other_model(Path(str(options.against))) if options.against else None,
        load=LoadLimits(settings.load_seconds, settings.load_requests) if options.load else None,
    )


def _ood_photos(
    settings: Settings, source: str, classes: tuple[str, ...], report: Reporter
) -> tuple[EvaluationPhoto, ...]:
    photos, left_out = load_ood_images(
        source, classes=classes, cache=settings.cache.expanduser(), progress=report.progress
    )
    for line in fold([f"{item.name} is left out: it {item.reason}" for item in left_out]):
        report.tell(line)
    return tuple(EvaluationPhoto(photo.name, "", photo.data) for photo in photos)


def _other_model(path: Path) -> ModelUnderTest:
    with open_model_file(path) as model_file:
        return _in_process(model_file, path, None)


def _write(
    page: Path, result: Evaluation, photos: Sequence[EvaluationPhoto], plan: EvaluationPlan, report: Reporter
) -> None:
    from scones.reports.evaluation import render_evaluation  # noqa: PLC0415 - matplotlib loads only to draw

    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_evaluation(result, photos, plan.ood_photos), "utf-8")
    figures = page.with_suffix(".json")
    figures.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    report.tell(f"report {result.report}; the figures are beside it as JSON")


def _endpoint_load(aws: Aws, endpoint: str, photos: Sequence[EvaluationPhoto]) -> Send:
    def send(number: int) -> str:
        aws.sagemaker.invoke(endpoint, photos[number % len(photos)].data, "application/x-image", _LOAD_TEST)
        return ""

    return send


def _workflow_load(aws: Aws, workflow_arn: str, samples: Sequence[Sample]) -> Send:
    def send(number: int) -> str:
        key = samples[number % len(samples)].key
        event = {"image_data": "", "s3_bucket": aws.bucket.name, "s3_key": key, "inference_id": _LOAD_TEST}
        error = aws.workflow.run(workflow_arn, uuid.uuid4().hex, event).error
        # A photo below the threshold or out of distribution was answered, too.
        return error if outcome_of_error(error) in {Outcome.UNREADABLE, Outcome.FAILED} else ""

    return send
