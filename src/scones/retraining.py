"""Retraining: its phases in order, for a command, and one at a time, for the state machine."""

from dataclasses import replace
from typing import Any

from scones.aws.sagemaker import EndpointFailed, UpdateRolledBack
from scones.config.settings import Settings
from scones.deployment.checks import SmokeTestFailed
from scones.deployment.retrainings import (
    NewLabels,
    Phase,
    Retraining,
    RetrainingOutcome,
    count_new_labels,
    current,
    save,
)
from scones.environment import load_result, save_result
from scones.pipeline import Pipeline
from scones.steps.approve import register
from scones.steps.deploy import DeployResult, NotApproved, deploy, model_classes
from scones.steps.retrain import RetrainingStart, begin, compared, decide, end, lineage, propose, staged, trained
from scones.steps.stage import StageResult
from scones.steps.train import TrainingResult, prepare_training, train
from scones.steps.up import StackOutputs


def retrain(flow: Pipeline, reason: str = "by hand") -> Retraining:
    """Train on the labels, compare the new model with the live one, and deploy it if it is good enough.

    A retraining that was interrupted continues. With the setting `retrain = propose` it ends by waiting for
    `decide_retraining`.

    Raises:
        RetrainingRefused: one is running already, or there is nothing to learn.
        EnvironmentBusy: a deployment runs.
    """
    found = begin_retraining(flow, reason)
    while found.phase not in {Phase.APPROVE, Phase.ENDED}:
        found = continue_retraining(flow, found)
    return found


def begin_retraining(flow: Pipeline, reason: str, execution: str = "") -> Retraining:
    """Begin a retraining, or go on with an interrupted one; *execution* is the state machine's, if that asks."""
    deployed = load_result(flow.aws, "deploy", DeployResult)
    start = RetrainingStart(reason, deployed.package, deployed.model_uri, new_labels(flow), execution)
    return begin(flow.aws, flow.settings, start, flow.report)


def new_labels(flow: Pipeline) -> NewLabels:
    """Count the labels that the live model has not learned."""
    aws = flow.aws
    package = aws.registry.find(load_result(aws, "deploy", DeployResult).model_uri)
    labels = tuple(aws.tables.labels.all()) if aws.tables.labels.exists() else ()
    return count_new_labels(aws, package.properties.get("data-version", "") if package else "", labels, current(aws))


def continue_retraining(flow: Pipeline, found: Retraining) -> Retraining:
    """Do the next phase of a retraining; where a person must decide, or it has ended, nothing."""
    return _PHASES[found.phase](flow, found) if found.phase in _PHASES else found


def decide_retraining(flow: Pipeline, *, reject: str | None = None) -> Retraining:
    """Deploy the model that a retraining proposes, or with *reject* do not, for this reason.

    Raises:
        RetrainingRefused: no retraining waits for a decision.
    """
    found = decide(flow.aws, reject, flow.report)
    while not found.execution and found.phase is not Phase.ENDED:
        found = continue_retraining(flow, found)
    return found


def training_request(flow: Pipeline, found: Retraining) -> dict[str, Any]:
    """Build the request of a retraining's training job, for the state machine."""
    return prepare_training(flow.aws, _settings(flow), found.data_version, found.job)


def propose_retraining(flow: Pipeline, found: Retraining, token: str) -> Retraining:
    """Tell people that a model waits for their decision, for which an execution waits with *token*."""
    return propose(flow.aws, found, token, load_result(flow.aws, "up", StackOutputs).alert_topic_arn)


def _settings(flow: Pipeline) -> Settings:
    """The settings, for the classes of the staged data."""
    return replace(flow.settings, classes=load_result(flow.aws, "stage", StageResult).classes)


def _stage(flow: Pipeline, found: Retraining) -> Retraining:
    result = flow.stage(with_labels=True)
    return staged(flow.aws, found, result.version, result.labelled, flow.report)


def _train(flow: Pipeline, found: Retraining) -> Retraining:
    """Train, or collect the model of a job that the state machine has run."""
    if not found.execution:
        flow.image()
    result = train(flow.aws, _settings(flow), found.data_version, flow.report)
    save_result(flow.aws, "train", result)
    return trained(flow.aws, flow.settings, found, result.job, result.model_uri)


def _compare(flow: Pipeline, found: Retraining) -> Retraining:
    settings = replace(flow.settings, classes=load_result(flow.aws, "train", TrainingResult).classes)
    package = register(flow.aws, settings, found.model_uri, flow.report, lineage(found))
    return compared(flow.aws, flow.settings, replace(found, challenger=package.number), flow.report)


def _deploy(flow: Pipeline, found: Retraining) -> Retraining:
    package = flow.aws.registry.get(found.challenger)
    settings = replace(flow.settings, classes=model_classes(flow.aws, package))
    try:
        release = deploy(flow.aws, settings, package, flow.report)
    except NotApproved as reason:
        return end(flow.aws, found, RetrainingOutcome.DECLINED, str(reason), flow.report)
    except (EndpointFailed, UpdateRolledBack) as reason:
        return end(flow.aws, found, RetrainingOutcome.ROLLED_BACK, str(reason), flow.report)
    save_result(flow.aws, "deploy", DeployResult.of(release))
    return save(flow.aws, replace(found, phase=Phase.WATCH))


def _watch(flow: Pipeline, found: Retraining) -> Retraining:
    try:
        flow.smoke()
    except SmokeTestFailed as reason:
        flow.rollback()
        return end(flow.aws, found, RetrainingOutcome.ROLLED_BACK, str(reason), flow.report)
    why = found.comparison.reason() if found.comparison else ""
    return end(flow.aws, found, RetrainingOutcome.DEPLOYED, why, flow.report)


_PHASES = {
    Phase.STAGE: _stage,
    Phase.TRAIN: _train,
    Phase.COMPARE: _compare,
    Phase.DEPLOY: _deploy,
    Phase.WATCH: _watch,
}


class PythonPipeline(Pipeline):
    """The pipeline that `Scones` opens: also with the retraining, which takes several of its steps."""

    def retrain(self, reason: str = "by hand") -> Retraining:
        """Train on the labels, and deploy the new model if it is better than the live one, as `scones retrain` does.

        Raises:
            RetrainingRefused: one is running already, or there is nothing to learn.
        """
        self.agree_to_price("retrain")
        return retrain(self, reason)

    def decide_retraining(self, *, reject: str | None = None) -> Retraining:
        """Deploy the model that a retraining proposes, or with *reject* do not, for this reason.

        Raises:
            RetrainingRefused: no retraining waits for a decision.
        """
        return decide_retraining(self, reject=reject)
