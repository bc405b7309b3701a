"""Checks: of the account before a deployment (preflight), and of the workflow after it (smoke test)."""

import io
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from scones.aws.client import AwsError
from scones.aws.connection import Aws, QuotaUnavailable, ServiceQuota, quota_unavailable
from scones.config.settings import Settings
from scones.data.sources.synthetic import render
from scones.deployment.template import image_uri, unpublished_requirements
from scones.domain.decision import Outcome, outcome_of_error
from scones.domain.errors import DeploymentError
from scones.domain.naming import ASKED_PREFIX, evaluation_id
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.text import spaced


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


class QuotaTooSmall(DeploymentError):
    """A quota of the account allows none of what the command needs."""

    def __init__(self, what: str, quota: ServiceQuota) -> None:
        super().__init__(
            f"the account's quota of {what} is {quota.limit:g}: request more of {quota.code} in Service Quotas, "
            "or use another account; nothing was created"
        )
        self.code = quota.code


def preflight(aws: Aws, settings: Settings) -> Iterable[PreflightCheck]:
    """Check the credentials, the names, and what `check_capacity` does.

    Raises:
        BucketTaken: the environment's bucket cannot be created.
        QuotaTooSmall: the image must be built, and the account may build none.
        CredentialsRefused: the credentials have expired meanwhile.
    """
    yield PreflightCheck("credentials", CheckStatus.GOOD, f"{aws.caller}, account {aws.account}, region {aws.region}")
    yield _names(aws)
    yield from check_capacity(aws, settings)


def check_capacity(aws: Aws, settings: Settings, *, trains: bool = False) -> Iterable[PreflightCheck]:
    """Check the quotas of the training job, the endpoint and the image build, and what that build needs.

    Raises:
        QuotaTooSmall: the account may run no such training job and the command *trains*, or it may build no image.
    """
    spot = "spot " if settings.spot_wait_seconds else ""
    instance = settings.training_instance
    training = _Quota(f"{instance} for training", "sagemaker", f"{instance} for {spot}training job usage", "train", 1)
    yield _quota(aws, training, needed_now=trains)
    if settings.mode == "realtime":
        instance, count = settings.endpoint_instance, settings.endpoint_instances
        name = f"{instance} for endpoint usage"
        yield _quota(aws, _Quota(f"{instance} for endpoints", "sagemaker", name, "deploy", count, updates=True))
    yield from _image(aws, settings)


def _names(aws: Aws) -> PreflightCheck:
    exists = aws.stack.find() is not None
    if aws.bucket.taken():
        raise BucketTaken(aws.bucket.name, aws.env)
    if not exists and aws.bucket.exists():
        words = f"bucket {aws.bucket.name} exists without a stack; if the stack fails because of it, run: scones down"
        return PreflightCheck("names", CheckStatus.ATTENTION, words)
    words = f"stack {aws.name} exists and is updated" if exists else f"{aws.name} is free"
    return PreflightCheck("names", CheckStatus.GOOD, words)


@dataclass(frozen=True, slots=True)
class _Quota:
    """A quota by its *name* at a *service*, and how much of it a *command* needs."""

    what: str
    service: str
    name: str
    command: str
    needed: int
    updates: bool = False
    """Whether an update needs as much again."""


def _quota(aws: Aws, wanted: _Quota, *, needed_now: bool = False) -> PreflightCheck:
    what = f"quota of {wanted.what}"
    try:
        quota = aws.quotas.find(wanted.service, wanted.name)
    except QuotaUnavailable as why:
        return PreflightCheck(what, CheckStatus.UNCHECKED, str(why))
    if quota is None:
        service = "SageMaker" if wanted.service == "sagemaker" else "CodeBuild"
        return PreflightCheck(what, CheckStatus.UNCHECKED, f"{service} has no such quota in {aws.region}")
    more = f"of {quota.limit:g} (request more of {quota.code} in Service Quotas)"
    if quota.limit < wanted.needed:
        if needed_now:
            raise QuotaTooSmall(wanted.what, quota)
        return PreflightCheck(what, CheckStatus.ATTENTION, f"{wanted.command} needs {wanted.needed} {more}")
    if not wanted.updates:
        return PreflightCheck(what, CheckStatus.GOOD, f"{quota.limit:g}")
    if quota.limit < 2 * wanted.needed:
        return PreflightCheck(what, CheckStatus.ATTENTION, f"an update needs {2 * wanted.needed} for a while, {more}")
    return PreflightCheck(what, CheckStatus.GOOD, f"{quota.limit:g}; an update needs {2 * wanted.needed}")


_BUILDS = _Quota(
    "image builds", "codebuild", "Concurrently running builds for Linux/Small environment", "the image build", 1
)


def _image(aws: Aws, settings: Settings) -> Iterable[PreflightCheck]:
    """Look for the image; where it must be built, check whether it can be."""
    try:
        found = aws.images.digest(image_uri(aws).rpartition(":")[2])
    except AwsError as error:
        yield PreflightCheck("image", CheckStatus.UNCHECKED, str(quota_unavailable(error, "ecr:DescribeImages")))
        return
    yield PreflightCheck(
        "image", CheckStatus.GOOD, f"{image_uri(aws)} {'is in the registry' if found else 'is built first'}"
    )
    if found:
        return
    yield _quota(aws, _BUILDS, needed_now=True)
    unpublished = ", ".join(unpublished_requirements())
    if unpublished and not settings.package_index:
        words = f"pip's own index has no {unpublished}; set package_index to an index that has, or the build fails"
        yield PreflightCheck("image build", CheckStatus.ATTENTION, words)


_KEY = f"{ASKED_PREFIX}smoke-test.png"
# A drawing may be below the threshold or out of distribution: the model answered all the same.
_ANSWERS = (Outcome.BELOW_THRESHOLD, Outcome.OUT_OF_DISTRIBUTION)


class SmokeTestFailed(DeploymentError):
    """The workflow gave no answer."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(
            f"the smoke test's photo got no answer from the workflow: {error}: {' '.join(cause.split())[:300]}; "
            "check the functions' logs, correct the cause, and run the same command again"
        )
        self.error = error


@dataclass(frozen=True, slots=True)
class SmokeTestResult(StepResult):
    """The answer to the photo: its label, or the error's name."""

    answer: str
    seconds: float


def smoke_test(aws: Aws, workflow_arn: str, report: Reporter) -> SmokeTestResult | None:
    """Classify a drawing; None if no endpoint is in service.

    The monitor ignores it, because its inference ID marks internal traffic.

    Raises:
        SmokeTestFailed: the workflow failed.
    """
    endpoint = aws.sagemaker.find_endpoint(aws.name)
    if endpoint is None or endpoint.status != "InService":
        report.tell("smoke test skipped: no endpoint is in service; `scones deploy` runs it")
        return None
    stream = io.BytesIO()
    render("bicycle", "test", 0).save(stream, "png")
    aws.bucket.put(_KEY, stream.getvalue(), "application/x-image")
    event = {"image_data": "", "s3_bucket": aws.bucket.name, "s3_key": _KEY, "inference_id": evaluation_id("smoke")}
    ended = aws.workflow.run(workflow_arn, f"smoke-{uuid.uuid4().hex}", event)
    if ended.output is None and outcome_of_error(ended.error) not in _ANSWERS:
        raise SmokeTestFailed(ended.error or ended.status, ended.cause)
    seconds = (ended.stopped - ended.started).total_seconds()
    said = spaced(outcome_of_error(ended.error)) if ended.output is None else ""
    answer = ended.error if ended.output is None else f"{ended.output['label']} {ended.output['confidence']:.1%}"
    # A drawing is not a photo: low confidence or out of distribution is a normal answer.
    report.tell(
        f"smoke test passed: one drawing went through the workflow in {seconds:.2f} s; the answer was {said or answer}"
    )
    return SmokeTestResult(answer, seconds)
