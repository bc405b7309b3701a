import json
from pathlib import Path

import pytest

from scones.aws.cloudformation import StackFailed, StackMissing
from scones.aws.connection import Aws
from scones.deployment.template import base_template, function_code, template
from scones.domain.progress import Silent

tell = Silent().tell


def test_the_foundation_is_the_bucket_the_roles_and_the_guard_of_updates(aws: Aws) -> None:
    """Staging and training need no functions."""
    stack = aws.stack.deploy(base_template(), {"Env": aws.env}, tell)
    assert stack.status == "CREATE_COMPLETE"
    guard = {"AlertTopicArn", "EndpointAlarmName"}
    assert set(stack.outputs) == {"BucketName", "TrainingRoleArn", "HostingRoleArn"} | guard
    with pytest.raises(StackMissing, match="no WorkflowArn yet; run: scones stage, then scones up"):
        aws.stack.find_output("WorkflowArn")


def test_deploying_what_stands_already_changes_nothing(aws: Aws) -> None:
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
    """Before there is a bucket nobody can hold the environment: CloudFormation carries out one of two change sets."""
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
