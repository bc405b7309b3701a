"""Up: bring the stack to the template, with the functions, the state machine and the topics."""

from dataclasses import dataclass

from scones.aws.connection import Aws
from scones.aws.stacks import Stack
from scones.image import image_source
from scones.progress import Reporter
from scones.release import CAPTURE_PARAMETER, foundation, function_code, function_release, template
from scones.settings import Settings


@dataclass(frozen=True, slots=True)
class Up:
    """What stands, by name."""

    stack: str
    bucket: str
    workflow_arn: str
    hosting_role_arn: str
    alert_topic_arn: str
    failure_topic_arn: str
    review_queue_url: str
    couriers_table: str
    orders_table: str
    decisions_table: str
    threshold: float


def up(aws: Aws, settings: Settings, report: Reporter) -> Up:
    """Create or update the stack; one that matches already is left as it is.

    Raises:
        StackFailed: with the first reason that CloudFormation gives.
    """
    founded = aws.stack.founded()
    standing = aws.stack.find()
    base = {"Env": aws.env, "AlarmSeconds": str(settings.alarm_seconds)} | _guard(settings) | _kept(standing)
    if not founded:
        # The functions' zip needs the bucket, which the stack owns.
        aws.stack.deploy(foundation(), base, report.tell)
    code = function_code()
    aws.bucket.put(code.key, code.body)
    workflow = {
        "CodeKey": code.key,
        "Classes": ",".join(settings.classes),
        "Threshold": str(settings.threshold),
        "PhotoBucket": settings.photo_bucket,
    }
    workflow["FunctionRelease"] = function_release(workflow)
    watch = {"ImageTag": image_source().tag} | _watch(settings)
    stack = aws.stack.deploy(template(), base | workflow | watch, report.tell)
    return Up(
        stack=stack.name,
        bucket=stack.outputs["BucketName"],
        workflow_arn=stack.outputs["WorkflowArn"],
        hosting_role_arn=stack.outputs["HostingRoleArn"],
        alert_topic_arn=stack.outputs["AlertTopicArn"],
        failure_topic_arn=stack.outputs["FailureTopicArn"],
        review_queue_url=stack.outputs["ReviewQueueUrl"],
        couriers_table=stack.outputs["CouriersTableName"],
        orders_table=stack.outputs["OrdersTableName"],
        decisions_table=stack.outputs["DecisionsTableName"],
        threshold=settings.threshold,
    )


def _kept(standing: Stack | None) -> dict[str, str]:
    """What stays as it is: what `deploy` chose, and a key, without which nobody could read what it encrypted."""
    found = standing.parameters if standing else {}
    kept = {CAPTURE_PARAMETER} | ({"Kms"} if found.get("Kms") == "yes" else set())
    return {name: value for name, value in found.items() if name in kept}


def _guard(settings: Settings) -> dict[str, str]:
    """The stack's parameters for what is kept, encrypted, deleted and told."""
    return {
        "Kms": settings.kms,
        "PhotoDays": str(settings.photo_days),
        "EndpointHours": str(settings.endpoint_hours),
        "MonthlyDollars": str(settings.monthly_dollars),
    }


def _watch(settings: Settings) -> dict[str, str]:
    """The stack's parameters for the monitor."""
    minutes = settings.monitor_minutes
    return {
        "MonitorRate": f"{minutes} minute{'s' if minutes > 1 else ''}",
        "SilenceHours": str(settings.silence_hours),
        "FalseAlarms": str(settings.false_alarms_per_1000_photos),
        "Seed": str(settings.seed),
    }
