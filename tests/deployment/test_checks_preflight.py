"""What is looked at before anything is made, and how it is said."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from access_keys import KEYS
from faulty import Fault, before
from scones.aws.client import Client, CredentialsRefused, UnknownRegion
from scones.aws.connection import Aws, Quotas, connect
from scones.aws.ecr import Images
from scones.aws.s3 import Bucket
from scones.config.settings import Settings
from scones.deployment.checks import BucketTaken, CheckStatus, PreflightCheck, preflight


@pytest.fixture
def limit(request: pytest.FixtureRequest) -> Iterator[str]:
    """A stand-in for Service Quotas with one quota of so many instances."""
    quota = {"QuotaName": "ml.m5.large for endpoint usage", "QuotaCode": "L-1", "Value": request.param}
    with before(1, always=Fault("status", 200, json.dumps({"Quotas": [quota]}).encode())) as server:
        yield server.url


def checks(aws: Aws, settings: Settings) -> dict[str, PreflightCheck]:
    """Every check, by the first word of what it looked at."""
    return {check.what.split()[0]: check for check in preflight(aws, settings)}


def test_what_cannot_be_looked_at_here_is_said(aws: Aws, settings: Settings) -> None:
    """The local cloud has no Service Quotas and no images: neither passes silently."""
    found = checks(aws, settings)
    assert found["credentials"].verdict is CheckStatus.GOOD
    assert aws.account in found["credentials"].words
    assert str(found["names"]) == f"preflight: names: {aws.name} is free"
    assert found["quota"].verdict is CheckStatus.UNCHECKED
    assert ": unchecked: service-quotas answered " in str(found["quota"])
    assert found["image"].words.endswith("is built first")


@pytest.mark.parametrize(
    ("limit", "words"),
    [(0.0, "deploy needs 1 of 0"), (1.0, "an update needs 2 for a while, of 1"), (2.0, "2; an update needs 2")],
    indirect=["limit"],
)
def test_a_quota_too_small_is_told_before_an_hour_is_lost(aws: Aws, settings: Settings, limit: str, words: str) -> None:
    """None at all, one that is too few for an update beside the old endpoint, and enough."""
    asked = Client(replace(settings, endpoint_url=limit), "service-quotas", KEYS)
    assert words in checks(replace(aws, quotas=Quotas(asked)), settings)["quota"].words


@pytest.mark.parametrize("limit", [5.0], indirect=True)
def test_a_quota_that_aws_does_not_name_is_not_taken_for_enough(aws: Aws, settings: Settings, limit: str) -> None:
    """A type that this region does not have, or that has another name there."""
    asked = Client(replace(settings, endpoint_url=limit), "service-quotas", KEYS)
    other = replace(settings, endpoint_instance="ml.c5.large")
    found = checks(replace(aws, quotas=Quotas(asked)), other)["quota"]
    assert (found.verdict, found.words) == (CheckStatus.UNCHECKED, f"SageMaker has no such quota in {aws.region}")


def test_an_image_that_may_not_be_looked_for_is_said(aws: Aws, settings: Settings) -> None:
    """The permission is optional, too."""
    body = b'{"__type": "AccessDeniedException", "message": "no"}'
    with before(1, always=Fault("status", 400, body)) as server:
        asked = Client(replace(settings, endpoint_url=server.url), "ecr", KEYS, attempts=1)
        found = checks(replace(aws, images=Images(asked, asked, aws.name)), settings)["image"]
    assert str(found) == "preflight: image: unchecked: these credentials may not call ecr:DescribeImages"


def test_a_bucket_without_its_stack_is_pointed_out(aws: Aws, settings: Settings) -> None:
    """The stack was deleted by hand, or the bucket created: CloudFormation may refuse it."""
    aws.bucket._client.call("create_bucket", Bucket=aws.bucket.name)
    found = checks(aws, settings)["names"]
    aws.bucket.delete()
    assert found.verdict is CheckStatus.ATTENTION
    assert "exists without a stack" in found.words


def test_who_may_not_ask_for_quotas_may_go_on(aws: Aws, settings: Settings) -> None:
    """The permission is optional: its refusal is a line, and names the action."""
    body = b'{"__type": "AccessDeniedException", "message": "no"}'
    with before(1, always=Fault("status", 400, body)) as server:
        asked = Client(replace(settings, endpoint_url=server.url), "service-quotas", KEYS, attempts=1)
        found = checks(replace(aws, quotas=Quotas(asked)), settings)["quota"]
    assert "servicequotas:ListServiceQuotas" in found.words
    assert found.verdict is CheckStatus.UNCHECKED


def test_a_bucket_of_another_account_stops_it_all(aws: Aws, settings: Settings) -> None:
    """HeadBucket answers 403: the name is told, and that another environment's name helps."""
    with before(1, always=Fault("status", 403, b"")) as server:
        theirs = Bucket(Client(replace(settings, endpoint_url=server.url), "s3", KEYS), aws.bucket.name)
        with pytest.raises(BucketTaken, match=rf"{aws.bucket.name} is denied.*choose another --env than '{aws.env}'"):
            checks(replace(aws, bucket=theirs), settings)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"])
def test_credentials_that_are_over_or_wrong_are_one_line(settings: Settings, code: str) -> None:
    """The first question to AWS finds out: its own word, and what to do."""
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>over\nand out</Message></Error></ErrorResponse>".encode()
    with (
        before(1, always=Fault("status", 403, body)) as server,
        pytest.raises(CredentialsRefused, match=rf"{code}: over and out\); renew them") as refused,
    ):
        connect(replace(settings, endpoint_url=server.url), KEYS)
    assert "\n" not in str(refused.value)


def test_a_region_that_does_not_exist_is_not_asked() -> None:
    """A slip of the pen is named, with what it may have meant; nothing is sent anywhere."""
    with pytest.raises(UnknownRegion, match=r"no region 'us-esat-1'.*did you mean .*us-east-1"):
        connect(replace(Settings(), region="us-esat-1"), KEYS)
