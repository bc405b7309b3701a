"""What may go wrong while an environment comes and goes: each ends in one clear line, or in nothing left."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from access_keys import KEYS
from faulty import Fault, Faulty, Request, before
from scones.aws.client import AwsError, Client
from scones.aws.cloudformation import StackDeletionIncomplete, StackFailed
from scones.aws.connection import Aws, connect
from scones.config.settings import Settings
from scones.deployment.cleanup import inventory, owns_bucket
from scones.deployment.template import base_template, function_code, template
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.down import down
from scones_local.cloud import Cloud
from waiting import eventually

pytestmark = pytest.mark.slow

THROTTLED = Fault("status", 400, b'{"__type": "ThrottlingException", "message": "Rate exceeded"}')
BUSY = Fault("status", 503, b"")
tell = Silent().tell


@contextmanager
def through(
    cloud: Cloud, settings: Settings, decide: Callable[[Request], Fault | None]
) -> Iterator[tuple[Aws, Faulty]]:
    """The same cloud, asked through a server that decides on each request."""
    with before(cloud.port, decide=decide) as between:
        yield connect(replace(settings, endpoint_url=between.url), KEYS), between


def test_a_bucket_refilled_while_it_is_emptied_goes_all_the_same(cloud: Cloud, own_flow: Pipeline) -> None:
    """Captures arrive late, after the endpoint is gone and just before the stack goes, four times over."""
    late = iter(range(4))

    def refill(request: Request) -> None:
        if request.operation == "DeleteStack" and (number := next(late, None)) is not None:
            assert own_flow.aws.sagemaker.find_endpoint(own_flow.aws.name) is None
            own_flow.aws.bucket.put(f"capture/{own_flow.aws.name}/AllTraffic/{number}.jsonl", b"{}")

    with through(cloud, own_flow.settings, refill) as (aws, _):
        receipt = down(aws, Silent())
    assert next(late, None) is None
    assert receipt.remaining == inventory(own_flow.aws) == ()
    assert receipt.objects > 4


def test_throttling_in_the_middle_delays_and_no_more(cloud: Cloud, own_flow: Pipeline) -> None:
    """Every tenth call is refused, of all services; it only takes longer."""
    calls = 0

    def throttle(request: Request) -> Fault | None:
        nonlocal calls
        calls += 1
        if calls % 10:
            return None
        return THROTTLED if request.speaks_json else BUSY

    with through(cloud, own_flow.settings, throttle) as (aws, _):
        assert down(aws, Silent()).remaining == ()
    assert calls > 50
    assert inventory(own_flow.aws) == ()


def test_throttling_without_an_end_is_told_in_one_line_and_goes_on_later(cloud: Cloud, own_flow: Pipeline) -> None:
    """One call is refused for good: the line says what to do, and the same command goes on from there."""

    def throttle(request: Request) -> Fault | None:
        return THROTTLED if request.operation == "DeleteEndpointConfig" else None

    with (
        through(cloud, own_flow.settings, throttle) as (aws, _),
        pytest.raises(AwsError, match=r"ThrottlingException.*try again later") as told,
    ):
        down(aws, Silent())
    assert "\n" not in str(told.value)
    assert inventory(own_flow.aws) != ()
    assert down(own_flow.aws, Silent()).remaining == ()


def test_a_bucket_of_another_account_stops_the_stack_and_stays(aws: Aws, settings: Settings) -> None:
    """`up` names what is in its way; the stack that never stood goes, and the bucket with all in it is left alone."""
    aws.bucket._client.call("create_bucket", Bucket=aws.bucket.name)
    aws.bucket.put("theirs.txt", b"theirs")
    with pytest.raises(StackFailed, match=f"{aws.bucket.name}.*already") as told:
        Pipeline(aws, settings, Silent()).up()
    assert "\n" not in str(told.value)
    receipt = down(aws, Silent())
    assert (receipt.remaining, inventory(aws)) == ((), ())
    assert aws.bucket.get("theirs.txt") == b"theirs"
    aws.bucket.empty()
    aws.bucket.delete()


def stuck(aws: Aws) -> Any:
    """Leave the stack in UPDATE_ROLLBACK_FAILED: the code that it would go back to is gone; give that code."""
    code = function_code()
    aws.stack.deploy(base_template(), {"Env": aws.env}, tell)
    for key in ("code/old.zip", "code/new.zip"):
        aws.bucket.put(key, code.body)
    aws.stack.deploy(template(), {"Env": aws.env, "CodeKey": "code/old.zip"}, tell)
    aws.bucket.remove(["code/old.zip"])
    broken = json.loads(json.dumps(template()).replace('"StartAt": "SerializeImage"', '"StartAt": "Nowhere"'))
    with pytest.raises(StackFailed, match="UPDATE_ROLLBACK_FAILED"):
        aws.stack.deploy(broken, {"Env": aws.env, "CodeKey": "code/new.zip"}, tell)
    return code


def test_a_stack_stuck_in_its_rollback_is_freed_or_taken_down(aws: Aws) -> None:
    """UPDATE_ROLLBACK_FAILED: one line says what is in the way; once it is gone `up` goes on. `down` does not mind."""
    code = stuck(aws)
    with pytest.raises(StackFailed, match="UPDATE_ROLLBACK_FAILED") as told:
        aws.stack.deploy(template(), {"Env": aws.env}, tell)
    assert "\n" not in str(told.value)
    aws.bucket.put("code/old.zip", code.body)
    assert aws.stack.deploy(template(), {"Env": aws.env, "CodeKey": "code/new.zip"}, tell).status == "UPDATE_COMPLETE"
    assert down(aws, Silent()).remaining == ()
    stuck(aws)
    assert down(aws, Silent()).remaining == ()


def test_a_stack_that_was_never_created_and_would_not_go_is_taken_down(aws: Aws) -> None:
    """ROLLBACK_FAILED: the bucket was filled while the stack failed to come up."""
    handle = {"Type": "AWS::CloudFormation::WaitConditionHandle"}
    wait = {
        "Type": "AWS::CloudFormation::WaitCondition",
        "DependsOn": "Bucket",
        "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "10"},
    }
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": aws.bucket.name}}
    small = {"Resources": {"Bucket": bucket, "Handle": handle, "Never": wait}}
    client = aws.stack._client
    tags = [{"Key": "scones:env", "Value": aws.name}]
    client.call("create_stack", StackName=aws.name, TemplateBody=json.dumps(small), Tags=tags)
    assert eventually(lambda: owns_bucket(aws))
    aws.bucket.put("capture/late.jsonl", b"{}")

    def status() -> str:
        return str(client.call("describe_stacks", StackName=aws.name)["Stacks"][0]["StackStatus"])

    assert eventually(lambda: status() == "ROLLBACK_FAILED")
    receipt = down(aws, Silent())
    assert (receipt.remaining, receipt.objects) == ((), 1)
    assert not aws.bucket.exists()


def test_what_a_stack_cannot_delete_is_deleted_by_itself(aws: Aws, settings: Settings) -> None:
    """DELETE_FAILED: a policy was attached to a role by hand. `up` says to go down, and `down` leaves nothing."""
    aws.stack.deploy(base_template(), {"Env": aws.env}, tell)
    aws.bucket.put("in-the-way.txt", b"of the first deletion")
    role = next(each.physical_id for each in aws.stack.resources() if each.logical_id == "TrainingRole")
    policy = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    Client(settings, "iam", KEYS).call("attach_role_policy", RoleName=role, PolicyArn=policy)
    with pytest.raises(StackFailed, match="DELETE_FAILED"):
        aws.stack.delete(Silent().tell)
    with pytest.raises(StackDeletionIncomplete, match="run: scones down"):
        aws.stack.deploy(template(), {"Env": aws.env}, tell)
    with pytest.raises(StackDeletionIncomplete, match="run: scones down"):
        down(aws, Silent(), keep_data=True)
    assert down(aws, Silent()).remaining == inventory(aws) == ()
