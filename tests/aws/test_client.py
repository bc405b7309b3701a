import json
import socket
from dataclasses import replace

import boto3
import pytest

from access_keys import KEYS
from faulty import Fault, before
from scones.aws.client import (
    PARTITIONS,
    AwsError,
    AwsUnreachable,
    Client,
    UnsupportedRegion,
    WaitTimeout,
    check_region,
    partition,
    poll,
    wait,
)
from scones.aws.connection import connect
from scones.config.settings import Settings


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
    assert len(list(zip(poll("anything", 1), range(1), strict=False))) == 1


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
