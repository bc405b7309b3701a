"""Up: check the account, show what would change, and create or update the stack."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlsplit

from scones.aws.client import continues
from scones.aws.cloudformation import STACK_SECONDS, ChangeSet, DataAtRisk, Stack
from scones.aws.connection import Aws
from scones.config.settings import Settings, to_environment
from scones.deployment.checks import preflight
from scones.deployment.cleanup import owns_bucket
from scones.deployment.lock import deployment_lock
from scones.deployment.pricing import stack_price, up_price
from scones.deployment.template import (
    base_parameters,
    function_code,
    function_release,
    image_source,
    template_for,
)
from scones.domain.notification import emails_and_webhooks
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.text import plural
from scones.domain.vehicles import require_known, vehicle_limits, without_limits, write_limits

# Waiting for the stack, building the image and changing the stack each take at most half an hour to an hour.
_LOCK_SECONDS = 3 * STACK_SECONDS


@dataclass(frozen=True, slots=True)
class StackOutputs(StepResult):
    """The names of the stack's resources."""

    stack: str
    bucket: str
    workflow_arn: str
    hosting_role_arn: str
    alert_topic_arn: str
    failure_topic_arn: str
    couriers_table: str
    orders_table: str
    decisions_table: str
    threshold: float
    reviews_table: str = ""
    labels_table: str = ""
    classes: tuple[str, ...] = ()
    dispatch_rules: str = ""
    """The limits of each class with dispatch rules, as `read_limits` reads them."""


@dataclass(frozen=True, slots=True)
class ChangeApproval:
    """The user's approval of changes; *ask* raises Cancelled if they decline the changes that were shown."""

    ask: Callable[[], None]
    build: Callable[[], object]
    """Builds the container image of the functions, once the bucket exists and the changes are approved."""
    replace_data: bool = False
    """Whether a bucket or a table may be replaced or removed, with its data."""


def up(aws: Aws, settings: Settings, approval: ChangeApproval, report: Reporter) -> StackOutputs:
    """Create or update the stack; one that matches already is unchanged.

    Raises:
        BucketTaken: the bucket's name is taken.
        DataAtRisk: a bucket or a table would be replaced or removed, without `replace_data`.
        EnvironmentBusy: another command is changing the environment.
        SettingsError: dispatch rules for a class that there is not, or too many of them.
        StackFailed: with CloudFormation's first reason.
    """
    limits = _dispatch_rules(settings, report)
    notified = _notification(settings)
    report.tell(f"price: {up_price(settings)}")
    for check in preflight(aws, settings):
        report.tell(str(check))
    if not owns_bucket(aws):
        # The lock is in the bucket; until there is one, CloudFormation executes the change set of one command only.
        _create_base(aws, settings, approval, report)
    with deployment_lock(aws, "up", _LOCK_SECONDS, report) as extend:

        def build() -> None:
            approval.build()
            extend()  # approval and build may have taken long

        _create_base(aws, settings, approval, report)
        code = function_code()
        aws.bucket.put(code.key, code.body)
        parameters = base_parameters(aws, settings) | _workflow_parameters(settings, code.key, limits) | notified
        prepare = partial(aws.stack.prepare, template_for(aws, parameters), parameters, report.tell)
        stack = _apply(aws, settings, prepare, replace(approval, build=build), report)
    _tell_notification(notified, report)
    return StackOutputs(
        stack=stack.name,
        bucket=stack.outputs["BucketName"],
        workflow_arn=stack.outputs["WorkflowArn"],
        hosting_role_arn=stack.outputs["HostingRoleArn"],
        alert_topic_arn=stack.outputs["AlertTopicArn"],
        failure_topic_arn=stack.outputs["FailureTopicArn"],
        couriers_table=stack.outputs["CouriersTableName"],
        orders_table=stack.outputs["OrdersTableName"],
        decisions_table=stack.outputs["DecisionsTableName"],
        threshold=settings.threshold,
        reviews_table=stack.outputs["ReviewsTableName"],
        labels_table=stack.outputs["LabelsTableName"],
        classes=settings.classes,
        dispatch_rules=limits,
    )


def _dispatch_rules(settings: Settings, report: Reporter) -> str:
    """The limits of each class; says which class has none: its photos are classified, its couriers get no orders."""
    require_known(settings.classes, settings.dispatch)
    limits = vehicle_limits(settings.classes, settings.dispatch)
    if missing := without_limits(settings.classes, limits):
        report.tell(f"warning: {missing}")
    return write_limits(limits)


def _notification(settings: Settings) -> dict[str, str]:
    """The stack's parameters of where alerts are sent."""
    local = urlsplit(settings.endpoint_url or "").hostname in {"127.0.0.1", "localhost", "::1"}
    emails, hooks = emails_and_webhooks(settings.notify, local=local)
    return {"Emails": ",".join(emails), "SlackHooks": " ".join(hooks)}


def _tell_notification(notified: Mapping[str, str], report: Reporter) -> None:
    if emails := notified["Emails"].replace(",", ", "):
        report.tell(f"alerts are mailed to {emails}: each must first confirm AWS's mail, if that was not done")
    if hooks := len(notified["SlackHooks"].split()):
        report.tell(f"alerts are posted to {plural(hooks, 'Slack webhook')}")


def _workflow_parameters(settings: Settings, code_key: str, dispatch_rules: str) -> dict[str, str]:
    """The stack's parameters beyond those of the base stack: the functions and the monitor."""
    functions = {
        "CodeKey": code_key,
        "Classes": ",".join(settings.classes),
        "Threshold": str(settings.threshold),
        "DispatchRules": dispatch_rules,
        "PhotoBucket": settings.photo_bucket,
        "Tracing": settings.tracing,
    }
    minutes = settings.monitor_minutes
    return functions | {
        "FunctionRelease": function_release(functions),
        "ImageTag": image_source().tag,
        "MonitorRate": f"{minutes} minute{'s' if minutes > 1 else ''}",
        "SilenceHours": str(settings.no_traffic_alarm_hours),
        "FalseAlarms": str(settings.false_alarms_per_1000_photos),
        "Seed": str(settings.seed),
        "Retrain": settings.retrain,
        "FunctionSettings": to_environment(settings) if settings.retrain != "off" else "{}",
    }


def _create_base(aws: Aws, settings: Settings, approval: ChangeApproval, report: Reporter) -> None:
    """Create the base stack, if needed: the functions' zip needs its bucket."""
    if not aws.stack.base_exists(report.tell):
        without_image = replace(approval, build=lambda: None)  # no function of it runs from the image
        parameters = base_parameters(aws, settings)
        prepare = partial(aws.stack.prepare, template_for(aws, parameters, base=True), parameters, report.tell)
        _apply(aws, settings, prepare, without_image, report)


def _apply(
    aws: Aws,
    settings: Settings,
    prepare: Callable[[], ChangeSet | None],
    approval: ChangeApproval,
    report: Reporter,
) -> Stack:
    """Show the changes, ask for approval, and execute them."""
    change_set = prepare()
    if change_set is None:
        approval.build()
        report.tell(f"stack {aws.name} matches already")
        return aws.stack.must_find()
    try:
        _approve(aws.name, change_set, approval, report)
        approval.build()
    except BaseException:
        aws.stack.discard(change_set)
        raise
    with continues(stack_price(settings)):
        stack = aws.stack.execute(change_set, report)
    report.tell(f"stack {aws.name} is ready")
    return stack


def _approve(stack: str, change_set: ChangeSet, approval: ChangeApproval, report: Reporter) -> None:
    for line in change_set.lines():
        report.tell(line)
    if (losses := change_set.losses()) and not approval.replace_data:
        raise DataAtRisk(stack, losses)
    approval.ask()
