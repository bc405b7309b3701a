"""What a request says of an endpoint's key, its capture and its start."""

import pytest

from scones.aws.hosting import choose_hosting, disk_key
from scones.config.settings import Settings

KEY = "arn:aws:kms:us-east-1:000000000000:key/1"
NETWORK = (
    "ml.m5.large",
    "ml.c5.2xlarge",
    "ml.t2.medium",
    "ml.p3.2xlarge",
    "ml.p2.xlarge",
    "ml.m7i.large",
    "ml.inf1.xlarge",
)
LOCAL = ("ml.m5d.large", "ml.g4dn.xlarge", "ml.g5.xlarge", "ml.g6e.xlarge", "ml.p4d.24xlarge", "ml.p5.48xlarge")


@pytest.mark.parametrize("instance", NETWORK)
def test_a_disk_in_the_network_takes_the_key(instance: str) -> None:
    """EBS, which most types have."""
    assert disk_key(instance, KEY) == KEY
    assert disk_key(instance, "") == ""


@pytest.mark.parametrize("instance", [*LOCAL, "ml.p3dn.24xlarge", "ml.r6gd.large", "ml.trn1.2xlarge"])
def test_a_disk_in_the_machine_takes_none(instance: str) -> None:
    """It encrypts itself, and SageMaker refuses a request that names a key for it."""
    assert disk_key(instance, KEY) == ""


def test_capture_and_disk_name_the_key_and_nothing_where_there_is_none() -> None:
    """A serverless endpoint has neither."""
    hosting = choose_hosting(Settings(), "s3://bucket/capture", "alarm", KEY)
    assert hosting.capture()["DataCaptureConfig"]["KmsKeyId"] == KEY
    assert hosting.disk() == {"KmsKeyId": KEY}
    plain = choose_hosting(Settings(), "s3://bucket/capture", "alarm")
    assert "KmsKeyId" not in plain.capture()["DataCaptureConfig"]
    assert plain.disk() == {}
    serverless = choose_hosting(Settings(mode="serverless"), "s3://bucket/capture", "alarm", KEY)
    assert (serverless.capture(), serverless.disk()) == ({}, {})


def test_a_server_that_never_starts_is_given_up_within_minutes() -> None:
    """SageMaker's default is an hour, in which the endpoint costs money and cannot be deleted; serverless has none."""
    name = "ContainerStartupHealthCheckTimeoutInSeconds"
    assert choose_hosting(Settings(), "s3://b/c", "alarm").variant()[name] == 300
    assert name not in choose_hosting(Settings(mode="serverless"), "s3://b/c", "alarm").variant()
