import socket
from dataclasses import replace

import pytest

from access_keys import KEYS
from scones.aws.client import AwsError, AwsUnreachable, Client, WaitTimeout, poll, wait
from scones.aws.connection import connect
from scones.config.settings import Settings


def test_what_aws_refuses_is_one_line_with_its_own_code(settings: Settings) -> None:
    """Botocore's errors stop here."""
    with pytest.raises(AwsError, match="s3 get_object failed: NoSuchBucket") as refused:
        Client(settings, "s3", KEYS).call("get_object", Bucket="not-there", Key="k")
    assert refused.value.code == "NoSuchBucket"


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
