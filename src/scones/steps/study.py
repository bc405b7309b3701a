"""Study: judge a model, behind its endpoint or in an artefact, in every way that was asked for, and write it down."""

import json
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from scones.artefact import Artefact, opened
from scones.aws.connection import Aws
from scones.errors import SconesError
from scones.evaluation.examination import Candidate, Plan, Shown, examine
from scones.evaluation.gate import Floors
from scones.evaluation.load import Bounds, Send
from scones.evaluation.out_of_fold import OutOfFold
from scones.evaluation.robustness import Ask
from scones.evaluation.study import DataFacts, ModelFacts, Study
from scones.evaluation.study_report import render_study
from scones.evaluation.thresholds import Costs, Wish
from scones.evaluation.trial import Terms
from scones.manifest import Sample
from scones.monitoring.traffic import evaluation_id
from scones.photos.collection import Collection, path_of
from scones.photos.decode import decode
from scones.progress import Reporter
from scones.runtime.serve.model import Model
from scones.settings import Settings
from scones.vehicles import RULING_OF_ERROR, Ruling

_BATCH = 64
_OURS = evaluation_id("study")


class CannotStudy(SconesError):
    """What was asked for cannot be done with this model, or on this machine."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted beyond the plain figures, and where the report goes; *against* is another model's artefact.

    *gate* asks the command line to end with an error when a floor was missed; the floors are always looked at.
    """

    report: Path
    robustness: bool = False
    load: bool = False
    against: Path | None = None
    gate: bool = False


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
        BadArtefact: the model behind it cannot be read.
        CannotEvaluate: there is nothing to judge by.
    """
    test = [sample for sample in served.samples if sample.split == "test"]
    ask = _ask_endpoint(aws, settings, served.endpoint)
    with opened(aws.bucket.get(aws.bucket.key(served.model_uri))) as artefact:
        facts = _facts(artefact, f"endpoint {served.endpoint}")
        known = _out_of_fold(artefact, report)
        bodies = aws.bucket.get_all([sample.key for sample in test])
        photos = tuple(Shown(sample.key, sample.label, body) for sample, body in zip(test, bodies, strict=True))
        photos = _unseen(known, photos, artefact.image_size, report)
    senders = (
        ("endpoint", _to_endpoint(aws, served.endpoint, photos)),
        ("workflow", _to_workflow(aws, served.workflow_arn, test)),
    )
    return _study(
        Candidate(facts, ask, known.judged() if known else None, senders),
        served.data,
        photos,
        (settings, wanted),
        report,
    )


def study_artefact(path: Path, collection: Collection, settings: Settings, wanted: Wanted, report: Reporter) -> Study:
    """Judge the model in an artefact, a `model.tar.gz` or a folder, on the test photos of *collection*.

    Raises:
        BadArtefact: it cannot be read.
        CannotStudy: a load test was asked for, ONNX Runtime is missing, or the model has learnt from every photo.
        CannotEvaluate: there is nothing to judge by.
    """
    if wanted.load:
        raise CannotStudy("an artefact cannot be put under load, only an endpoint; leave --load out, or --artefact")
    with opened(path) as artefact:
        ask = _ask_artefact(artefact)
        known = _out_of_fold(artefact, report)
        model = Candidate(_facts(artefact, path.name), ask, known.judged() if known else None)
        photos = tuple(Shown(path_of(p), p.label, p.data) for p in collection.photos if p.split == "test")
        photos = _unseen(known, photos, artefact.image_size, report)
    return _study(model, (collection.name, collection.kind), photos, (settings, wanted), report)


def classes_of(path: Path) -> tuple[str, ...]:
    """Read which classes the model in an artefact tells apart; raises BadArtefact."""
    with opened(path) as artefact:
        return artefact.classes


def _study(
    model: Candidate,
    data: tuple[str, str],
    photos: tuple[Shown, ...],
    asked: tuple[Settings, Wanted],
    report: Reporter,
) -> Study:
    settings, wanted = asked
    plan = _plan(settings, wanted)
    found = examine(model, DataFacts(*data, len(photos)), photos, plan, report.progress)
    found = replace(found, report=str(wanted.report.absolute()))
    wanted.report.parent.mkdir(parents=True, exist_ok=True)
    wanted.report.write_text(render_study(found, photos, settings.seed), "utf-8")
    beside = wanted.report.with_suffix(".json")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    report.tell(f"report {wanted.report}, figures {beside}")
    return found


def _plan(settings: Settings, wanted: Wanted) -> Plan:
    return Plan(
        terms=Terms(
            current=settings.threshold,
            costs=Costs(settings.wrong_route_cost, settings.review_cost),
            wish=Wish(settings.max_routed_error, settings.guarantee_doubt),
            seed=settings.seed,
        ),
        floors=Floors(
            accuracy=settings.gate_accuracy,
            calibration_error=settings.gate_calibration_error,
            coverage=settings.gate_coverage,
            accuracy_covered=settings.gate_accuracy_covered,
        ),
        robustness=wanted.robustness,
        against=_other(wanted.against) if wanted.against else None,
        load=Bounds(settings.load_seconds, settings.load_requests) if wanted.load else None,
    )


def _other(path: Path) -> Candidate:
    with opened(path) as artefact:
        return Candidate(_facts(artefact, path.name), _ask_artefact(artefact))


def _facts(artefact: Artefact, name: str) -> ModelFacts:
    return ModelFacts(
        name=name,
        version=artefact.version,
        data_version=artefact.data_version,
        created=artefact.created,
        temperature=artefact.temperature,
        image_size=artefact.image_size,
        classes=artefact.classes,
    )


def _out_of_fold(artefact: Artefact, report: Reporter) -> OutOfFold | None:
    if artefact.out_of_fold_path is None:
        report.tell("this artefact keeps no out-of-fold answers: the threshold is chosen on half the test photos,")
        report.tell("and whether the model has learnt from some of them is not known; training again mends both")
        return None
    return OutOfFold.load(artefact.out_of_fold_path)


def _unseen(known: OutOfFold | None, photos: tuple[Shown, ...], size: int, report: Reporter) -> tuple[Shown, ...]:
    """Leave out the photos that the model has learnt from, and say so."""
    if known is None or not photos:
        return photos
    learnt = known.learnt_from(_pixels([photo.data for photo in photos], size))
    if learnt.any():
        report.tell(f"{learnt.sum()} of {len(photos)} test photos are left out: the model has learnt from them")
    if learnt.all():
        raise CannotStudy("the model has learnt from every one of these test photos; judge it by others")
    return tuple(photo for photo, seen in zip(photos, learnt, strict=True) if not seen)


def _pixels(photos: Sequence[bytes], size: int) -> NDArray[np.uint8]:
    return np.stack([decode(photo, size) for photo in photos])


def _ask_artefact(artefact: Artefact) -> Ask:
    try:
        model = Model(artefact)
    except ModuleNotFoundError as error:
        raise CannotStudy(f"{error.name} is not installed; run: pip install 'scones[serve]'") from error

    def ask(photos: Sequence[bytes]) -> NDArray[np.float64]:
        batches = [photos[start : start + _BATCH] for start in range(0, len(photos), _BATCH)]
        return np.concatenate([model.predict(_pixels(batch, model.size)) for batch in batches]).astype(np.float64)

    return ask


def _ask_endpoint(aws: Aws, settings: Settings, endpoint: str) -> Ask:
    def ask_one(photo: bytes) -> list[float]:
        answer: list[float] = json.loads(aws.sagemaker.invoke(endpoint, photo, "application/x-image", _OURS))
        return answer

    def ask(photos: Sequence[bytes]) -> NDArray[np.float64]:
        with ThreadPoolExecutor(settings.clients) as pool:
            return np.array(list(pool.map(ask_one, photos)))

    return ask


def _to_endpoint(aws: Aws, endpoint: str, photos: Sequence[Shown]) -> Send:
    def send(number: int) -> str:
        aws.sagemaker.invoke(endpoint, photos[number % len(photos)].data, "application/x-image", _OURS)
        return ""

    return send


def _to_workflow(aws: Aws, workflow_arn: str, samples: Sequence[Sample]) -> Send:
    def send(number: int) -> str:
        key = samples[number % len(samples)].key
        event = {"image_data": "", "s3_bucket": aws.bucket.name, "s3_key": key, "inference_id": _OURS}
        error = aws.workflow.run(workflow_arn, uuid.uuid4().hex, event).error
        # A photo that is not sure enough, or unfamiliar, has gone all the way, too.
        return "" if RULING_OF_ERROR.get(error) in {Ruling.UNSURE, Ruling.UNFAMILIAR} else error

    return send
