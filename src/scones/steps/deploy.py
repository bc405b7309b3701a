"""Deploy: deploy an approved model to the endpoint as a new release, with data capture."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from scones.aws.client import AwsError, continues
from scones.aws.cloudformation import STACK_SECONDS
from scones.aws.connection import Aws
from scones.aws.hosting import VARIANT, EndpointPlan, Serverless, choose_hosting, max_update_seconds
from scones.aws.registry import ApprovalStatus, ModelPackage
from scones.aws.sagemaker import EndpointFailed, UpdateRolledBack
from scones.config.settings import Settings
from scones.deployment.lock import deployment_lock
from scones.deployment.pricing import endpoint_continues
from scones.deployment.releases import (
    Release,
    announce_unwatched,
    list_releases,
    next_number,
    prune,
    restore_release,
    save_release,
    show_update,
)
from scones.deployment.template import CAPTURE_PARAMETER, code_version, image_uri, template_for
from scones.domain.errors import DeploymentError
from scones.domain.naming import CAPTURE_FOLDER, ENV_TAG, EXPIRES_TAG, capture_prefix
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.model.model_file import open_model_file

_DIGITS = 12


@dataclass(frozen=True, slots=True)
class DeployResult(StepResult):
    """The endpoint and its model; *release* is the release's number, *package* the model's in the registry."""

    endpoint: str
    config: str
    model: str
    model_uri: str
    classes: tuple[str, ...]
    capture_prefix: str
    """The prefix of the data capture in the bucket, by hour."""
    release: int = 0
    package: int = 0
    """Both are 0 if a version without the registry deployed."""

    @classmethod
    def of(cls, release: Release) -> "DeployResult":
        """Build it from a release."""
        return cls(
            endpoint=release.endpoint,
            config=release.config,
            model=release.model,
            model_uri=release.model_uri,
            classes=release.classes,
            capture_prefix=release.capture_prefix,
            release=release.number,
            package=release.package,
        )


class NotApproved(DeploymentError):
    """The model is not approved."""

    def __init__(self, package: ModelPackage, env: str) -> None:
        state = "was rejected" if package.approval is ApprovalStatus.REJECTED else "is not approved"
        super().__init__(
            f"model {package.number} {state}: {package.reason or 'it was not checked'}; "
            f"to approve it nevertheless, run: scones approve {package.number} --env {env}"
        )
        self.package = package


class OtherClasses(DeploymentError):
    """The stack's functions expect other classes than the model predicts: every photo would fail."""

    def __init__(self, package: ModelPackage, predicted: tuple[str, ...], expected: tuple[str, ...], env: str) -> None:
        super().__init__(
            f"model {package.number} predicts {', '.join(predicted)}, but the functions expect {', '.join(expected)}; "
            f"run: scones up --env {env}, and then deploy it; photos that arrive between both fail"
        )


def model_classes(aws: Aws, package: ModelPackage) -> tuple[str, ...]:
    """Read the classes from the model file of *package*.

    Raises:
        InvalidModelFile: the file cannot be read.
    """
    with open_model_file(aws.bucket.get(aws.bucket.key(package.model_uri))) as model_file:
        return model_file.classes


def deploy(aws: Aws, settings: Settings, package: ModelPackage, report: Reporter, *, now: bool = False) -> Release:
    """Create or update the endpoint, with *now* at once; if the newest release is the same, nothing changes.

    Raises:
        NotApproved: the model was rejected, or is pending.
        OtherClasses: the stack was made for other classes.
        EnvironmentBusy: another command is changing the environment.
        EndpointFailed: it is not in service.
        UpdateRolledBack: the new model failed under traffic or did not start; the previous one stays live.
        StackMissing: the stack lacks the role, or the alarm for updates.
    """
    if package.approval is not ApprovalStatus.APPROVED:
        raise NotApproved(package, aws.env)
    expected = aws.stack.function_classes()
    if expected and expected != settings.classes:
        raise OtherClasses(package, settings.classes, expected, aws.env)
    # The stack may change first; then the endpoint may settle before it is updated.
    seconds = STACK_SECONDS + 2 * max_update_seconds(settings.watch_seconds)
    with deployment_lock(aws, "deploy", seconds, report):
        return _deploy(aws, settings, package, report, now)


def _deploy(aws: Aws, settings: Settings, package: ModelPackage, report: Reporter, now: bool) -> Release:
    plan = _plan(aws, settings, package)
    _let_functions_capture(aws, isinstance(plan.hosting, Serverless), report)
    release = _release(aws, settings, package, plan)
    if not release.finished:
        # Saved first, so that an interrupted deploy is recognized.
        save_release(aws.bucket, release, finished=False)
    report.tell(f"endpoint {plan.name}: waiting until {plan.model} is live")
    if not release.finished:
        live = aws.sagemaker.find_endpoint(plan.name)
        hosting = aws.scaling.pause(plan.hosting, sum(aws.sagemaker.instances(live).values()))
        plan = replace(
            plan, hosting=announce_unwatched(hosting, "scones rollback", report) if now and live else hosting
        )
    try:
        with continues(endpoint_continues(settings, "deploy")):
            endpoint = aws.sagemaker.deploy(plan, show_update(plan.hosting, report))
    except (EndpointFailed, UpdateRolledBack, AwsError):
        restore_release(aws, settings, [] if release.finished else [release])
        raise
    aws.scaling.configure(settings)
    release = save_release(aws.bucket, release, finished=True)
    prune(aws)
    _set_expiry(aws, endpoint.arn, settings.endpoint_lifetime_hours)
    report.tell(f"endpoint {plan.name} is in service: release {release.number}, model {release.package}")
    return release


def _plan(aws: Aws, settings: Settings, package: ModelPackage) -> EndpointPlan:
    role = aws.stack.find_output("HostingRoleArn")
    key = aws.stack.key()
    hosting = choose_hosting(settings, aws.bucket.uri(CAPTURE_FOLDER), aws.stack.find_output("EndpointAlarmName"), key)
    return EndpointPlan(
        name=aws.name,
        config=aws.prefix + _digest(package.model_uri, image_uri(aws), role, str(hosting.variant()) + key),
        model=aws.prefix + _digest(package.model_uri, image_uri(aws), role),
        image=image_uri(aws),
        role=role,
        model_uri=package.model_uri,
        hosting=hosting,
        tags={ENV_TAG: aws.name},
    )


def _release(aws: Aws, settings: Settings, package: ModelPackage, plan: EndpointPlan) -> Release:
    """The newest release if it matches, else a new one."""
    wanted = Release(
        number=0,
        package=package.number,
        model_uri=package.model_uri,
        classes=settings.classes,
        endpoint=plan.name,
        config=plan.config,
        model=plan.model,
        mode=settings.mode,
        instances=0 if isinstance(plan.hosting, Serverless) else plan.hosting.instances,
        capture_prefix=capture_prefix(plan.name, VARIANT),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        by=code_version(),
        person=aws.person,
    )
    before = list_releases(aws.bucket)
    if before:
        newest = before[-1]
        same = {"number": newest.number, "when": newest.when, "by": newest.by, "person": newest.person}
        if newest == replace(wanted, finished=True, **same):  # type: ignore[arg-type]
            return newest
    return replace(wanted, number=next_number(aws.bucket))


def _set_expiry(aws: Aws, arn: str, hours: int) -> None:
    if hours:
        expires = datetime.now(UTC) + timedelta(hours=hours)
        aws.sagemaker.tag(arn, {EXPIRES_TAG: expires.isoformat(timespec="seconds")})
    else:
        aws.sagemaker.untag(arn, EXPIRES_TAG)


def _let_functions_capture(aws: Aws, wanted: bool, report: Reporter) -> None:
    """Turn the capture by the classify function on or off; first, so that no photo is missed."""
    stack = aws.stack.find()
    value = "yes" if wanted else "no"
    if stack and stack.parameters.get(CAPTURE_PARAMETER, "no") != value:
        parameters = {**stack.parameters, CAPTURE_PARAMETER: value}
        aws.stack.deploy(template_for(aws, parameters), parameters, report.tell)


def _digest(*parts: str) -> str:
    """Name a configuration by its content, so that the same one is found again."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGITS]
