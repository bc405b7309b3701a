"""Deploy: put the trained model behind the endpoint, and capture what it sees."""

import hashlib
from dataclasses import dataclass

from scones.aws.connection import Aws
from scones.aws.hosting import VARIANT, EndpointPlan, Realtime, Serverless
from scones.progress import Reporter
from scones.release import CAPTURE_PARAMETER, template
from scones.settings import Settings

_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Deployed:
    """The endpoint, and the model behind it."""

    endpoint: str
    config: str
    model: str
    model_uri: str
    classes: tuple[str, ...]
    capture_prefix: str
    """Below it in the bucket lies the data capture, by hour."""


def deploy(aws: Aws, settings: Settings, model_uri: str, report: Reporter) -> Deployed:
    """Create or update the endpoint; one that serves this model already is left as it is.

    Raises:
        EndpointFailed: it is not in service.
        UpdateRolledBack: the new model failed under traffic or did not start; the one before goes on serving.
        StackMissing: the stack lacks the role, or the alarm that guards updates.
    """
    role = aws.stack.find_output("HostingRoleArn")
    hosting = _hosting(aws, settings)
    plan = EndpointPlan(
        name=aws.name,
        config=aws.prefix + _digest(model_uri, aws.image, role, str(hosting.variant())),
        model=aws.prefix + _digest(model_uri, aws.image, role),
        image=aws.image,
        role=role,
        model_uri=model_uri,
        hosting=hosting,
    )
    _let_functions_capture(aws, isinstance(hosting, Serverless), report)
    watched = f"; each step of an update is watched for {settings.baking_seconds} s" if hosting.update() else ""
    report.tell(f"endpoint {plan.name}: waiting until it serves {plan.model}{watched}")
    aws.sagemaker.deploy(plan)
    report.tell(f"endpoint {plan.name} is in service")
    prefix = f"capture/{plan.name}/{VARIANT}/"
    return Deployed(plan.name, plan.config, plan.model, model_uri, settings.classes, prefix)


def _hosting(aws: Aws, settings: Settings) -> Realtime | Serverless:
    if settings.mode == "serverless":
        return Serverless(settings.serverless_memory_mb, settings.serverless_concurrency)
    return Realtime(
        instance=settings.endpoint_instance,
        instances=settings.endpoint_instances,
        capture_uri=aws.bucket.uri("capture"),
        alarm=aws.stack.find_output("EndpointAlarmName"),
        canary_percent=settings.canary_percent,
        baking_seconds=settings.baking_seconds,
    )


def _let_functions_capture(aws: Aws, wanted: bool, report: Reporter) -> None:
    """Have the classify function write the capture, or not; first of all, so that no photo goes unseen."""
    stack = aws.stack.find()
    value = "yes" if wanted else "no"
    if stack and stack.parameters.get(CAPTURE_PARAMETER, "no") != value:
        aws.stack.deploy(template(), {**stack.parameters, CAPTURE_PARAMETER: value}, report.tell)


def _digest(*parts: str) -> str:
    """Name a configuration by what it holds, so that the same one is found again and never changed."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGITS]
