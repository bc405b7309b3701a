"""Preflight: check the account before anything is created; checks that fail to run are reported."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from scones.aws.client import AwsError
from scones.aws.connection import Aws
from scones.aws.quotas import QuotaUnavailable, quota_unavailable
from scones.config.settings import Settings
from scones.deployment.image_source import image_uri
from scones.domain.errors import DeploymentError


class BucketTaken(DeploymentError):
    """The bucket's name is taken by another account, or access to our own is denied."""

    def __init__(self, bucket: str, env: str) -> None:
        super().__init__(
            f"access to bucket {bucket} is denied: another account has taken its name, or your credentials "
            f"lack s3:ListBucket; choose another --env than {env!r}, or correct the permissions"
        )
        self.bucket = bucket


class CheckStatus(StrEnum):
    """The result of a check."""

    GOOD = "good"
    ATTENTION = "ATTENTION"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """One check of the account."""

    what: str
    verdict: CheckStatus
    words: str

    def __str__(self) -> str:
        """The line for a person."""
        return f"preflight: {self.what}: {'' if self.verdict is CheckStatus.GOOD else self.verdict + ': '}{self.words}"


def preflight(aws: Aws, settings: Settings) -> Iterable[PreflightCheck]:
    """Check the credentials, the names, the quota of the endpoint's instances, and the image.

    Raises:
        BucketTaken: the environment's bucket cannot be created.
        CredentialsRefused: the credentials have expired meanwhile.
    """
    yield PreflightCheck("credentials", CheckStatus.GOOD, f"{aws.caller}, account {aws.account}, region {aws.region}")
    yield _names(aws)
    if settings.mode == "realtime":
        yield _quota(aws, settings.endpoint_instance, settings.endpoint_instances)
    yield _image(aws)


def _names(aws: Aws) -> PreflightCheck:
    exists = aws.stack.find() is not None
    if aws.bucket.taken():
        raise BucketTaken(aws.bucket.name, aws.env)
    if not exists and aws.bucket.exists():
        words = f"bucket {aws.bucket.name} exists without a stack; if the stack fails because of it, run: scones down"
        return PreflightCheck("names", CheckStatus.ATTENTION, words)
    words = f"stack {aws.name} exists and is updated" if exists else f"{aws.name} is free"
    return PreflightCheck("names", CheckStatus.GOOD, words)


def _quota(aws: Aws, instance: str, wanted: int) -> PreflightCheck:
    what = f"quota of {instance} for endpoints"
    try:
        quota = aws.quotas.find("sagemaker", f"{instance} for endpoint usage")
    except QuotaUnavailable as why:
        return PreflightCheck(what, CheckStatus.UNCHECKED, str(why))
    if quota is None:
        return PreflightCheck(what, CheckStatus.UNCHECKED, f"SageMaker has no such quota in {aws.region}")
    more = f"of {quota.limit:g} (request more of {quota.code} from AWS)"
    if quota.limit < wanted:
        return PreflightCheck(what, CheckStatus.ATTENTION, f"deploy needs {wanted} {more}")
    if quota.limit < 2 * wanted:
        return PreflightCheck(what, CheckStatus.ATTENTION, f"an update needs {2 * wanted} for a while, {more}")
    return PreflightCheck(what, CheckStatus.GOOD, f"{quota.limit:g}; an update needs {2 * wanted}")


def _image(aws: Aws) -> PreflightCheck:
    try:
        found = aws.images.digest(image_uri(aws).rpartition(":")[2])
    except AwsError as error:
        return PreflightCheck("image", CheckStatus.UNCHECKED, str(quota_unavailable(error, "ecr:DescribeImages")))
    return PreflightCheck(
        "image", CheckStatus.GOOD, f"{image_uri(aws)} {'is in the registry' if found else 'is built first'}"
    )
