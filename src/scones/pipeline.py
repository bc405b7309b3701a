"""The pipeline: every step in order; each saves its result for later commands.

A step is imported when it is called, so that a command loads what it uses and no more.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from scones.config.settings import Settings
from scones.data.dataset import Sample, from_lines
from scones.domain.errors import MissingPrerequisite
from scones.domain.naming import manifest_key, result_key
from scones.domain.progress import Reporter

if TYPE_CHECKING:
    from scones.aws.connection import Aws
    from scones.deployment.checks import SmokeTestResult
    from scones.deployment.reviews import Review, ReviewAnswer, Reviews
    from scones.steps.approve import ModelPackage
    from scones.steps.classify import ClassifyResult
    from scones.steps.classify_batch import BatchRunResult
    from scones.steps.compare import ModelComparison
    from scones.steps.deploy import DeployResult
    from scones.steps.dispatch import DispatchResult
    from scones.steps.down import TeardownReport
    from scones.steps.evaluate import Evaluation, EvaluationOptions
    from scones.steps.image import ImageResult
    from scones.steps.labels import Deployed, LabelResult, ReviewExport
    from scones.steps.monitor import LearnedDays, MonitorResult
    from scones.steps.replay import ExplanationPage, RejudgeResult, ReplayResult
    from scones.steps.simulate import SimulationResult, Stream
    from scones.steps.stage import ForgottenPhoto, StageResult, TrainedModel
    from scones.steps.status import Status
    from scones.steps.train import TrainingResult
    from scones.steps.up import StackOutputs

T = TypeVar("T")
AnyPath = str | PathLike[str]
"""A path, as a string or a Path."""


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def save_result(aws: "Aws", step: str, result: object) -> None:
    """Save the newest *result* of *step*."""
    aws.bucket.put(result_key(step), msgspec.json.encode(result), "application/json")


def load_result(aws: "Aws", step: str, kind: type[T]) -> T:
    """Load the newest result of *step*.

    Raises:
        MissingPrerequisite: there is none, or an earlier version of Scones wrote it in another form.
    """
    body = aws.bucket.find(result_key(step))
    if body is None:
        raise MissingPrerequisite(step, aws.env)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise MissingPrerequisite(step, aws.env) from error


ORDERS = 40


def auto_approve(_what: str = "") -> None:
    """Approve everything without a question: for --yes, and where nothing costs money."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps of one environment; each saves its result in the bucket for later steps."""

    aws: "Aws"
    settings: Settings
    report: Reporter
    agree: Callable[[], None] = auto_approve
    """Asks the user to approve the changes that `up` or `down` shows; raises if they decline."""
    agree_to_price: Callable[[str], None] = auto_approve
    """Asks the user to approve what a command costs on AWS, before it starts; raises if they decline."""

    def stage(self, page: AnyPath | None = None, *, with_labels: bool = False) -> "StageResult":
        """Stage the photos that the settings name and report on them, in the bucket and, if named, in *page*.

        *with_labels* stages those of the version before instead, and the photos that people labelled.
        """
        from scones.steps.stage import DatasetReportOptions, load_grown, load_photos, stage

        options = DatasetReportOptions(_path(page), self._trained_model())
        if with_labels:
            before = self._staged()
            collection = load_grown(self.aws, before, self.aws.tables.labels.all(), self.report)
            options = replace(options, base=before.version)
        else:
            collection = load_photos(self.aws, self.settings, self.report)
        return self._save("stage", stage(self.aws, self.settings, collection, self.report, options))

    def forget(self, photo: str) -> "ForgottenPhoto":
        """Delete a photo for good, by the SHA-256 of its bytes."""
        from scones.steps.stage import forget

        return forget(self.aws, photo, self.settings.photo_retention_days, self.report)

    def image(self) -> "ImageResult":
        """Build this version's container image, unless it exists."""
        from scones.steps.image import image

        return image(self.aws, self.settings, self.report)

    def train(self) -> "TrainingResult":
        """Train on the photos staged last, and register the model."""
        from scones.deployment.checks import check_capacity
        from scones.steps.train import train

        staged = self._staged()
        self.agree_to_price("train")
        # A model registry that belongs to another stack is an error now, not after an hour of training.
        self.aws.registry.check_group()
        for check in check_capacity(self.aws, self.settings, trains=True):
            self.report.tell(str(check))
        self.image()
        trained = self._save("train", train(self.aws, self._with(staged.classes), staged.version, self.report))
        return self._save("train", replace(trained, package=self.registered().number))

    def register(
        self,
        model: AnyPath,
        photos: AnyPath | None = None,
        classes: Sequence[str] = (),
        *,
        preprocess: str = "",
        output: str = "",
    ) -> "TrainingResult":
        """Register the ONNX file *model*, made elsewhere, as if it had been trained on the staged photos.

        *photos* are staged first, if named. *classes* are the model's, in the order of its outputs; by default those
        staged. *preprocess* and *output* say what the graph and the photos do not tell: docs/releases.md.

        Raises:
            CannotRegister: it is no photo classifier of these classes that can be served.
        """
        from scones.steps.register import ForeignModel, register_foreign
        from scones.steps.train import TrainingResult

        foreign = ForeignModel(Path(model), tuple(classes), preprocess, output, self.settings.seed)
        foreign.check()
        if photos is not None:
            data = re.sub(r"^s3:/+", "s3://", fspath(photos))
            replace(self, settings=replace(self._with(foreign.classes or self.settings.classes), data=data)).stage()
        staged = self._staged()
        foreign = foreign.with_classes(staged.classes)
        self.aws.registry.check_group()
        self.image()
        made = register_foreign(self.aws, foreign, staged.version, self.samples(), self.report)
        result = TrainingResult(made.job, made.model_uri, staged.version, staged.classes, made.metrics, made.seconds)
        self._save("train", result)
        return self._save("train", replace(result, package=self.registered().number))

    def registered(self) -> "ModelPackage":
        """Return the registry's entry of the model trained last, and register it if it is not there."""
        from scones.steps.approve import register

        trained = self._trained()
        return register(self.aws, self._with(trained.classes), trained.model_uri, self.report)

    def approve(self, number: int | None = None, reason: str = "by hand", *, reject: bool = False) -> "ModelPackage":
        """Approve or reject model *number* of the registry, by default the one trained last."""
        from scones.steps.approve import ApprovalStatus, approve

        chosen = self.registered().number if number is None else number
        decision = ApprovalStatus.REJECTED if reject else ApprovalStatus.APPROVED
        return approve(self.aws, chosen, decision, reason, self.report)

    def compare(self, one: int, other: int) -> "ModelComparison":
        """Compare two registered models on the training photos that both predicted out of fold."""
        from scones.steps.compare import compare

        return compare(self.aws, one, other)

    def up(self, *, replace_data: bool = False) -> "StackOutputs":
        """Create or update the stack, for the classes staged last or those of the settings."""
        from scones.steps.up import ChangeApproval, up

        approval = ChangeApproval(self.agree, self.image, replace_data)
        return self._save("up", up(self.aws, self._with(self._classes()), approval, self.report))

    def deploy(self, number: int | None = None) -> "DeployResult":
        """Deploy model *number* of the registry, by default the one trained last."""
        from scones.steps.deploy import DeployResult, deploy, model_classes

        self.agree_to_price("deploy")
        package = self.registered() if number is None else self.aws.registry.get(number)
        settings = self._with(model_classes(self.aws, package))
        self.image()
        return self._save("deploy", DeployResult.of(deploy(self.aws, settings, package, self.report)))

    def rollback(self) -> "DeployResult":
        """Return the endpoint to the previous release."""
        from scones.steps.deploy import DeployResult
        from scones.steps.rollback import rollback

        return self._save("deploy", DeployResult.of(rollback(self.aws, self.settings, self.report)))

    def smoke(self) -> "SmokeTestResult | None":
        """Send one photo through the workflow, if there is a workflow and an endpoint."""
        from scones.deployment.checks import smoke_test

        try:
            workflow_arn = self._up().workflow_arn
        except MissingPrerequisite:
            self.report.tell("smoke test skipped: there is no workflow yet; run: scones up")
            return None
        return smoke_test(self.aws, workflow_arn, self.report)

    def classify(self, photos: AnyPath | Iterable[AnyPath] = ()) -> "ClassifyResult":
        """Classify *photos*, by default the staged test photos; of several files, those that are no photos are listed.

        Raises:
            NoSuchPhoto: a single file cannot be read, or is no photo.
        """
        from scones.steps.classify import classify_files, read_file

        files = [Path(path) for path in ([photos] if isinstance(photos, str | PathLike) else photos)]
        if len(files) == 1:
            read_file(files[0])
        workflow_arn = self._up().workflow_arn
        self._deployed()
        if not files:
            return self._save("classify", self.classify_samples(self.test_samples()))
        found = classify_files(self.aws, workflow_arn, files, self.settings.clients, self.report)
        return self._save("classify", found)

    def test_samples(self) -> list[Sample]:
        """Return the staged test photos, the classes mixed: class after class would look like drift."""
        return sorted((sample for sample in self.samples() if sample.split == "test"), key=lambda item: item.sha256)

    def classify_samples(self, samples: Sequence[Sample]) -> "ClassifyResult":
        """Classify photos that are in the bucket."""
        from scones.steps.classify import classify

        return classify(self.aws, self._up().workflow_arn, samples, self.settings.clients, self.report)

    def classify_batch(self, source: AnyPath) -> "BatchRunResult":
        """Classify every photo below *source*, an S3 prefix or a folder, in batches.

        Raises:
            PhotosNotGranted: the stack's functions have no permission to read the photos.
        """
        deployed, stack = self._deployed(), self._up()
        from scones.steps.classify_batch import BatchTerms, classify_batch, open_batch

        # A Path of a URI has lost one of its slashes.
        place = re.sub(r"^s3:/+", "s3://", fspath(source))
        photos = open_batch(self.aws, place, self.settings.photo_bucket, self.report)
        terms = BatchTerms(
            model=deployed.config,
            classes=deployed.classes,
            threshold=stack.threshold,
            concurrency=self.settings.batch_concurrency,
        )
        return classify_batch(self.aws, photos, terms, self.report)

    def explain(self, executions: Mapping[str, str], page: AnyPath) -> "ExplanationPage":
        """Explain recorded decisions on *page*; *executions* maps their names to true classes, "" if unknown."""
        from scones.steps.replay import explain

        found = explain(self.aws, executions, Path(page), self._deployed().model_uri, self.report)
        self.report.tell(f"report {page}: {found.photos} predictions explained")
        return found

    def replay(self, execution: str) -> "ReplayResult":
        """Rebuild one recorded decision."""
        model_uri = self._deployed().model_uri
        from scones.steps.replay import replay

        return replay(self.aws, execution, model_uri, self.report)

    def rejudge(self, model_file: AnyPath | None, threshold: float | None) -> "RejudgeResult":
        """Decide every recorded photo again, by another model or another threshold."""
        self._up()
        from scones.steps.replay import rejudge

        return rejudge(self.aws, _path(model_file), threshold, self.report)

    def evaluate(self, options: "EvaluationOptions | None" = None) -> "Evaluation":
        """Evaluate the deployed model on the staged test photos; with a gate, approve or reject it."""
        from scones.steps.evaluate import DeployedModel, EvaluationOptions, evaluate

        options = options or EvaluationOptions()
        if options.load:
            self.agree_to_price("evaluate")
        options = replace(options, report=_path(options.report), against=_path(options.against))
        deployed, staged = self._deployed(), self._staged()
        model = DeployedModel(
            aws=self.aws,
            endpoint=deployed.endpoint,
            model_uri=deployed.model_uri,
            workflow_arn=self._up().workflow_arn,
            samples=self.samples(),
            data_name=staged.name,
            data_kind=staged.kind,
        )
        result = evaluate(model, self._with(deployed.classes), options, self.report)
        if options.gate and deployed.package:
            failed = [str(check) for check in result.gate if not check.passed]
            self.approve(deployed.package, "; ".join(failed) or "by the gate, at the endpoint", reject=bool(failed))
        return self._save("evaluate", result)

    def monitor(self, at_least: int = 0, *, acknowledge: bool = False, seconds: float = math.inf) -> "MonitorResult":
        """Check the traffic since the last monitoring run, once at least *at_least* photos were captured.

        With *acknowledge* the active alarms are acknowledged first. After *seconds* the rest is left for the next run.
        """
        deployed = self._deployed()
        from scones.steps.monitor import MonitorTarget, monitor

        watched = MonitorTarget(
            endpoint=deployed.endpoint,
            config=deployed.config,
            model_uri=deployed.model_uri,
            capture_prefix=deployed.capture_prefix,
            alert_topic=self._up().alert_topic_arn,
            samples=self._staged_samples(),
            at_least=at_least,
            seconds=seconds,
            acknowledge=acknowledge,
        )
        return self._save("monitor", monitor(self.aws, self._with(deployed.classes), watched, self.report))

    def observe(  # noqa: PLR0913 - one parameter for each option
        self,
        endpoint: str,
        capture: str,
        classes: Sequence[str] = (),
        *,
        first: int = 0,
        at_least: int = 0,
        acknowledge: bool = False,
    ) -> "MonitorResult":
        """Check the traffic of an endpoint that Scones did not make, from its data capture below the URI *capture*.

        *classes* are named in the order of its answers; by default they are those of the staged photos. The first run
        makes the baseline: of the *first* captured photos or, if 0, of the endpoint's answers to the staged photos.
        """
        from scones.steps.monitor import find_observed, monitor

        named = tuple(classes) or self._classes()
        target = find_observed(self.aws, endpoint, capture, named, first)
        topic, samples = self._up().alert_topic_arn, () if first else self._staged_samples()
        target = replace(target, alert_topic=topic, samples=samples, at_least=at_least, acknowledge=acknowledge)
        return monitor(self.aws, self._with(named), target, self.report)

    def learn(self, days: int) -> "LearnedDays":
        """Use the traffic of the last *days* days as the monitor's baseline; 0 returns to the training photos."""
        deployed = self._deployed()
        from scones.steps.monitor import learn

        found = learn(self.aws, deployed.endpoint, deployed.model_uri, days, self.settings.seed)
        baseline = f"{found.photos} photos of {found.days} days" if days else "the training photos"
        self.report.tell(f"baseline: {baseline}")
        return found

    def label(self, labels: AnyPath) -> "LabelResult":
        """Keep *labels*, as `import_labels` does; the name of 0.1.0, which works until the release after 0.2."""
        return self.import_labels(labels)

    def to_label(self, page: AnyPath) -> None:
        """Export reviews to *page*; the name of 0.1.0, which works until the release after 0.2."""
        found = self.export_reviews(page)
        self.report.tell(f"{found.photos} photos to label: {found.page}; write the labels into {found.table}")

    def import_labels(self, labels: AnyPath, by: str = "") -> "LabelResult":
        """Keep the labels in a file, and compare them with what the models had answered."""
        from scones.steps.labels import import_labels

        return import_labels(self.aws, self._answering(), Path(labels), by or self.aws.person, self.report)

    def export_reviews(self, page: AnyPath, choose: int = 30, limit: int = 200) -> "ReviewExport":
        """Write the open reviews as a page, a table to fill in and tasks for Label Studio."""
        from scones.steps.labels import export_reviews

        return export_reviews(self.aws, self._answering(), Path(page), choose, limit)

    def _answering(self) -> "Deployed":
        from scones.steps.labels import Deployed

        deployed = self._deployed()
        days = self.settings.photo_retention_days
        return Deployed(deployed.endpoint, deployed.model_uri, deployed.capture_prefix, days)

    def reviews(self, state: str = "open", limit: int = 100) -> "Reviews":
        """List the photos that wait for a person, or were answered or skipped, and count the open ones."""
        self._up()
        from scones.deployment.reviews import list_reviews

        return list_reviews(self.aws, state, limit)

    def answer(self, photo: str, label: str, by: str = "") -> "ReviewAnswer":
        """Say what a photo shows, and dispatch the courier who waits for it; *by* defaults to the credentials' user."""
        from scones.deployment.reviews import answer

        return answer(self.aws, photo, label, by or self.aws.person, self._deployed().classes)

    def withdraw(self, photo: str, by: str = "") -> "ReviewAnswer":
        """Withdraw what a person said about a photo."""
        self._up()
        from scones.deployment.reviews import withdraw

        return withdraw(self.aws, photo, by or self.aws.person)

    def skip_review(self, photo: str) -> "Review":
        """Take a photo out of the open reviews without an answer."""
        self._up()
        from scones.deployment.reviews import skip

        return skip(self.aws, photo)

    def review_photo(self, photo: str) -> bytes:
        """Read the photo of a review."""
        self._up()
        from scones.deployment.reviews import review_photo

        return review_photo(self.aws, photo)

    def history(self, page: AnyPath) -> None:
        """Draw the results of all monitoring runs over time, as *page*."""
        deployed = self._deployed()
        from scones.steps.monitor import history

        windows = history(self.aws, deployed.endpoint, deployed.model_uri, Path(page))
        self.report.tell(f"report {page}: {windows} windows")

    def dispatch(self, example: int = 0) -> "DispatchResult":
        """Dispatch the open orders now; first add *example* example orders, with couriers as classified last."""
        self._up()
        from scones.steps.dispatch import dispatch, register_couriers

        if example:
            self.order(example)
            register_couriers(self.aws, self._classified().decided(), self.settings.seed)
        return self._save("dispatch", dispatch(self.aws, self.settings, self.report))

    def simulate(self, stream: "Stream") -> "SimulationResult":
        """Send a stream of events made of the staged test photos, each showing a courier, with an order for each."""
        workflow_arn = self._up().workflow_arn
        self._deployed()
        from scones.steps.simulate import plan_events, simulate

        photos = [sample for sample in self.samples() if sample.split == "test"]
        events = plan_events(photos, stream, self.settings.seed)
        self.order(len(events))
        rate = stream.per_second, self.settings.clients
        return self._save("simulate", simulate(self.aws, workflow_arn, events, rate, self.report))

    def order(self, count: int) -> None:
        """Place *count* example orders now."""
        from scones.steps.dispatch import place_orders

        place_orders(self.aws, count, self.settings.seed)

    def status(self) -> "Status":
        """Describe the environment's resources."""
        from scones.steps.status import status

        return status(self.aws)

    def down(self, *, keep_data: bool = False, confirm: Callable[[], None] | None = None) -> "TeardownReport":
        """Delete everything, or all but photos, models and records.

        *confirm* is called before anything is deleted, when what will be was told; it raises to stop.
        """
        from scones.steps.down import down

        return down(self.aws, self.report, keep_data=keep_data, confirm=confirm)

    def samples(self) -> tuple[Sample, ...]:
        """Read the manifest of the photos staged last."""
        staged = self._staged()
        return tuple(
            sample
            for split in ("train", "test")
            for sample in from_lines(self.aws.bucket.get(manifest_key(staged.version, split)), self.aws.bucket.name)
        )

    def _staged_samples(self) -> tuple[Sample, ...]:
        try:
            return self.samples()
        except MissingPrerequisite:
            return ()

    def upload(self, name: str, photo: bytes, label: str = "") -> Sample:
        """Upload one photo to classify."""
        from scones.steps.classify import upload_photo

        return upload_photo(self.aws, name, photo, label)

    def _trained_model(self) -> "TrainedModel | None":
        """The last trained model, whichever photos it was trained on."""
        from scones.steps.stage import TrainedModel

        try:
            trained = self._trained()
        except MissingPrerequisite:
            return None
        return TrainedModel(trained.job, trained.model_uri, trained.data_version)

    def _classes(self) -> tuple[str, ...]:
        try:
            return self._staged().classes
        except MissingPrerequisite:
            return self.settings.classes

    def _with(self, classes: tuple[str, ...]) -> Settings:
        return replace(self.settings, classes=classes)

    def _staged(self) -> "StageResult":
        from scones.steps.stage import StageResult

        return self._load("stage", StageResult)

    def _trained(self) -> "TrainingResult":
        from scones.steps.train import TrainingResult

        return self._load("train", TrainingResult)

    def _up(self) -> "StackOutputs":
        from scones.steps.up import StackOutputs

        return self._load("up", StackOutputs)

    def _deployed(self) -> "DeployResult":
        from scones.steps.deploy import DeployResult

        return self._load("deploy", DeployResult)

    def _classified(self) -> "ClassifyResult":
        from scones.steps.classify import ClassifyResult

        return self._load("classify", ClassifyResult)

    def _save(self, step: str, result: T) -> T:
        save_result(self.aws, step, result)
        return result

    def _load(self, step: str, kind: type[T]) -> T:
        return load_result(self.aws, step, kind)
