"""The pipeline: every step in order; each saves its result for later commands.

A step is imported when it is called, so that a command loads what it uses and no more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scones.domain.errors import MissingPrerequisite, SconesError, require_writable
from scones.domain.progress import Silent
from scones.environment import AnyPath, ModelReference, as_path, as_place, read_reference
from scones.operations import Operations

if TYPE_CHECKING:
    from scones.deployment.checks import SmokeTestResult
    from scones.deployment.pricing import CostTable, Estimate, WorkloadMode
    from scones.steps.approve import ModelPackage
    from scones.steps.compare import ModelComparison
    from scones.steps.deploy import DeployResult
    from scones.steps.down import TeardownReport
    from scones.steps.evaluate import Evaluation, EvaluationOptions
    from scones.steps.image import ImageResult
    from scones.steps.models import ModelList, ReleaseList
    from scones.steps.stage import ForgottenPhoto, StageResult
    from scones.steps.status import Status
    from scones.steps.train import TrainingResult
    from scones.steps.up import StackOutputs

ORDERS = 40


@dataclass(frozen=True, slots=True)
class Pipeline(Operations):
    """The steps of one environment; each saves its result in the bucket for later steps."""

    def stage(self, page: AnyPath | None = None, *, with_labels: bool = False) -> "StageResult":
        """Stage the photos that the settings name and report on them, in the bucket and, if named, in *page*.

        *with_labels* stages those of the version before instead, and the photos that people labelled.
        """
        from scones.steps.stage import DatasetReportOptions, load_grown, load_photos, stage

        if page is not None:
            require_writable(Path(page), ".json")
        options = DatasetReportOptions(as_path(page), self._trained_model())
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
            settings = replace(self._with(foreign.classes or self.settings.classes), data=as_place(photos))
            replace(self, settings=settings).stage()
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

    def approve(
        self, model: ModelReference | None = None, reason: str = "by hand", *, reject: bool = False
    ) -> "ModelPackage":
        """Approve or reject a registered *model*, by default the one trained last."""
        from scones.steps.approve import ApprovalStatus, approve

        chosen = self.registered() if model is None else self.model(model)
        decision = ApprovalStatus.REJECTED if reject else ApprovalStatus.APPROVED
        return approve(self.aws, chosen.number, decision, reason, self.report)

    def models(self) -> "ModelList":
        """List the registered models, the newest first."""
        from scones.steps.models import list_models

        return list_models(self.aws)

    def releases(self) -> "ReleaseList":
        """List the kept releases, the newest first."""
        from scones.steps.models import list_kept_releases

        return list_kept_releases(self.aws)

    def compare(self, one: ModelReference, other: ModelReference) -> "ModelComparison":
        """Compare two models on the staged test photos that neither was trained on.

        Two registered ones are compared on the training photos that both predicted out of fold where nothing is staged.
        """
        from tempfile import TemporaryDirectory

        from scones.steps.compare import compare, compare_on_test_photos

        names = [found if isinstance(found := read_reference(named), int) else str(found) for named in (one, other)]
        samples = self._staged_samples()
        if not samples and isinstance(names[0], int) and isinstance(names[1], int):
            return compare(self.aws, names[0], names[1])
        with TemporaryDirectory() as folder:
            ours, theirs = (self.model_file(named, Path(folder)) for named in (one, other))
            return compare_on_test_photos(self.aws, ((names[0], ours), (names[1], theirs)), samples, self.report)

    def up(self, *, replace_data: bool = False) -> "StackOutputs":
        """Create or update the stack, for the classes staged last or those of the settings."""
        from scones.steps.up import ChangeApproval, up

        approval = ChangeApproval(self.agree, self.image, replace_data)
        return self._save("up", up(self.aws, self._with(self._classes()), approval, self.report))

    def deploy(self, model: ModelReference | None = None, *, now: bool = False) -> "DeployResult":
        """Deploy a registered *model*, by default the one trained last; with *now* at once, unwatched.

        Where another model is live, both are compared first.
        """
        from scones.steps.deploy import DeployResult, deploy, model_classes

        self.agree_to_price("deploy")
        package = self.registered() if model is None else self.model(model)
        settings = self._with(model_classes(self.aws, package))
        self.image()
        self._compare_with_live(package.number)
        return self._save("deploy", DeployResult.of(deploy(self.aws, settings, package, self.report, now=now)))

    def _compare_with_live(self, number: int) -> None:
        """Tell how much better a model is than the live one, if another is live; that decides nothing."""
        try:
            live = self._deployed().package or number
        except MissingPrerequisite:
            return
        if live == number:
            return
        try:
            found = self.compare(number, live)
        except SconesError as why:
            self.report.tell(f"model {number} was not compared with the live model {live}: {why}")
        else:
            for line in found.lines():
                self.report.tell(line)

    def rollback(self, to: int | None = None, *, now: bool = False) -> "DeployResult":
        """Return the endpoint to the previous release, or to release *to*; with *now* at once, unwatched."""
        from scones.steps.deploy import DeployResult
        from scones.steps.rollback import rollback

        return self._save("deploy", DeployResult.of(rollback(self.aws, self.settings, self.report, to=to, now=now)))

    def smoke(self) -> "SmokeTestResult | None":
        """Send one photo through the workflow, if there is a workflow, and an endpoint with a model of its classes."""
        from scones.deployment.checks import smoke_test

        try:
            workflow_arn = self._up().workflow_arn
        except MissingPrerequisite:
            self.report.tell("smoke test skipped: there is no workflow yet; run: scones up")
            return None
        try:
            changed = self._deployed().classes != self.aws.stack.function_classes()
        except MissingPrerequisite:
            changed = False
        if changed:
            self.report.tell("smoke test skipped: the model in service predicts other classes; run: scones deploy")
            return None
        return smoke_test(self.aws, workflow_arn, self.report)

    def evaluate(self, options: "EvaluationOptions | None" = None) -> "Evaluation":
        """Evaluate the deployed model on the staged test photos; with a gate, approve or reject it."""
        from scones.steps.evaluate import DeployedModel, EvaluationOptions, evaluate

        options = options or EvaluationOptions()
        if options.load:
            self.agree_to_price("evaluate")
        options = replace(options, report=as_path(options.report))
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
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            if options.against is not None:
                options = replace(options, against=self.model_file(options.against, Path(folder)))
            result = evaluate(model, self._with(deployed.classes), options, self.report)
        if options.gate and deployed.package:
            from scones.evaluation.gate import explain

            failed = explain(result.gate)
            # The result has the reasons.
            quiet = replace(self, report=Silent())
            quiet.approve(deployed.package, failed or "by the gate, at the endpoint", reject=bool(failed))
            self.report.tell(f"model {deployed.package} is {'rejected' if failed else 'approved'} by the gate")
        return self._save("evaluate", result)

    def status(self) -> "Status":
        """Describe the environment's resources."""
        from scones.steps.status import status

        return status(self.aws)

    def cost(  # noqa: PLR0913 - one parameter for each option
        self,
        photos: int | None = None,
        mode: "WorkloadMode | None" = None,
        instance: str | None = None,
        instances: int | None = None,
        hours: float | None = None,
        memory: int | None = None,
        *,
        kms: bool | None = None,
    ) -> "Estimate | CostTable":
        """Estimate what classifying *photos* costs on AWS; without arguments, one million photos in each mode.

        What is not given is as in the settings. *hours* is how long the endpoint's instances run, by default while
        they are busy; *memory* is a serverless endpoint's, in MB. Nothing is sent to AWS.

        Raises:
            UnknownPrice: the price list lacks the instance type.
            TooFewHours: the instances would end before the last photo is answered.
        """
        from scones.deployment.pricing import cost

        return cost(
            self.settings,
            photos=photos,
            mode=mode,
            instance=instance,
            instances=instances,
            hours=hours,
            memory_mb=memory,
            kms=kms,
        )

    def down(self, *, keep_data: bool = False, confirm: Callable[[], None] | None = None) -> "TeardownReport":
        """Delete everything, or all but photos, models and records.

        *confirm* is called before anything is deleted, when what will be was told; it raises to stop.
        """
        from scones.steps.down import down

        return down(self.aws, self.report, keep_data=keep_data, confirm=confirm)
