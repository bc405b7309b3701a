import json
from pathlib import Path
from typing import Any

import pytest

from scones.aws.cloudformation import (
    ChangeAction,
    ChangeSet,
    ResourceChange,
    StackDrift,
    StackFailed,
    StackMissing,
    parse_change,
    summarize_drift,
)
from scones.aws.connection import Aws
from scones.deployment.template import base_template, function_code, template
from scones.domain.progress import Silent, verbose

tell = Silent().tell


def test_the_foundation_is_the_bucket_the_roles_and_the_guard_of_updates(aws: Aws) -> None:
    """Staging and training need no functions."""
    stack = aws.stack.deploy(base_template(), {"Env": aws.env}, tell)
    assert stack.status == "CREATE_COMPLETE"
    guard = {"AlertTopicArn", "EndpointAlarmName"}
    assert set(stack.outputs) == {"BucketName", "TrainingRoleArn", "HostingRoleArn"} | guard
    with pytest.raises(StackMissing, match="no WorkflowArn yet; run: scones stage, then scones up"):
        aws.stack.find_output("WorkflowArn")


def test_deploying_the_same_template_changes_nothing(aws: Aws) -> None:
    """CloudFormation's refusal of an empty change set is no error."""
    first = aws.stack.deploy(base_template(), {"Env": aws.env}, tell)
    assert aws.stack.deploy(base_template(), {"Env": aws.env}, tell) == first


def test_a_template_that_cannot_stand_says_which_resource_and_why(aws: Aws) -> None:
    """The first reason that CloudFormation gives reaches the user, and the stack goes back."""
    aws.stack.deploy(base_template(), {"Env": aws.env}, tell)
    code = function_code()
    aws.bucket.put(code.key, code.body)
    whole = {"Env": aws.env, "CodeKey": code.key}
    broken = json.loads(json.dumps(template()).replace('"StartAt": "SerializeImage"', '"StartAt": "Nowhere"'))
    with pytest.raises(StackFailed, match=r"Workflow: .*Nowhere"):
        aws.stack.deploy(broken, whole, tell)
    assert "WorkflowArn" in aws.stack.deploy(template(), whole, tell).outputs


def test_of_two_that_bring_up_the_same_stack_one_does_and_one_is_told(aws: Aws) -> None:
    """Without a bucket the environment cannot be locked: CloudFormation carries out one of two change sets."""
    first = aws.stack.prepare(base_template(), {"Env": aws.env}, tell)
    second = aws.stack.prepare(base_template(), {"Env": aws.env}, tell)
    assert first
    assert second
    with pytest.raises(StackFailed, match="another command changed it first"):
        aws.stack.execute(first, Silent())
    assert aws.stack.execute(second, Silent()).status == "CREATE_COMPLETE"


def test_deleting_twice_is_no_error(aws: Aws) -> None:
    """What is gone already stays gone."""
    aws.stack.deploy(base_template(), {"Env": aws.env}, tell)
    aws.stack.delete(tell)
    aws.stack.delete(tell)
    assert aws.stack.find() is None


def test_the_template_names_every_resource_after_its_environment() -> None:
    """Environments stand side by side in one account."""
    parts = (Path(__file__).parents[2] / "infra" / "stack").glob("*.yaml")
    named = [line for part in parts for line in part.read_text().splitlines() if "Name: !Sub" in line]
    assert named
    assert [line for line in named if "${Env}" not in line] == []


def entry(action: str, name: str, kind: str, **more: Any) -> dict[str, Any]:
    """One of DescribeChangeSet's `Changes`."""
    return {
        "Type": "Resource",
        "ResourceChange": {"Action": action, "LogicalResourceId": name, "ResourceType": kind, **more},
    }


@pytest.mark.parametrize(
    ("action", "replacement", "expected"),
    [
        ("Add", None, ChangeAction.ADD),
        ("Remove", None, ChangeAction.REMOVE),
        ("Modify", "False", ChangeAction.MODIFY),
        ("Modify", "True", ChangeAction.REPLACE),
        ("Modify", "Conditional", ChangeAction.MAY_REPLACE),
        ("Dynamic", None, ChangeAction.MODIFY),
    ],
)
def test_each_entry_is_one_action(action: str, replacement: str | None, expected: ChangeAction) -> None:
    """A replacement is no mere modification, and neither is one that may happen."""
    more = {"Replacement": replacement} if replacement else {}
    assert parse_change(entry(action, "Bucket", "AWS::S3::Bucket", **more)).action is expected


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::DynamoDB::Table"])
@pytest.mark.parametrize("action", [ChangeAction.REPLACE, ChangeAction.MAY_REPLACE, ChangeAction.REMOVE])
def test_what_holds_data_is_not_lost_by_chance(kind: str, action: ChangeAction) -> None:
    """A bucket or a table that is replaced or removed is named; the same of a topic is not."""
    found = ChangeSet(
        "c",
        new=False,
        changes=(ResourceChange(action, "Here", kind), ResourceChange(action, "There", "AWS::SNS::Topic")),
    )
    assert found.losses() == [f"{action} {kind} Here"]


def test_what_is_added_or_modified_loses_nothing() -> None:
    """The usual update."""
    changes = (
        ResourceChange(ChangeAction.ADD, "A", "AWS::S3::Bucket"),
        ResourceChange(ChangeAction.MODIFY, "B", "AWS::DynamoDB::Table"),
    )
    assert ChangeSet("c", new=True, changes=changes).losses() == []


def test_the_table_counts_and_names() -> None:
    """What is added by kind; everything else one by one, with what changes of it."""
    details = [{"Target": {"Attribute": "Properties", "Name": "Code"}}, {"Target": {"Attribute": "Tags"}}]
    added = [entry("Add", name, "AWS::SNS::Topic") for name in ("A", "B")]
    function = entry("Modify", "F", "AWS::Lambda::Function", Replacement="False", Details=details)
    lines = list(ChangeSet("c", new=False, changes=tuple(map(parse_change, [*added, function]))).lines())
    assert lines[0] == "changes: 2 to add, 1 to modify"
    assert lines[1].split() == ["add", "AWS::SNS::Topic", "x", "2"]
    assert lines[2].split(maxsplit=2) == ["modify", "AWS::Lambda::Function", "F (Code, Tags)"]


def test_a_long_table_is_folded_but_for_what_may_lose_something() -> None:
    """Removals and replacements come first, each by name; --verbose shows the others too."""
    risky = [ResourceChange(ChangeAction.REMOVE, f"R{number}", "AWS::S3::Bucket") for number in range(12)]
    others = [ResourceChange(ChangeAction.MODIFY, f"M{number}", "AWS::Lambda::Function") for number in range(30)]
    found = ChangeSet("c", new=False, changes=(*others, *risky))
    _, *lines = found.lines()
    assert [line.split()[-1] for line in lines[:12]] == sorted(item.name for item in risky)
    assert lines[-1] == "  and 20 more; --verbose lists them"
    token = verbose.set(True)
    try:
        assert len(list(found.lines())) == 1 + 12 + 30
    finally:
        verbose.reset(token)


def looked(status: str, *paths: str) -> dict[str, Any]:
    """One of DescribeStackResourceDrifts' entries."""
    differences = [{"PropertyPath": path, "ExpectedValue": "1", "ActualValue": "2"} for path in paths]
    return {
        "StackResourceDriftStatus": status,
        "LogicalResourceId": status.title(),
        "ResourceType": "AWS::SNS::Topic",
        "PropertyDifferences": differences,
    }


def test_what_could_not_be_compared_does_not_count_as_checked() -> None:
    """CloudFormation tries some resources without success: that does not mean "none changed"."""
    unknown = [looked(status) for status in ("NOT_CHECKED", "UNKNOWN", "UNSUPPORTED")]
    found = summarize_drift([looked("IN_SYNC"), *unknown], resources=9)
    assert found == StackDrift(resources=9, checked=1)
    assert str(found) == "none, in 1 of 9 resources; 8 cannot be checked here"


def test_what_changed_is_named_with_its_properties() -> None:
    """By the name in the template, so that it can be found there."""
    found = summarize_drift([looked("MODIFIED", "/DisplayName", "/Tags"), looked("DELETED")], resources=2)
    topic = "(AWS::SNS::Topic)"
    assert found.changed == (f"modified Modified {topic} at /DisplayName, /Tags", f"deleted Deleted {topic}")


def test_what_scones_changes_itself_is_no_drift() -> None:
    """The monitor enables the alarm about missing photos; any other change of it is shown."""
    ours = {**looked("MODIFIED", "/ActionsEnabled"), "LogicalResourceId": "SilenceAlarm"}
    assert summarize_drift([ours], resources=1) == StackDrift(resources=1, checked=1)
    more = {**looked("MODIFIED", "/ActionsEnabled", "/Threshold"), "LogicalResourceId": "SilenceAlarm"}
    other = {**looked("MODIFIED", "/ActionsEnabled"), "LogicalResourceId": "DriftAlarm"}
    gone = {**looked("DELETED"), "LogicalResourceId": "SilenceAlarm"}
    assert len(summarize_drift([more, other, gone], resources=3).changed) == 3


def test_a_bucket_whose_name_s3_still_holds_says_how_long_to_wait() -> None:
    """`down`, and `up` soon after: S3 keeps the name for a while."""
    reason = "Bucket: A conflicting conditional operation is currently in progress against this resource. (409)"
    message = str(StackFailed("scones-dev", "ROLLBACK_COMPLETE", reason))
    assert "for up to an hour: wait, or use another --env, and run the same command again" in message
    assert "an hour" not in str(StackFailed("scones-dev", "ROLLBACK_COMPLETE", "Bucket: no"))
