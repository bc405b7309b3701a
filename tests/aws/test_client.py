import socket
from dataclasses import replace

import pytest

from scones.aws.client import AwsError, AwsUnreachable, Client, Credentials
from scones.aws.connection import connect
from scones.settings import Settings

KEYS = Credentials("local", "local")


def test_what_aws_refuses_is_one_line_with_its_own_code(settings: Settings) -> None:
    """Botocore's errors stop here."""
    with pytest.raises(AwsError, match="s3 get_object failed: NoSuchBucket") as refused:
        Client(settings, "s3", KEYS).call("get_object", Bucket="not-there", Key="k")
    assert refused.value.code == "NoSuchBucket"


def test_a_wrong_argument_is_refused_before_it_is_sent(settings: Settings) -> None:
    """Botocore checks each call against AWS's own models."""
    with pytest.raises(AwsError, match="ParamValidationError"):
        Client(settings, "s3", KEYS).call("get_object", Bucket="b", Key=7)


def test_nobody_at_the_endpoint_says_what_to_do() -> None:
    """A local cloud that was stopped meanwhile must not hang or trace back."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        nobody = replace(Settings(), endpoint_url=f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(AwsUnreachable, match="does not answer; is it up"):
            connect(nobody, KEYS)
