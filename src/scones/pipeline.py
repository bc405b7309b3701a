"""The pipeline: every step in order; each saves its result for later commands."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from scones.aws.connection import Aws
from scones.aws.registry import ApprovalStatus, ModelPackage
from scones.aws.s3 import SCHEME, Bucket, open_prefix
from scones.config.settings import Settings
from scones.data.dataset import SourceError
from scones.data.image_header import UnreadablePhoto, read_header
from scones.data.loading import Collection, collect
from scones.data.manifest import Sample, from_lines
from scones.data.sources.cifar100 import CIFAR100
from scones.data.sources.folder import collect_shelf
from scones.deployment.smoke_test import SmokeTestResult, smoke_test
from scones.dispatch.order_book import moment_of, open_order, see
from scones.dispatch.orders import Courier, Rules
from scones.dispatch.simulation import example_couriers, example_orders
from scones.domain.decision import Outcome
from scones.domain.errors import NothingYet, SconesError
from scones.domain.keys import ASKED_PREFIX, READABLE_PREFIXES, manifest_key, result_key
from scones.domain.progress import Reporter
from scones.evaluation.study import Study
from scones.model.model_file import opened
from scones.monitoring.performance.labels import LabelResult
from scones.steps.approve import approve, register
from scones.steps.classify import ClassifyResult, classify
from scones.steps.classify_batch import BatchRunResult, BatchTerms, classify_batch, upload
from scones.steps.deploy import DeployResult, deploy
from scones.steps.dispatch import DispatchResult, dispatch
from scones.steps.down import TeardownReport, down
from scones.steps.evaluate import Evaluated, evaluate
from scones.steps.history import history
from scones.steps.image import ImageResult, image
from scones.steps.label import label
from scones.steps.learn import LearnedDays, learn
from scones.steps.monitor import MonitorResult, MonitorTarget, monitor
from scones.steps.replay import RejudgeResult, ReplayResult, rejudge, replay
from scones.steps.rollback import rollback
from scones.steps.simulate import SimulationResult, Stream, plan_events, simulate
from scones.steps.stage import Staged, stage
from scones.steps.status import Status, status
from scones.steps.study import Served, Wanted, classes_of, study_artefact, study_endpoint
from scones.steps.survey import Learnt, Surveyed, survey
from scones.steps.to_label import to_label
from scones.steps.train import TrainingResult, train
from scones.steps.up import ChangeApproval, StackOutputs, up

T = TypeVar("T")


def save_result(bucket: Bucket, step: str, result: object) -> None:
    """Keep the newest *result* of *step*."""
    bucket.put(result_key(step), msgspec.json.encode(result), "application/json")


def load_result(bucket: Bucket, step: str, kind: type[T], env: str) -> T:
    """Read the newest result of *step*.

    Raises:
        NothingYet: there is none, or an older version wrote it in another shape.
    """
    body = bucket.find(result_key(step))
    if body is None:
        raise NothingYet(step, env)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise NothingYet(step, env) from error


COURIERS = 24
ORDERS = 40


class NoSuchPhoto(SconesError):
    """A photo to classify cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"photo {path} {reason}; name a PNG, JPEG or WebP file")
        self.path = path


class PhotosNotGranted(SconesError):
    """Photos to classify lie where the stack's functions may not read."""

    def __init__(self, source: str, own: str) -> None:
        ways = f"put them below s3://{own}/{ASKED_PREFIX}, or set photo_bucket to their bucket and run: scones up"
        super().__init__(f"the functions may not read {source}; {ways}")
        self.source = source


def auto_approve() -> None:
    """Agree to every change: whoever said --yes, or works where nothing costs, is not asked."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One environment's steps; each remembers its result in the bucket, for the steps after it."""

    aws: Aws
    settings: Settings
    report: Reporter
    agree: Callable[[], None] = auto_approve
    """Asks whoever was shown the changes of `up`; raises where they do not go on."""

    def stage(self, page: Path | None = None) -> Staged:
        """Stage the photos that the settings name, and report on them: beside them, and in *page* if that is named."""
        collection = _collect(self.settings, self.report, self.aws.bucket)
        staged = self._save("stage", stage(self.aws, self.settings, collection, self.report))
        survey(self.aws, Surveyed(collection, staged.version, self._learnt()), page, self.report)
        return staged

    def image(self) -> ImageResult:
        """Have the container image of this version built, unless it is there."""
        return image(self.aws, self.settings, self.report)

    def train(self) -> TrainingResult:
        """Train on the photos staged last, and register the model."""
        staged = self._load("stage", Staged)
        # A registry that is somebody else's is found out before an hour of training, not after it.
        self.aws.registry.check_group()
        self.image()
        trained = self._save("train", train(self.aws, self._with(staged.classes), staged.version, self.report))
        return self._save("train", replace(trained, package=self.registered().number))

    def registered(self) -> ModelPackage:
        """Give the model trained last as the registry has it; one that a version of before left out is entered."""
        trained = self._load("train", TrainingResult)
        return register(self.aws, self._with(trained.classes), trained.model_uri, self.report)

    def approve(self, number: int | None = None, reason: str = "by hand", *, reject: bool = False) -> ModelPackage:
        """Approve or reject the model of that number in the registry, or the one trained last."""
        chosen = self.registered().number if number is None else number
        decision = ApprovalStatus.REJECTED if reject else ApprovalStatus.APPROVED
        return approve(self.aws, chosen, decision, reason, self.report)

    def up(self, *, replace_data: bool = False) -> StackOutputs:
        """Bring the stack up for the classes staged last, or those of the settings."""
        consent = ChangeApproval(self.agree, self.image, replace_data)
        return self._save("up", up(self.aws, self._with(self._classes()), consent, self.report))

    def deploy(self, number: int | None = None) -> DeployResult:
        """Deploy the model of that number in the registry, or the one trained last."""
        package = self.registered() if number is None else self.aws.registry.get(number)
        settings = self._with(self._classes_of(package.model_uri))
        self.image()
        return self._save("deploy", DeployResult.of(deploy(self.aws, settings, package, self.report)))

    def rollback(self) -> DeployResult:
        """Have the endpoint serve the release before."""
        return self._save("deploy", DeployResult.of(rollback(self.aws, self.settings, self.report)))

    def smoke(self) -> SmokeTestResult | None:
        """Send one photo the whole way, where a workflow and an endpoint stand."""
        try:
            workflow_arn = self._load("up", StackOutputs).workflow_arn
        except NothingYet:
            self.report.tell("smoke test: no workflow stands yet; run: scones up")
            return None
        return smoke_test(self.aws, workflow_arn, self.report)

    def classify(self, photos: Sequence[Path] = ()) -> ClassifyResult:
        """Classify *photos*, or the staged test photos where none are named."""
        samples = [self._upload(path) for path in photos] or self.test_samples()
        return self._save("classify", self.classify_samples(samples))

    def test_samples(self) -> list[Sample]:
        """The staged test photos in an order that mixes the classes: one after the other would look like a change."""
        return sorted((sample for sample in self.samples() if sample.split == "test"), key=lambda item: item.sha256)

    def classify_samples(self, samples: Sequence[Sample]) -> ClassifyResult:
        """Classify photos that lie in the bucket."""
        workflow_arn = self._load("up", StackOutputs).workflow_arn
        return classify(self.aws, workflow_arn, samples, self.settings.clients, self.report)

    def classify_batch(self, source: str) -> BatchRunResult:
        """Classify every photo below *source*, an S3 prefix or a folder, in batches.

        Raises:
            PhotosNotGranted: the photos lie where the stack's functions may not read.
        """
        deployed, stood = self._load("deploy", DeployResult), self._load("up", StackOutputs)
        if not source.startswith("s3://"):
            source = upload(self.aws, Path(source), self.report)
        granted = [self.aws.bucket.uri(prefix) for prefix in READABLE_PREFIXES]
        if self.settings.photo_bucket:
            granted.append(f"s3://{self.settings.photo_bucket}/")
        if not source.startswith(tuple(granted)):
            raise PhotosNotGranted(source, self.aws.bucket.name)
        terms = BatchTerms(
            model=deployed.config,
            classes=deployed.classes,
            threshold=stood.threshold,
            concurrency=self.settings.batch_concurrency,
        )
        return classify_batch(self.aws, source, terms, self.report)

    def replay(self, execution: str) -> ReplayResult:
        """Rebuild one recorded decision."""
        return replay(self.aws, execution, self._load("deploy", DeployResult).model_uri, self.report)

    def rejudge(self, artefact: Path | None, threshold: float | None) -> RejudgeResult:
        """Say what another model, or another threshold, would have decided of every recorded photo."""
        return rejudge(self.aws, artefact, threshold, self.report)

    def evaluate(self) -> Evaluated:
        """Evaluate the endpoint on the staged test photos."""
        deployed = self._load("deploy", DeployResult)
        settings = self._with(deployed.classes)
        return self._save("evaluate", evaluate(self.aws, settings, deployed.endpoint, self.samples(), self.report))

    def study(self, wanted: Wanted) -> Study:
        """Judge the model behind the endpoint in every way that is wanted; with a gate, approve or reject it."""
        deployed, staged = self._load("deploy", DeployResult), self._load("stage", Staged)
        served = Served(
            endpoint=deployed.endpoint,
            model_uri=deployed.model_uri,
            workflow_arn=self._load("up", StackOutputs).workflow_arn,
            samples=self.samples(),
            data=(staged.name, staged.kind),
        )
        found = study_endpoint(self.aws, self._with(deployed.classes), served, wanted, self.report)
        if wanted.gate and deployed.package:
            missed = [str(check) for check in found.gate if not check.passed]
            self.approve(deployed.package, "; ".join(missed) or "by the gate, at the endpoint", reject=bool(missed))
        return self._save("study", found)

    def monitor(self, at_least: int = 0, *, acknowledge: bool = False, seconds: float = math.inf) -> MonitorResult:
        """Check the traffic since the last look, once at least so many photos were captured.

        With *acknowledge* the alarms that stand are taken note of first. After *seconds* the rest is left for later.
        """
        deployed = self._load("deploy", DeployResult)
        watched = MonitorTarget(
            endpoint=deployed.endpoint,
            config=deployed.config,
            model_uri=deployed.model_uri,
            capture_prefix=deployed.capture_prefix,
            alert_topic=self._load("up", StackOutputs).alert_topic_arn,
            samples=self._staged_samples(),
            at_least=at_least,
            seconds=seconds,
            acknowledge=acknowledge,
        )
        return self._save("monitor", monitor(self.aws, self._with(deployed.classes), watched, self.report))

    def learn(self, days: int) -> LearnedDays:
        """Take the traffic of the last *days* days as what the monitor compares with; 0 forgets it."""
        deployed = self._load("deploy", DeployResult)
        found = learn(self.aws, deployed.endpoint, deployed.model_uri, days, self.settings.seed)
        self.report.tell(f"compared with {found.photos} photos of {found.days} days" if days else "days forgotten")
        return found

    def label(self, labels: Path) -> LabelResult:
        """Hold what the endpoint answered against *labels* that came later."""
        deployed = self._load("deploy", DeployResult)
        return label(self.aws, deployed.endpoint, deployed.model_uri, labels)

    def to_label(self, page: Path) -> None:
        """Choose photos to label next, and write them on *page*."""
        deployed = self._load("deploy", DeployResult)
        photos = to_label(self.aws, deployed.capture_prefix, deployed.endpoint, deployed.model_uri, page)
        self.report.tell(f"{photos} photos to label: {page}; write the labels into {page.with_suffix('.csv')}")

    def history(self, page: Path) -> None:
        """Draw what all looks have found, over time, as *page*."""
        deployed = self._load("deploy", DeployResult)
        windows = history(self.aws, deployed.endpoint, deployed.model_uri, page)
        self.report.tell(f"report {page}: {windows} windows")

    def dispatch(self, example: int = 0) -> DispatchResult:
        """Dispatch the open orders now; before that, *example* orders come in, and couriers as classified last."""
        self._load("up", StackOutputs)
        if example:
            self.order(example)
            self._register(_couriers(self._load("classify", ClassifyResult), self.settings.seed))
        rules = Rules(sure_confidence=self.settings.threshold)
        return self._save("dispatch", dispatch(self.aws, rules, self.settings.clients, self.report))

    def simulate(self, stream: Stream) -> SimulationResult:
        """Send a stream of events made of the staged test photos, each showing a courier, with an order for each."""
        workflow_arn = self._load("up", StackOutputs).workflow_arn
        photos = [sample for sample in self.samples() if sample.split == "test"]
        events = plan_events(photos, stream, self.settings.seed)
        self.order(len(events))
        rate = stream.per_second, self.settings.clients
        return self._save("simulate", simulate(self.aws, workflow_arn, events, rate, self.report))

    def order(self, count: int) -> None:
        """Put invented orders into the book, placed now."""
        orders = example_orders(count, self.settings.seed, time.time() / 60)
        self.aws.tables.orders.put_all([open_order(order) for order in orders])

    def _register(self, couriers: Sequence[Courier]) -> None:
        """Put couriers on the map, seen now; whoever was seen later meanwhile stays as they are."""
        for courier in couriers:
            self.aws.tables.couriers.write(see(courier, courier.id, moment_of(time.time() / 60)))

    def status(self) -> Status:
        """Look at what stands."""
        return status(self.aws)

    def down(self, *, keep_data: bool = False) -> TeardownReport:
        """Delete everything, or all but photos, models and records."""
        return down(self.aws, self.report, keep_data=keep_data)

    def samples(self) -> tuple[Sample, ...]:
        """Read the manifest of the photos staged last."""
        staged = self._load("stage", Staged)
        return tuple(
            sample
            for split in ("train", "test")
            for sample in from_lines(self.aws.bucket.get(manifest_key(staged.version, split)), self.aws.bucket.name)
        )

    def _staged_samples(self) -> tuple[Sample, ...]:
        try:
            return self.samples()
        except NothingYet:
            return ()

    def upload(self, name: str, photo: bytes, label: str = "") -> Sample:
        """Put one photo where it can be classified; below `incoming/` it would start an execution by itself."""
        digest = hashlib.sha256(photo).hexdigest()
        key = f"{ASKED_PREFIX}{digest[:12]}-{name}"
        self.aws.bucket.put(key, photo, "application/x-image")
        return Sample(key, label, "asked", digest)

    def _upload(self, path: Path) -> Sample:
        try:
            photo = path.read_bytes()
            read_header(photo)
        except OSError as error:
            raise NoSuchPhoto(path, f"cannot be read ({error.strerror})") from error
        except UnreadablePhoto as error:
            raise NoSuchPhoto(path, error.reason) from error
        return self.upload(path.name, photo)

    def _learnt(self) -> Learnt | None:
        """The model trained last, whichever photos it was trained on."""
        try:
            trained = self._load("train", TrainingResult)
        except NothingYet:
            return None
        return Learnt(trained.job, trained.model_uri, trained.data_version)

    def _classes_of(self, model_uri: str) -> tuple[str, ...]:
        with opened(self.aws.bucket.get(self.aws.bucket.key(model_uri))) as artefact:
            return artefact.classes

    def _classes(self) -> tuple[str, ...]:
        try:
            return self._load("stage", Staged).classes
        except NothingYet:
            return self.settings.classes

    def _with(self, classes: tuple[str, ...]) -> Settings:
        return replace(self.settings, classes=classes)

    def _save(self, step: str, result: T) -> T:
        save_result(self.aws.bucket, step, result)
        return result

    def _load(self, step: str, kind: type[T]) -> T:
        return load_result(self.aws.bucket, step, kind, self.settings.env)


def study_model(artefact: Path, settings: Settings, wanted: Wanted, report: Reporter) -> Study:
    """Judge the model in *artefact* on the test photos of the settings' data; it needs no endpoint, and no AWS."""
    collection = _collect(replace(settings, classes=classes_of(artefact)), report)
    return study_artefact(artefact, collection, settings, wanted, report)


def _collect(settings: Settings, report: Reporter, bucket: Bucket | None = None) -> Collection:
    """Collect the photos that the settings name, and say what must be told of them; *bucket* opens S3."""
    if settings.data.startswith(SCHEME):
        if bucket is None:
            raise SourceError(
                f"{settings.data} can be staged, not judged by; copy the photos here and name their folder"
            )
        return collect_shelf(open_prefix(bucket, settings.data), settings.classes, report.progress)
    collection = collect(
        settings.data,
        classes=settings.classes,
        cache=settings.cache,
        progress=report.progress,
        archive=replace(CIFAR100, outliers_per_class=settings.outliers_per_class),
    )
    if collection.notice:
        report.tell(collection.notice)
    return collection


def _couriers(classified: ClassifyResult, seed: int) -> tuple[Courier, ...]:
    """Make a courier of each of the first photos that were decided upon, sure or not."""
    seen = [item for item in classified.executions if item.outcome in (Outcome.CLASSIFIED, Outcome.BELOW_THRESHOLD)]
    # Every photo of a class lies together: take them from all over the list.
    step = max(1, len(seen) // COURIERS)
    chosen = seen[::step][:COURIERS]
    return example_couriers([(item.key, item.label, item.confidence) for item in chosen], seed)
