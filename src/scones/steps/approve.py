"""Approve: register trained models, approved if they pass the gate, and approve or reject them by hand."""

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType

from scones.aws.connection import Aws
from scones.aws.registry import ApprovalStatus, ModelPackage, ModelRegistration
from scones.config.settings import Settings
from scones.deployment.template import code_version, image_uri
from scones.domain.progress import Reporter
from scones.evaluation.gate import GateRequirements, check_requirements, explain
from scones.evaluation.metrics import ClassificationMetrics, evaluate_predictions
from scones.model.model_file import ModelFile, open_model_file
from scones.model.out_of_fold import OutOfFoldPredictions

__all__ = ["ApprovalStatus", "ModelPackage", "approve", "register"]


def approve(aws: Aws, number: int, approval: ApprovalStatus, reason: str, report: Reporter) -> ModelPackage:
    """Approve or reject the model of that *number*; this replaces the earlier decision.

    Raises:
        NoSuchModel: there is none of that number.
    """
    package = aws.registry.decide(aws.registry.get(number), approval, reason)
    report.tell(f"model {package.number} is {approval.lower()}: {package.reason}")
    return package


UNJUDGED = "it has no out-of-fold predictions"


def register(
    aws: Aws, settings: Settings, model_uri: str, report: Reporter, lineage: Mapping[str, str] = MappingProxyType({})
) -> ModelPackage:
    """Register the model at *model_uri*, approved if it passes the gate; a registered and checked one is unchanged.

    Raises:
        InvalidModelFile: the model cannot be read.
        RegistryTaken: the registry's name is taken.
    """
    package = aws.registry.find(model_uri)
    if package and package.reason:
        return package
    with open_model_file(aws.bucket.get(aws.bucket.key(model_uri))) as model_file:
        evaluation = _out_of_fold(model_file, settings)
        if package is None:
            statistics = _keep(aws, model_uri, evaluation) if evaluation else ""
            facts = {**_lineage(model_file, evaluation), **lineage}
            package = aws.registry.register(ModelRegistration(image_uri(aws), model_uri, statistics, facts))
    approval, reason = _judge(evaluation, GateRequirements.of(settings))
    package = aws.registry.decide(package, approval, reason)
    words = "approved" if approval is ApprovalStatus.APPROVED else "pending approval"
    report.tell(f"model {package.number} is registered and {words}: {reason}")
    if approval is ApprovalStatus.PENDING:
        report.tell(f"to approve it nevertheless, run: scones approve {package.number}")
    return package


def _out_of_fold(model_file: ModelFile, settings: Settings) -> ClassificationMetrics | None:
    """Out-of-fold predictions: test photos must not decide about the model."""
    known = OutOfFoldPredictions.kept(model_file)
    if known is None:
        return None
    return evaluate_predictions(known.labels, known.probabilities, known.classes, settings.threshold)


def _judge(evaluation: ClassificationMetrics | None, requirements: GateRequirements) -> tuple[ApprovalStatus, str]:
    if evaluation is None:
        return ApprovalStatus.PENDING, UNJUDGED
    if failed := explain(check_requirements(evaluation, requirements)):
        return ApprovalStatus.PENDING, f"out of fold, {failed}"
    return (
        ApprovalStatus.APPROVED,
        f"passed the gate: cross-validated accuracy {evaluation.accuracy:.1%}, n = {evaluation.n}",
    )


def _lineage(model_file: ModelFile, evaluation: ClassificationMetrics | None) -> dict[str, str]:
    """The model's lineage, within the registry's limits."""
    measured = {"accuracy-out-of-fold": f"{evaluation.accuracy:.4f}", "n": str(evaluation.n)} if evaluation else {}
    return {
        "data-version": model_file.data_version,
        "code-version": code_version(),
        "seed": str(model_file.seed),
        "model-version": model_file.version,
        **measured,
    }


def _keep(aws: Aws, model_uri: str, evaluation: ClassificationMetrics) -> str:
    """Store the evaluation beside the model, in the form that SageMaker Studio shows."""
    spread = (evaluation.accuracy * (1 - evaluation.accuracy) / evaluation.n) ** 0.5
    figures = {"accuracy": {"value": evaluation.accuracy, "standard_deviation": spread}}
    folder = aws.bucket.key(model_uri).rpartition("/")[0]
    return aws.bucket.put_json(
        f"{folder}/out-of-fold.json", {"multiclass_classification_metrics": figures, "scones": asdict(evaluation)}
    )
