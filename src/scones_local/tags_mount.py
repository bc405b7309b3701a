"""Tags, mounted: a stack's go on to its buckets and rules, and the listing by tag has what ministack leaves out."""

from collections.abc import Iterator

from ministack.services import cloudwatch, cloudwatch_logs, codebuild, stepfunctions, tagging
from ministack.services.cloudformation import provisioners

from scones_local.wire import Json

Tagged = Iterator[tuple[str, list[Json]]]


def mount() -> None:
    """Have CloudFormation pass tags on, and GetResources find them, as AWS's own do."""
    provisioners._STACK_TAG_PROPERTY.update(dict.fromkeys(("AWS::S3::Bucket", "AWS::Events::Rule"), ("Tags", "list")))
    tagging._COLLECTORS.update(
        {"states": _machines, "logs": _log_groups, "cloudwatch": _alarms, "codebuild": _build_projects}
    )


def _machines() -> Tagged:
    for arn, tags in list(stepfunctions._tags.items()):
        yield arn, [{"Key": tag["key"], "Value": tag["value"]} for tag in tags]


def _log_groups() -> Tagged:
    for group in list(cloudwatch_logs._log_groups.values()):
        yield group["arn"].removesuffix(":*"), [{"Key": key, "Value": value} for key, value in group["tags"].items()]


def _alarms() -> Tagged:
    for arn, tags in list(cloudwatch._resource_tags.items()):
        yield arn, [{"Key": key, "Value": value} for key, value in tags.items()]


def _build_projects() -> Tagged:
    for project in list(codebuild._projects.values()):
        yield project["arn"], [{"Key": tag["key"], "Value": tag["value"]} for tag in project.get("tags", ())]
