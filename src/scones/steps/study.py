"""Study: judge a model, behind its endpoint or in a model file, in every way that was asked for, and write it down."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.data.dataset import Collection, path_of
from scones.data.loading import collect_others
from scones.data.manifest import Sample
from scones.domain.decision import Outcome, outcome_of_error
from scones.domain.progress import Reporter
from scones.domain.tags import evaluation_id
from scones.evaluation.examination import Candidate, CannotEvaluate, Plan, Shown, examine
from scones.evaluation.gate import Floors
from scones.evaluation.int8_comparison import Pair
from scones.evaluation.load_test import Bounds, Send
from scones.evaluation.model_client import asking_endpoint, asking_model
from scones.evaluation.model_facts import answers_kept, facts_of, unseen
from scones.evaluation.study import DataFacts, Study
from scones.evaluation.thresholds import Costs, Terms, Wish
from scones.model.inference import Model
from scones.model.model_file import ModelFile, open_model_file

_LOAD = evaluation_id("study")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted beyond the plain figures, and where the report goes; *against* is another model's model file.

    *gate* asks the command line to end with an error when a floor was missed; the floors are always looked at.
    *unfamiliar* says where photos of other things come from, by which the guard is judged.
    """

    report: Path
    robustness: bool = False
    load: bool = False
    against: Path | None = None
    gate: bool = False
    unfamiliar: str | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """What stands: the endpoint, the model behind it, the workflow before it, and the staged photos."""

    endpoint: str
    model_uri: str
    workflow_arn: str
    samples: tuple[Sample, ...]
    data: tuple[str, str]
    """The photos' name, and whether they are photos."""


def study_endpoint(aws: Aws, settings: Settings, served: Served, wanted: Wanted, report: Reporter) -> Study:
    """Judge the model behind an endpoint on the staged test photos; the monitor passes these questions over.

    Raises:
        AwsError: the endpoint refused a photo.
        InvalidModelFile: the model behind it cannot be read.
        CannotEvaluate: there is nothing to judge by.
        SourceError: there are no photos of other things where they are said to be.
    """
    test = [sample for sample in served.samples if sample.split == "test"]
    with open_model_file(aws.bucket.get(aws.bucket.key(served.model_uri))) as model_file:
        known = answers_kept(model_file, report)
        bodies = aws.bucket.get_all([sample.key for sample in test])
        photos = tuple(Shown(sample.key, sample.label, body) for sample, body in zip(test, bodies, strict=True))
        photos = unseen(known, photos, model_file.image_size, report)
        model = Candidate(
            facts=facts_of(model_file, f"endpoint {served.endpoint}"),
            ask=asking_endpoint(aws.sagemaker.explain, served.endpoint, settings.clients),
            out_of_fold=known.scored() if known else None,
            senders=(
                ("endpoint", _to_endpoint(aws, served.endpoint, photos)),
                ("workflow", _to_workflow(aws, served.workflow_arn, test)),
            ),
            pair=_pair(model_file),
        )
    return _study(model, served.data, photos, (settings, wanted), report)


def study_model_file(path: Path, collection: Collection, settings: Settings, wanted: Wanted, report: Reporter) -> Study:
    """Judge the model in a model file, a `model.tar.gz` or a folder, on the test photos of *collection*.

    Raises:
        InvalidModelFile: it cannot be read.
        CannotEvaluate: there are no photos that the model was not trained on, or a load test was requested.
        SourceError: there are no photos of other things where they are said to be.
    """
    if wanted.load:
        raise CannotEvaluate("a model file cannot be put under load, only an endpoint; leave --load out, or --model")
    with open_model_file(path) as model_file:
        known = answers_kept(model_file, report)
        model = replace(_candidate(model_file, path), out_of_fold=known.scored() if known else None)
        photos = tuple(Shown(path_of(p), p.label, p.data) for p in collection.photos if p.split == "test")
        photos = unseen(known, photos, model_file.image_size, report)
    return _study(model, (collection.name, collection.kind), photos, (settings, wanted), report)


def classes_of(path: Path) -> tuple[str, ...]:
    """Read which classes the model in a model file tells apart; raises InvalidModelFile."""
    with open_model_file(path) as model_file:
        return model_file.classes


def _study(
    model: Candidate,
    data: tuple[str, str],
    photos: tuple[Shown, ...],
    asked: tuple[Settings, Wanted],
    report: Reporter,
) -> Study:
    from scones.reports.evaluation import render_study  # noqa: PLC0415 - matplotlib loads only to draw

    settings, wanted = asked
    plan = _plan(settings, wanted, _others(settings, wanted, model.facts.classes, report))
    found = examine(model, DataFacts(*data, len(photos)), photos, plan, report.progress)
    found = replace(found, report=str(wanted.report.absolute()))
    wanted.report.parent.mkdir(parents=True, exist_ok=True)
    wanted.report.write_text(render_study(found, photos, plan.others, settings.seed), "utf-8")
    beside = wanted.report.with_suffix(".json")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    report.tell(f"report {wanted.report}, figures {beside}")
    return found


def _plan(settings: Settings, wanted: Wanted, others: tuple[Shown, ...]) -> Plan:
    return Plan(
        terms=Terms(
            current=settings.threshold,
            costs=Costs(settings.wrong_route_cost, settings.review_cost),
            wish=Wish(settings.max_routed_error, settings.guarantee_alpha),
            seed=settings.seed,
        ),
        floors=Floors.of(settings),
        robustness=wanted.robustness,
        against=_rival(wanted.against) if wanted.against else None,
        load=Bounds(settings.load_seconds, settings.load_requests) if wanted.load else None,
        others=others,
    )


def _others(settings: Settings, wanted: Wanted, classes: tuple[str, ...], report: Reporter) -> tuple[Shown, ...]:
    if wanted.unfamiliar is None:
        return ()
    photos, left_out = collect_others(
        wanted.unfamiliar, classes=classes, cache=settings.cache.expanduser(), progress=report.progress
    )
    for item in left_out:
        report.tell(f"{item.name} is left out: it {item.reason}")
    return tuple(Shown(photo.name, "", photo.data) for photo in photos)


def _rival(path: Path) -> Candidate:
    with open_model_file(path) as model_file:
        return _candidate(model_file, path)


def _candidate(model_file: ModelFile, path: Path) -> Candidate:
    ask = asking_model(Model(model_file).answer, len(model_file.classes), model_file.image_size)
    return Candidate(facts_of(model_file, path.name), ask, pair=_pair(model_file))


def _pair(model_file: ModelFile) -> Pair | None:
    """Both models, in this process; None where the model file has but one."""
    if model_file.int8_path is None:
        return None
    paths = (model_file.exact_path, model_file.int8_path)
    exact, int8 = (Model(replace(model_file, model_path=path)) for path in paths)
    return Pair(exact.answer, int8.answer, model_file.model_path == model_file.int8_path)


def _to_endpoint(aws: Aws, endpoint: str, photos: Sequence[Shown]) -> Send:
    def send(number: int) -> str:
        aws.sagemaker.invoke(endpoint, photos[number % len(photos)].data, "application/x-image", _LOAD)
        return ""

    return send


def _to_workflow(aws: Aws, workflow_arn: str, samples: Sequence[Sample]) -> Send:
    def send(number: int) -> str:
        key = samples[number % len(samples)].key
        event = {"image_data": "", "s3_bucket": aws.bucket.name, "s3_key": key, "inference_id": _LOAD}
        error = aws.workflow.run(workflow_arn, uuid.uuid4().hex, event).error
        # A photo below the threshold or out of distribution was answered, too.
        return error if outcome_of_error(error) in {Outcome.UNREADABLE, Outcome.FAILED} else ""

    return send
