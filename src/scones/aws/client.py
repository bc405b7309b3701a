"""Clients: boto3 with timeouts and retries, errors as one line, and waits that poll at growing intervals.

boto3 is imported by the first call, so that commands without a call start faster.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from scones.config.settings import Settings
from scones.domain.errors import CloudError, SconesError

if TYPE_CHECKING:
    import boto3

T = TypeVar("T")

_MIN_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 15.0
# So a wait ends at most a twentieth of its time late.
_SHARE_OF_WAIT = 0.05


class WaitTimeout(CloudError):
    """A wait timed out."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"timed out after {seconds:.0f} s: {what}; see: scones status")
        self.what = what


def poll(what: str, seconds: float) -> Iterator[None]:
    """Yield once per attempt; sleep a twentieth of the time waited so far between them, 0.05 s to 15 s.

    Raises:
        WaitTimeout: *seconds* have passed.
    """
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
        yield
        time.sleep(min(max(_MIN_PAUSE_SECONDS, waited * _SHARE_OF_WAIT), _MAX_PAUSE_SECONDS))
    raise WaitTimeout(what, seconds)


def wait(what: str, look: Callable[[], T | None], seconds: float) -> T:
    """Call *look* until it returns a value; raises WaitTimeout."""
    for _ in poll(what, seconds):
        found = look()
        if found is not None:
            return found
    raise AssertionError("poll ends only by raising")


_PIECE_BYTES = 1 << 20
# The services' error codes for credentials that are expired, wrong, or of another partition.
_REFUSED_KEYS = {
    *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "InvalidToken"),
    *("InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException", "SignatureDoesNotMatch"),
    *("InvalidSignatureException", "AuthFailure"),
}

_THROTTLED = "AWS is throttling requests; try again later"
_FORBIDDEN = "your credentials lack this permission: have it granted, or use others, and run the same command again"
_QUOTA = "the account's quota is too small: request more in Service Quotas, or from AWS support if it shows no limit"
_NEXT = {
    **dict.fromkeys(("Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown"), _THROTTLED),
    **dict.fromkeys(("RequestLimitExceeded", "RequestThrottled", "ProvisionedThroughputExceededException"), _THROTTLED),
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"), _FORBIDDEN),
    **dict.fromkeys(
        ("ResourceLimitExceeded", "AccountLimitExceededException", "ServiceQuotaExceededException"), _QUOTA
    ),
}
"""What to do about errors that Scones did not cause."""


_NOT_FOUND = {
    *("404", "NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NoSuchEntity", "NotFound", "NotFoundException"),
    *("ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException", "QueueDoesNotExist"),
    *("ImageNotFoundException", "RepositoryNotFoundException", "StateMachineDoesNotExist", "ExecutionDoesNotExist"),
    "AWS.SimpleQueueService.NonExistentQueue",
}
_NOT_FOUND_WORDS = ("Could not find", "does not exist", "not found")


class AwsError(CloudError):
    """AWS rejected a call; *code* is its error code, *reasons* has one for each part of a transaction."""

    def __init__(self, service: str, operation: str, code: str, message: str, *, reasons: tuple[str, ...] = ()) -> None:
        todo = f"; {_NEXT[code]}" if code in _NEXT else ""
        super().__init__(f"{service} {operation} failed: {code}: {message}{todo}")
        self.service = service
        self.operation = operation
        self.code = code
        self.message = message
        self.reasons = reasons

    @property
    def not_found(self) -> bool:
        """Whether it means that the resource does not exist."""
        if self.code in {"ValidationException", "ValidationError"}:  # SageMaker and CloudFormation have no code for it
            return any(words in self.message for words in _NOT_FOUND_WORDS)
        return self.code in _NOT_FOUND


class AwsUnreachable(CloudError):
    """There are no credentials, or AWS does not answer."""


class CredentialsRefused(AwsUnreachable):
    """The credentials are expired or invalid."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"AWS rejects the credentials ({' '.join(reason.split())}); renew them (aws sso login, or new keys) or use "
            "a region that the account has enabled, and run the same command again"
        )


class UnknownRegion(AwsUnreachable):
    """No AWS region has this name."""

    def __init__(self, region: str, near: list[str]) -> None:
        meant = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"AWS has no region {region!r} as far as this boto3 knows{meant} Set AWS_REGION, or region")
        self.region = region


class UnsupportedRegion(AwsUnreachable):
    """Scones cannot work in this region."""

    def __init__(self, region: str, reason: str) -> None:
        super().__init__(f"Scones does not work in region {region!r}: {reason}. Set AWS_REGION, or region, to another")
        self.region = region


PARTITIONS = {"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn"}
"""The partitions in which Scones works, each with the domain of its services."""
_PREFIXES = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
_NEEDED = {"sagemaker": "SageMaker", "codebuild": "CodeBuild, which builds the container image,"}
"""Services that AWS does not offer in all regions."""


def partition(region: str) -> str:
    """Name the partition of a region that `check_region` accepts; it is a part of every ARN."""
    return next((name for prefix, name in _PREFIXES.items() if region.startswith(prefix)), "aws")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Explicit keys in place of boto3's own chain, without the user's AWS configuration."""

    access_key: str
    secret_key: str


# A broken profile must not break commands that need none.
_NO_FILES = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


@cache
def _session(region: str, credentials: Credentials | None) -> "boto3.Session":
    """Open one session for all services: each session reads botocore's data again."""
    import boto3
    import botocore.session

    if credentials is None:
        return boto3.Session(region_name=region)
    return boto3.Session(
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        region_name=region,
        botocore_session=botocore.session.Session(session_vars=_NO_FILES),
    )


def check_region(region: str) -> None:
    """Reject a region that does not exist or lacks a service, before anything is created there.

    Raises:
        UnknownRegion: botocore lists no such region.
        UnsupportedRegion: it is in another partition, or without a service that Scones needs.
        AwsUnreachable: the profile that is set does not exist.
    """
    import boto3

    try:
        found = boto3.Session(region_name=region)
    except _boto_errors() as error:
        raise _broken_settings(error) from error
    by_partition = {part: found.get_available_regions("sts", part) for part in found.get_available_partitions()}
    names = [name for part in by_partition.values() for name in part]
    if region not in names:
        raise UnknownRegion(region, get_close_matches(region, names))
    where = next(part for part, regions in by_partition.items() if region in regions)
    if where not in PARTITIONS:
        raise UnsupportedRegion(region, f"its partition {where} is none of {', '.join(PARTITIONS)}")
    for service, name in _NEEDED.items():
        if region not in found.get_available_regions(service, where):
            raise UnsupportedRegion(region, f"as far as this boto3 knows, AWS does not offer {name} there")


def _broken_settings(error: Exception) -> AwsUnreachable:
    return AwsUnreachable(f"{error}; correct the AWS settings, or unset them")


_OPENING = threading.Lock()
"""A boto3 session may open one client at a time."""


@cache
def _boto_errors() -> tuple[type[Exception], ...]:
    """The base classes of everything that botocore raises."""
    from botocore.exceptions import BotoCoreError, ClientError

    return ClientError, BotoCoreError


class Client:
    """One AWS service: `call` an operation by its API name."""

    def __init__(
        self, settings: Settings, service: str, credentials: Credentials | None = None, attempts: int = 5
    ) -> None:
        self.service = service
        self.region = settings.region
        self._settings, self._credentials, self._attempts = settings, credentials, attempts
        self._opened: Any = None

    @property
    def _boto(self) -> Any:
        """The boto3 client, opened at the first call: most commands use a few of the services."""
        if self._opened is None:
            with _OPENING:
                self._opened = self._opened or self._open()
        return self._opened

    def _open(self) -> Any:
        from botocore.config import Config

        settings = self._settings
        config = Config(
            connect_timeout=5,
            # A synchronous Express execution may take five minutes.
            read_timeout=310,
            # One connection a thread, and some to spare; a load test has 64. They are opened only when needed.
            max_pool_connections=max(80, 2 * settings.clients),
            retries={"mode": "standard", "total_max_attempts": self._attempts},
            s3={"addressing_style": "path"} if settings.endpoint_url else None,
            # Names such as sync-127.0.0.1 do not resolve.
            inject_host_prefix=settings.endpoint_url is None,
            # The local cloud needs no proxy; None means those of the environment.
            proxies={} if self._credentials else None,
        )
        try:
            session = _session(settings.region, self._credentials)
            return session.client(self.service, endpoint_url=settings.endpoint_url, config=config)
        except ValueError as error:  # an endpoint that is no URL
            raise _broken_settings(error) from error
        except _boto_errors() as error:  # a profile that does not exist
            raise _broken_settings(error) from error

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call *operation* (snake case, as in boto3) and return its reply.

        Raises:
            AwsError: AWS rejected the call.
            AwsUnreachable: no credentials, or no answer.
        """
        boto = self._boto
        try:
            reply: dict[str, Any] = getattr(boto, operation)(**arguments)
        except _boto_errors() as error:
            raise self._translate(operation, error) from error
        return reply

    def find(self, operation: str, **arguments: Any) -> dict[str, Any] | None:
        """Call *operation* and return its reply; None if the resource does not exist. Raises as `call` does."""
        try:
            return self.call(operation, **arguments)
        except AwsError as error:
            if error.not_found:
                return None
            raise

    def pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield every page of a listing *operation*; raises as `call` does."""
        boto = self._boto
        try:
            yield from boto.get_paginator(operation).paginate(**arguments)
        except _boto_errors() as error:
            raise self._translate(operation, error) from error

    def find_pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield every page of a listing *operation*; none if its resource does not exist. Raises as `call` does."""
        try:
            yield from self.pages(operation, **arguments)
        except AwsError as error:
            if not error.not_found:
                raise

    def stream(self, operation: str, **arguments: Any) -> Iterator[bytes]:
        """Yield the `Body` of *operation*'s reply, a piece at a time; raises as `call` does, at any piece."""
        body = self.call(operation, **arguments)["Body"]
        try:
            with body:
                yield from body.iter_chunks(_PIECE_BYTES)
        except _boto_errors() as error:
            raise self._translate(operation, error) from error

    def _translate(self, operation: str, error: Exception) -> SconesError:
        from botocore import exceptions

        if isinstance(error, exceptions.ClientError):
            detail = error.response.get("Error", {})
            code, message = detail.get("Code", "Unknown"), detail.get("Message", str(error))
            reasons = tuple(reason.get("Code", "None") for reason in error.response.get("CancellationReasons", ()))
            if code in _REFUSED_KEYS:
                return CredentialsRefused(f"{code}: {message}")
            return AwsError(self.service, operation, code, message, reasons=reasons)
        if isinstance(
            error,
            exceptions.CredentialRetrievalError
            | exceptions.PartialCredentialsError
            | exceptions.SSOError
            | exceptions.TokenRetrievalError,
        ):
            return CredentialsRefused(str(error))
        if isinstance(error, exceptions.NoCredentialsError):
            return AwsUnreachable("no AWS credentials found; configure them, or work locally: scones local up")
        if isinstance(error, exceptions.ProxyConnectionError):
            return AwsUnreachable(f"{self.service}: {error}; correct HTTPS_PROXY and NO_PROXY, or unset them")
        hint = "is it up? see: scones local status" if self._settings.endpoint_url else "is the network up?"
        if isinstance(
            error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError | exceptions.HTTPClientError
        ):
            return AwsUnreachable(f"{self.service} at {self._boto.meta.endpoint_url} does not answer; {hint}")
        return AwsError(self.service, operation, type(error).__name__, str(error))
