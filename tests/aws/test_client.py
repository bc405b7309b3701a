import json
import re
import socket
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import boto3
import botocore.session
import pytest

from access_keys import KEYS
from aws_calls import a_bucket, a_config, boto
from faulty import Fault, Request, before
from scones.aws.client import (
    PARTITIONS,
    AwsError,
    AwsUnreachable,
    Client,
    ContactLost,
    CredentialsRefused,
    UnsupportedRegion,
    WaitTimeout,
    check_region,
    continues,
    partition,
    wait,
)
from scones.aws.cloudformation import StackFailed, Stacks
from scones.aws.connection import connect
from scones.aws.ecr import Build
from scones.aws.s3 import Bucket
from scones.aws.sagemaker import _CHANGING, SageMaker, TrainingStatus
from scones.aws.stepfunctions import ExecutionStatus
from scones.config.settings import Settings
from scones.deployment.template import base_template
from scones.domain.errors import CloudError
from scones.domain.progress import Silent
from scones_local.cloud import Cloud


def test_what_aws_refuses_is_one_line_with_its_own_code(settings: Settings) -> None:
    """Botocore's errors stop here."""
    with pytest.raises(AwsError, match="s3 get_object failed: NoSuchBucket") as refused:
        Client(settings, "s3", KEYS).call("get_object", Bucket="not-there", Key="k")
    assert refused.value.code == "NoSuchBucket"


@pytest.mark.sends_wrong_requests
def test_a_wrong_argument_is_refused_before_it_is_sent(settings: Settings) -> None:
    """Botocore checks each call against AWS's own models."""
    with pytest.raises(AwsError, match="ParamValidationError"):
        Client(settings, "s3", KEYS).call("get_object", Bucket="b", Key=7)


def test_an_unreachable_endpoint_says_what_to_do() -> None:
    """A local cloud that was stopped meanwhile must not hang or trace back."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        unused = replace(Settings(), endpoint_url=f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(AwsUnreachable, match="does not answer; is it up"):
            connect(unused, KEYS)


FAILURES: dict[str, Callable[[Settings], object]] = {
    "refused": lambda settings: Client(settings, "s3", KEYS).call("get_object", Bucket="no-such-bucket", Key="a"),
    "invalid": lambda settings: Client(settings, "s3", KEYS).call("get_object", Bucket="no-such-bucket"),
    "unreachable": lambda settings: Client(replace(settings, endpoint_url=NOWHERE), "sts", KEYS).call(
        "get_caller_identity"
    ),
    "no url": lambda settings: Client(replace(settings, endpoint_url="nowhere"), "sts", KEYS).call(
        "get_caller_identity"
    ),
    "no profile": lambda settings: check_region(settings.region),
}
NOWHERE = "http://127.0.0.1:9"


@pytest.mark.sends_wrong_requests
@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_of_aws_shows_no_traceback_but_its_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    """In a notebook the one line that says what to do would be below a hundred of botocore's."""
    if failure == "no profile":
        monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(CloudError) as caught:
        FAILURES[failure](settings)
    shown = "".join(traceback.format_exception(caught.value))
    assert "/botocore/" not in shown
    assert "During handling of the above exception" not in shown
    assert "direct cause" not in shown


def test_keys_given_outright_need_nothing_of_the_users_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a profile that does not exist nor a proxy prevents the use of a cloud on this machine."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    elsewhere = replace(settings, region="eu-west-3")  # sessions are kept by region
    assert connect(elsewhere, KEYS).account == "0" * 12


def test_a_profile_that_does_not_exist_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of AWS before."""
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    with pytest.raises(AwsUnreachable, match=r"profile \(not-there\) could not be found; correct"):
        connect(Settings())


def test_a_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the proxy that does not answer, not AWS."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "some")
    with pytest.raises(AwsUnreachable, match=r"127\.0\.0\.1:9.*correct HTTPS_PROXY"):
        connect(replace(Settings(), region="eu-west-2"))


def test_waiting_ends_with_the_first_thing_found() -> None:
    """It looks again until there is something."""
    looks = iter([None, None, "there"])
    assert wait("it coming", lambda: next(looks), 5) == "there"


def test_waiting_too_long_says_for_what() -> None:
    """The message names the thing, the limit and where to look."""
    with pytest.raises(WaitTimeout, match=r"timed out after 0 s: it coming; see: scones status"):
        wait("it coming", lambda: None, 0.2)


def test_there_is_always_one_look() -> None:
    """What is so already is found however short the patience."""
    assert wait("anything", lambda: "there", 1e-3) == "there"


def regions() -> dict[str, str]:
    """Every region that botocore knows, with its partition."""
    session = boto3.Session()
    parts = session.get_available_partitions()
    return {region: part for part in parts for region in session.get_available_regions("sts", part)}


@pytest.mark.parametrize(("region", "part"), regions().items())
def test_a_region_is_accepted_in_its_partition_or_refused_in_one_line(region: str, part: str) -> None:
    """GovCloud and China have ARNs and domains of their own; other partitions, or without CodeBuild, do not."""
    offered = region in boto3.Session().get_available_regions("codebuild", part)
    if part not in PARTITIONS or not offered:
        with pytest.raises(UnsupportedRegion) as refused:
            check_region(region)
        assert "\n" not in str(refused.value)
        return
    check_region(region)
    assert partition(region) == part
    known = boto3.Session()._session.get_data("endpoints")["partitions"]
    assert PARTITIONS[part] == next(each["dnsSuffix"] for each in known if each["partition"] == part)


@pytest.mark.parametrize("region", ["ca-west-1", "mx-central-1", "ap-east-2", "us-iso-east-1", "eusc-de-east-1"])
def test_where_the_image_cannot_be_built_nothing_is_begun(region: str) -> None:
    """The first command says so, not the stack minutes later."""
    with pytest.raises(UnsupportedRegion, match=rf"does not work in region '{region}'.*Set AWS_REGION"):
        connect(replace(Settings(), region=region))


@pytest.mark.parametrize("code", ["ResourceLimitExceeded", "AccountLimitExceededException"])
def test_a_quota_that_is_used_up_says_what_to_do(settings: Settings, code: str) -> None:
    """AWS's own words, and where to ask for more."""
    body = json.dumps({"__type": code, "message": "Cannot have more than 0 builds in queue for the account"}).encode()
    with before(1, always=Fault("status", 400, body)) as server:
        client = Client(replace(settings, endpoint_url=server.url), "codebuild", KEYS, attempts=1)
        with pytest.raises(AwsError, match=r"more than 0 builds.*request more in Service Quotas"):
            client.call("start_build", projectName="p")


class Sequenced:
    """Raises or returns what it was made with, one after the other."""

    def __init__(self, *ends: CloudError | str | None) -> None:
        self.ends = list(ends)

    def __call__(self) -> str | None:
        """The next of them."""
        end = self.ends.pop(0)
        if isinstance(end, CloudError):
            raise end
        return end


THROTTLED = AwsError("s3", "get_object", "SlowDown", "slow down")
NO_ANSWER = AwsUnreachable("s3 does not answer", transient=True)


@pytest.mark.parametrize("error", [THROTTLED, NO_ANSWER])
def test_a_wait_goes_on_through_transient_errors(error: CloudError) -> None:
    """Between looks, in a row, and at the first one."""
    look = Sequenced(error, None, error, error, None, "there")
    assert wait("it coming", look, 60) == "there"
    assert look.ends == []


@pytest.mark.parametrize(
    "error",
    [
        AwsError("s3", "get_object", "AccessDenied", "no"),
        AwsUnreachable("no credentials"),
        CredentialsRefused("ExpiredToken"),
        StackFailed("s", "ROLLBACK_COMPLETE", "why"),
    ],
)
def test_a_wait_ends_at_once_where_waiting_does_not_help(error: CloudError) -> None:
    """Wrong permissions, expired credentials, and the failure of what is waited for."""
    look = Sequenced(None, error, "there")
    with pytest.raises(type(error)) as told:
        wait("it coming", look, 60)
    assert told.value is error
    assert look.ends == ["there"]


def test_a_wait_without_any_usable_reply_ends() -> None:
    """Not with the error of one call: with what was waited for, for how long, and the last error."""
    with pytest.raises(ContactLost, match=r"stopped waiting: it coming; no usable reply for \d+ s, the last error: s3"):
        wait("it coming", Sequenced(*[THROTTLED] * 1000), 60, max_outage_seconds=0.1)


def test_an_interrupted_wait_says_what_continues() -> None:
    """The note is beside the error, whichever ends the wait; an end of the thing itself has none."""
    for ends in (KeyboardInterrupt(), WaitTimeout("it", 1), AwsUnreachable("gone"), THROTTLED, CredentialsRefused("x")):
        with pytest.raises(type(ends)) as told, continues("it costs $1"):
            raise ends
        assert told.value.__notes__ == ["it costs $1"]
    with pytest.raises(StackFailed) as told_end, continues("it costs $1"):
        raise StackFailed("s", "ROLLBACK_COMPLETE", "why")
    assert not hasattr(told_end.value, "__notes__")


STATUSES = {
    "EndpointStatus": ("sagemaker", "Creating Updating SystemUpdating RollingBack Deleting"),
    "TrainingJobStatus": ("sagemaker", "InProgress Stopping"),
    "ExecutionStatus": ("stepfunctions", "RUNNING PENDING_REDRIVE"),
    "StatusType": ("codebuild", "IN_PROGRESS"),
}


@pytest.mark.parametrize("shape", STATUSES)
def test_a_wait_ends_in_every_state_that_is_not_a_change(shape: str) -> None:
    """UpdateRollbackFailed is one of them: by AWS's own list of states, none is waited for in vain."""
    service, changing = STATUSES[shape]
    every = botocore.session.get_session().get_service_model(service).shape_for(shape).enum
    waited = {
        "EndpointStatus": lambda status: status in _CHANGING,
        "TrainingJobStatus": lambda status: not TrainingStatus("j", status, "", "", "", {}).ended,
        "ExecutionStatus": lambda status: ExecutionStatus(status, "").running,
        "StatusType": lambda status: not Build("b", "", status, "", "", "", "").ended,
    }
    assert {status for status in every if waited[shape](status)} == set(changing.split())


def test_only_the_client_sleeps() -> None:
    """Every wait for AWS is `wait`: no step and no wrapper polls by itself, or knows another kind of retry."""
    folder = Path(__file__).parents[2] / "src" / "scones"
    paths = [path for name in ("aws", "steps", "deployment") for path in (folder / name).rglob("*.py")]
    sleeping = {path.name for path in paths if re.search(r"\bsleep\(", path.read_text("utf-8"))}
    # simulate keeps to the rate of its stream of events.
    assert sleeping == {"client.py", "simulate.py"}


FAULTS = {
    "throttled": Fault("status", 400, b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'),
    "reset": Fault("reset"),
    "500": Fault("status", 500),
    "web page": Fault("status", 200, b"<html>Sign in</html>", content_type="text/html"),
}


AFTER = {
    "CreateChangeSet": "DescribeChangeSet",
    "ExecuteChangeSet": "DescribeStackEvents",
    "DeleteStack": "DescribeStacks",
    "DeleteEndpoint": "DescribeEndpoint",
}
"""What begins a change, and how its end is waited for."""


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_wait_of_the_wrappers_outlasts_failed_polls(
    cloud: Cloud, settings: Settings, tiny_model: bytes, fault: Fault
) -> None:
    """Change set, stack, endpoint, and their deletion: the first two polls fail, and the wait goes on."""
    left = dict.fromkeys(AFTER.values(), 0) | {"DescribeEndpoint": 2}

    def decide(request: Request) -> Fault | None:
        if polled := AFTER.get(request.operation):
            left[polled] = 2
        elif left.get(request.operation):
            left[request.operation] -= 1
            return fault
        return None

    with before(cloud.port, decide=decide) as faulty:
        between = replace(settings, endpoint_url=faulty.url)

        def once(service: str) -> Client:
            return Client(between, service, KEYS, attempts=1)

        s3, hosting = (boto(cloud, name) for name in ("s3", "sagemaker"))
        bucket = a_bucket(s3)
        s3.put_object(Bucket=bucket, Key="model.tar.gz", Body=tiny_model)
        config = a_config(hosting, bucket, f"s3://{bucket}/model.tar.gz")
        hosting.create_endpoint(EndpointName=config, EndpointConfigName=config)
        sagemaker = SageMaker(once("sagemaker"), once("sagemaker-runtime"))
        live = sagemaker.wait_until_settled(config, 120)
        assert live
        assert live.status == "InService"
        assert sagemaker.delete_endpoint(config, Silent().tell)
        stack = Stacks(once("cloudformation"), settings.stack, Bucket(once("s3"), "unused"))
        assert stack.deploy(base_template(), {"Env": settings.env}, Silent().tell).status == "CREATE_COMPLETE"
        stack.delete(Silent().tell)
        assert stack.find() is None
    assert set(left.values()) == {0}
