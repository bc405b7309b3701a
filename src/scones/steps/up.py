"""Up: bring the stack to the template, with the functions, the state machine and the topics."""

from dataclasses import dataclass

from scones.aws.connection import Aws
from scones.progress import Reporter
from scones.release import CAPTURE_PARAMETER, function_code, template
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
    foundation = {"Env": aws.env, "AlarmSeconds": str(settings.alarm_seconds)}
    standing = aws.stack.find()
    if standing is None:
        # The functions' zip needs the bucket, which the stack owns.
        aws.stack.deploy(template(), foundation, report.tell)
    code = function_code()
    aws.bucket.put(code.key, code.body)
    workflow = {
        "CodeKey": code.key,
        "Classes": ",".join(settings.classes),
        "Threshold": str(settings.threshold),
        "PhotoBucket": settings.photo_bucket,
    }
    # What `deploy` chose stays as it is.
    chosen = {
        name: value for name, value in (standing.parameters if standing else {}).items() if name == CAPTURE_PARAMETER
    }
    stack = aws.stack.deploy(template(), foundation | workflow | _watch(settings) | chosen, report.tell)
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


def _watch(settings: Settings) -> dict[str, str]:
    """The stack's parameters for the monitor."""
    minutes = settings.monitor_minutes
    return {
        "MonitorRate": f"{minutes} minute{'s' if minutes > 1 else ''}",
        "SilenceHours": str(settings.silence_hours),
        "FalseAlarms": str(settings.false_alarms_per_1000_photos),
        "Seed": str(settings.seed),
    }
