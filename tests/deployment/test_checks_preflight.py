"""What is looked at before anything is made, and how it is said."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from access_keys import KEYS
from faulty import Fault, before
from scones.aws.client import Client, CredentialsRefused, UnknownRegion
from scones.aws.connection import Aws, Quotas, connect
from scones.aws.ecr import Images
from scones.aws.s3 import Bucket
from scones.config.settings import Settings
from scones.deployment import checks as deployment_checks
from scones.deployment.checks import (
    BucketTaken,
    CheckStatus,
    PreflightCheck,
    QuotaTooSmall,
    check_capacity,
    preflight,
)

ENDPOINTS, TRAINING = "ml.m5.large for endpoint usage", "ml.m5.large for training job usage"
SPOT, BUILDS = "ml.m5.large for spot training job usage", "Concurrently running builds for Linux/Small environment"


@contextmanager
def quotas(aws: Aws, settings: Settings, values: dict[str, float]) -> Iterator[Aws]:
    """The account with these quotas and no others."""
    items = [{"QuotaName": name, "QuotaCode": "L-1", "Value": value} for name, value in values.items()]
    with before(1, always=Fault("status", 200, json.dumps({"Quotas": items}).encode())) as server:
        asked = Client(replace(settings, endpoint_url=server.url), "service-quotas", KEYS)
        yield replace(aws, quotas=Quotas(asked))


def checks(aws: Aws, settings: Settings) -> dict[str, PreflightCheck]:
    """Every check, by what it looked at."""
    return {check.what: check for check in preflight(aws, settings)}


def test_a_fresh_environment_passes_on_the_local_cloud(aws: Aws, settings: Settings) -> None:
    """Each check has a line; the image is still to be built."""
    found = checks(aws, settings)
    assert found["credentials"].verdict is CheckStatus.GOOD
    assert aws.account in found["credentials"].words
    assert str(found["names"]) == f"preflight: names: {aws.name} is free"
    quota_lines = [what for what in found if what.startswith("quota of")]
    assert quota_lines == [f"quota of {what}" for what in ("ml.m5.large for training", ENDPOINT_LINE, "image builds")]
    assert {found[what].verdict for what in quota_lines} == {CheckStatus.GOOD}
    assert found["image"].words.endswith("is built first")


ENDPOINT_LINE = "ml.m5.large for endpoints"


@pytest.mark.parametrize(
    ("limit", "words"),
    [(0.0, "deploy needs 1 of 0"), (1.0, "an update needs 2 for a while, of 1"), (2.0, "2; an update needs 2")],
)
def test_a_quota_too_small_is_told_before_an_hour_is_lost(
    aws: Aws, settings: Settings, limit: float, words: str
) -> None:
    """None at all, one that is too few for an update beside the old endpoint, and enough."""
    with quotas(aws, settings, {ENDPOINTS: limit}) as account:
        assert words in checks(account, settings)[f"quota of {ENDPOINT_LINE}"].words


@pytest.mark.parametrize(("spot", "name"), [(0, TRAINING), (600, SPOT)])
def test_training_is_refused_before_anything_is_built_if_its_quota_is_zero(
    aws: Aws, settings: Settings, spot: int, name: str
) -> None:
    """`up` only says so, since it trains nothing; Spot instances have a quota of their own."""
    wanted = replace(settings, spot_wait_seconds=spot)
    with quotas(aws, settings, {TRAINING: 5.0, SPOT: 5.0, BUILDS: 5.0, name: 0.0}) as account:
        assert "train needs 1 of 0" in checks(account, wanted)["quota of ml.m5.large for training"].words
        with pytest.raises(
            QuotaTooSmall, match=r"ml.m5.large for training is 0: request more of L-1.*nothing was"
        ) as told:
            list(check_capacity(account, wanted, trains=True))
    assert "\n" not in str(told.value)
    with quotas(aws, settings, {TRAINING: 5.0, SPOT: 5.0, BUILDS: 5.0}) as account:
        assert list(check_capacity(account, wanted, trains=True))


@pytest.mark.parametrize("trains", [True, False])
def test_a_new_account_that_may_build_nothing_is_told_before_anything_is_created(
    aws: Aws, settings: Settings, trains: bool
) -> None:
    """CodeBuild answers `Cannot have more than 0 builds in queue`; an image that exists needs no build."""
    with quotas(aws, settings, {TRAINING: 5.0, BUILDS: 0.0}) as account:
        with pytest.raises(QuotaTooSmall, match=r"image builds is 0"):
            list(check_capacity(account, settings, trains=trains))
        built = replace(account, images=BuiltImages())
        assert "is in the registry" in str(list(check_capacity(built, settings, trains=trains))[-1])


class BuiltImages(Images):
    """A repository that has the image."""

    def __init__(self) -> None:
        """Without clients: it is only asked for a digest."""

    def digest(self, tag: str) -> str | None:
        """The digest of any tag."""
        return f"sha256:{tag}"


def test_a_build_that_needs_another_index_says_so(
    aws: Aws, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip's own index has no local versions, such as `+cpu`."""
    monkeypatch.setattr(deployment_checks, "unpublished_requirements", lambda: ("torch==2.0+cpu",))
    assert "pip's own index has no torch==2.0+cpu; set package_index" in checks(aws, settings)["image build"].words
    assert "image build" not in checks(aws, replace(settings, package_index="https://index.example"))
    monkeypatch.setattr(deployment_checks, "unpublished_requirements", tuple)
    assert "image build" not in checks(aws, settings)


def test_a_quota_that_aws_does_not_name_is_not_taken_for_enough(aws: Aws, settings: Settings) -> None:
    """A type that this region does not have, or that has another name there."""
    other = replace(settings, endpoint_instance="ml.c5.large")
    with quotas(aws, settings, {ENDPOINTS: 5.0}) as account:
        found = checks(account, other)["quota of ml.c5.large for endpoints"]
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
        found = checks(replace(aws, quotas=Quotas(asked)), settings)[f"quota of {ENDPOINT_LINE}"]
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
