"""Clients: boto3 with timeouts and retries, errors as one line, and waits that outlast transient errors.

Retried here, in one place: botocore repeats calls that were throttled, broken off or answered with a 5xx; to these the
client adds the web pages of proxies, replies that break off, and the parts of a batch that failed inside a 200. A wait
goes on through what still fails then. boto3 is imported by the first call: commands without one start faster.
"""

import math
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from scones.aws.replies import (
    FOREIGN_REPLY,
    INCOMPLETE_REPLY,
    NOT_FOUND,
    PARTIAL_FAILURES,
    UNREADABLE_REPLY,
    PartFailure,
    mark_foreign_reply,
    retry_marked_reply,
)
from scones.config.settings import Settings
from scones.domain.errors import CloudError

if TYPE_CHECKING:
    import boto3

T = TypeVar("T")

_MIN_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 15.0
# So a wait ends at most a twentieth of its time late.
_SHARE_OF_WAIT = 0.05
MAX_OUTAGE_SECONDS = 600.0
"""A wait ends when AWS has given no usable reply for so long."""


class WaitTimeout(CloudError):
    """A wait timed out."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"timed out after {seconds:.0f} s: {what}; see: scones status")
        self.what = what


class ContactLost(CloudError):
    """AWS gave no usable reply for so long that a wait ended."""

    def __init__(self, what: str, seconds: float, error: Exception) -> None:
        super().__init__(f"stopped waiting: {what}; no usable reply for {seconds:.0f} s, the last error: {error}")
        self.what = what


_END: ContextVar[float] = ContextVar("_END", default=math.inf)


@contextmanager
def waits_end(seconds: float) -> Iterator[None]:
    """End every wait of the block so many *seconds* from now: a function must stop before its time is over."""
    token = _END.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _END.reset(token)


def wait(
    what: str,
    look: Callable[[], T | None],
    seconds: float,
    max_outage_seconds: float = MAX_OUTAGE_SECONDS,
    *,
    max_pause: float = math.inf,
) -> T:
    """Call *look* until it returns a value; between calls, sleep a twentieth of the time waited, 0.05 s to 15 s.

    No pause is longer than *max_pause* seconds. Transient errors of *look* are retried at growing intervals, so it must
    be safe to repeat.

    Raises:
        WaitTimeout: *seconds* have passed.
        ContactLost: there were only transient errors for *max_outage_seconds*.
    """
    started = answered = time.monotonic()
    failures = 0
    seconds = min(seconds, _END.get() - started)
    while (waited := time.monotonic() - started) < seconds:
        try:
            found = look()
        except CloudError as error:
            if not error.transient:
                raise
            failures += 1
            if time.monotonic() - answered > max_outage_seconds:
                raise ContactLost(what, time.monotonic() - answered, error) from error
        else:
            if found is not None:
                return found
            answered, failures = time.monotonic(), 0
        pause = min(max(_MIN_PAUSE_SECONDS, waited * _SHARE_OF_WAIT), _MAX_PAUSE_SECONDS, max_pause)
        time.sleep(max(pause, _backoff_seconds(failures)) if failures else pause)
    raise WaitTimeout(what, seconds)


def _backoff_seconds(failures: int) -> float:
    """Exponential backoff with jitter, up to 15 s: clients that fail together do not come back together."""
    return min(_MIN_PAUSE_SECONDS * 2.0**failures, _MAX_PAUSE_SECONDS) * random.uniform(0.5, 1)  # noqa: S311


@contextmanager
def continues(note: str) -> Iterator[None]:
    """Add *note* to an error that ends a wait, but not what is waited for: what continues in the account.

    The note says what it is, what it costs, and how to find it again. Without it a stopped command says nothing of
    what is still billed.
    """
    try:
        yield
    except (KeyboardInterrupt, WaitTimeout, ContactLost, AwsError, AwsUnreachable) as error:
        error.add_note(note)
        raise


_PIECE_BYTES = 1 << 20
_MAX_ATTEMPTS = 10
# The services' error codes for credentials that are expired, wrong, or of another partition.
_REFUSED_KEYS = {
    *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "InvalidToken"),
    *("InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException", "SignatureDoesNotMatch"),
    *("InvalidSignatureException", "AuthFailure"),
}
# AWS accepts signatures whose time differs by at most five minutes, S3 fifteen.
_MAX_SKEW_SECONDS = 240.0
_WRONG_CLOCK = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_SIGNATURE_TIME = {"RequestExpired", "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure"}
_SIGNATURE_TIME_WORDS = ("signature expired", "signature not yet current", "too skewed")

_THROTTLED = "AWS is throttling requests; try again later"
_FORBIDDEN = "your credentials lack this permission: have it granted, or use others, and run the same command again"
_QUOTA = "the account's quota is too small: request more in Service Quotas, or from AWS support if it shows no limit"
NEXT_STEPS = {
    **dict.fromkeys(("Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown"), _THROTTLED),
    **dict.fromkeys(("RequestLimitExceeded", "RequestThrottled", "ProvisionedThroughputExceededException"), _THROTTLED),
    **dict.fromkeys(("ThrottledException", "RequestThrottledException", "BandwidthLimitExceeded"), _THROTTLED),
    **dict.fromkeys(("PriorRequestNotComplete", "Unprocessed"), _THROTTLED),
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"), _FORBIDDEN),
    **dict.fromkeys(
        ("ResourceLimitExceeded", "AccountLimitExceededException", "ServiceQuotaExceededException"), _QUOTA
    ),
    FOREIGN_REPLY: "sign in to the network or correct HTTPS_PROXY and NO_PROXY, and run the same command again",
}
"""What to do about errors that Scones did not cause."""
_TRANSIENT = {
    *(code for code, todo in NEXT_STEPS.items() if todo == _THROTTLED),
    *("RequestTimeout", "RequestTimeoutException", "InternalError", "InternalFailure", "InternalServerError"),
    *("InternalServerException", "ServiceUnavailable", "ServiceUnavailableException", "ServiceException"),
    *("TransactionInProgressException", "TransactionConflictException", "429"),
    *(FOREIGN_REPLY, INCOMPLETE_REPLY, UNREADABLE_REPLY),
    *("ReadTimeoutError", "ResponseStreamingError", "IncompleteReadError", "ConnectionClosedError"),
}
"""Error codes, and names of botocore's errors, that the same call may not meet again."""


_NOT_FOUND_WORDS = ("Could not find", "does not exist", "not found")


class AwsError(CloudError):
    """AWS rejected a call; *code* is its error code, *reasons* has one for each part of a transaction."""

    def __init__(self, service: str, operation: str, code: str, message: str, *, reasons: tuple[str, ...] = ()) -> None:
        todo = f"; {NEXT_STEPS[code]}" if code in NEXT_STEPS else ""
        super().__init__(f"{service} {operation} failed: {code}: {message}{todo}")
        self.service = service
        self.operation = operation
        self.code = code
        self.message = message
        self.reasons = reasons
        self.transient = code in _TRANSIENT

    @property
    def not_found(self) -> bool:
        """Whether it means that the resource does not exist."""
        if self.code in {"ValidationException", "ValidationError"}:  # SageMaker and CloudFormation have no code for it
            return any(words in self.message for words in _NOT_FOUND_WORDS)
        return self.code in NOT_FOUND


class PartlyFailed(AwsError):
    """A call succeeded, but its reply names parts that failed."""

    def __init__(self, service: str, operation: str, failures: Sequence[PartFailure]) -> None:
        lasting = [each for each in failures if each.code not in _TRANSIENT]
        first = (lasting or failures)[0]
        about = f"{first.message or 'no reason given'} ({len(failures)} failed, the first: {first.part!s:.200})"
        super().__init__(service, operation, first.code, about)
        self.transient = not lasting
        self.failures = tuple(failures)


class AwsUnreachable(CloudError):
    """There are no credentials, or AWS does not answer, which may be *transient*."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class ClockSkewed(AwsUnreachable):
    """This machine's clock differs so much from AWS's that signatures are invalid."""

    def __init__(self, code: str, skew_seconds: float | None) -> None:
        off = "is wrong"
        if skew_seconds is not None:
            off = f"is {abs(skew_seconds):,.0f} s {'ahead of' if skew_seconds > 0 else 'behind'} AWS's"
        super().__init__(
            f"AWS rejects the request's time ({code}): this machine's clock {off}; set it (on Linux: sudo timedatectl "
            "set-ntp true) and run the same command again; the credentials need no renewal"
        )


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
        raise _broken_settings(error) from None
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
            client = session.client(self.service, endpoint_url=settings.endpoint_url, config=config)
        except ValueError as error:  # an endpoint that is no URL
            raise _broken_settings(error) from None
        except _boto_errors() as error:  # a profile that does not exist
            raise _broken_settings(error) from None
        client.meta.events.register("before-parse", mark_foreign_reply)
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register_first(f"needs-retry.{service}", retry_marked_reply)
        return client

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call *operation* (snake case, as in boto3) and return its reply; a streamed `Body` is read whole, as bytes.

        Raises:
            AwsError: AWS rejected the call; PartlyFailed if it rejected parts of a batch.
            AwsUnreachable: no credentials, or no answer.
        """
        for failures in range(1, self._attempts):
            try:
                return self._call_once(operation, arguments)
            except AwsError as error:
                # botocore does not see that a body breaks off; all else it has retried already.
                if error.code not in _BROKEN_OFF:
                    raise
                time.sleep(_backoff_seconds(failures))
        return self._call_once(operation, arguments)

    def _call_once(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        reply = self._send(operation, arguments)
        if hasattr(reply.get("Body"), "read"):
            # A body that breaks off holds its connection until it is closed.
            with self._translated(operation), closing(reply["Body"]) as body:
                reply["Body"] = body.read()
        read_failures = PARTIAL_FAILURES.get(operation)
        if read_failures and (failures := read_failures(reply)):
            raise PartlyFailed(self.service, operation, failures)
        return reply

    def _send(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        method = getattr(self._boto, operation)
        with self._translated(operation):
            return _Reply(method(**arguments), self.service, operation)

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        """Translate whatever botocore raises: it fails in many ways to read what a proxy made of a reply."""
        try:
            yield
        except CloudError:
            raise
        except Exception as error:  # noqa: BLE001 - translated
            # The message has all that botocore said; its traceback would bury it in a notebook.
            raise self._translate(operation, error) from None

    def call_all(
        self, operation: str, parts: Sequence[T], at_once: int, request: Callable[[Sequence[T]], dict[str, Any]]
    ) -> None:
        """Call *operation* for all *parts*, so many *at_once*; parts whose failures are transient are sent again.

        Raises:
            PartlyFailed: some parts failed for good, or too often.
        """
        for start in range(0, len(parts), at_once):
            left: Sequence[T] = parts[start : start + at_once]
            for failures in range(1, _MAX_ATTEMPTS + 1):
                try:
                    self.call(operation, **request(left))
                    break
                except PartlyFailed as error:
                    if not error.transient or failures == _MAX_ATTEMPTS:
                        raise
                    left = [each.part for each in error.failures]
                time.sleep(_backoff_seconds(failures))

    def create(self, operation: str, **arguments: Any) -> None:
        """Call *operation*, which creates something; it may exist: the reply to an earlier attempt can be lost."""
        try:
            self.call(operation, **arguments)
        except AwsError as error:
            if error.code != "ResourceInUse" and "already existing" not in error.message:
                raise

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
        pages = iter(self._boto.get_paginator(operation).paginate(**arguments))
        while True:
            # Only botocore's errors are translated, not those of the caller between two pages.
            with self._translated(operation):
                page = next(pages, None)
            if page is None:
                return
            yield _Reply(page, self.service, operation)

    def find_pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield every page of a listing *operation*; none if its resource does not exist. Raises as `call` does."""
        try:
            yield from self.pages(operation, **arguments)
        except AwsError as error:
            if not error.not_found:
                raise

    def stream(self, operation: str, **arguments: Any) -> Iterator[bytes]:
        """Yield the `Body` of *operation*'s reply, a piece at a time; raises as `call` does, at any piece."""
        body = self._send(operation, arguments)["Body"]
        with body:
            pieces = body.iter_chunks(_PIECE_BYTES)
            while True:
                with self._translated(operation):
                    piece = next(pieces, None)
                if piece is None:
                    return
                yield piece

    def _translate(self, operation: str, error: Exception) -> CloudError:
        from botocore import exceptions

        if isinstance(error, exceptions.ClientError):
            return self._rejection(operation, error.response, str(error))
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
            said = f"{self.service}: {error}; correct HTTPS_PROXY and NO_PROXY, or unset them"
            return AwsUnreachable(said, transient=True)
        if type(error).__name__ in _BROKEN_OFF:
            return AwsError(self.service, operation, type(error).__name__, "the reply broke off")
        hint = "is it up? see: scones local status" if self._settings.endpoint_url else "is the network up?"
        if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
            # A local cloud that refuses connections has ended: waiting does not help.
            gone = isinstance(error, exceptions.EndpointConnectionError) and bool(self._settings.endpoint_url)
            said = f"{self.service} at {self._boto.meta.endpoint_url} does not answer; {hint}"
            return AwsUnreachable(said, transient=not gone)
        reason = " ".join(f"{error}".split())[:_MAX_MESSAGE]
        if isinstance(error, exceptions.BotoCoreError):
            return AwsError(self.service, operation, type(error).__name__, reason)
        return AwsError(self.service, operation, UNREADABLE_REPLY, f"{type(error).__name__}: {reason}")

    def _rejection(self, operation: str, reply: Mapping[str, Any], otherwise: str) -> CloudError:
        """The error for a reply that is one."""
        detail, about = reply.get("Error", {}), reply.get("ResponseMetadata", {})
        code = str(detail.get("Code") or "Unknown")
        message = " ".join(str(detail.get("Message") or otherwise).split())[:_MAX_MESSAGE]
        skew = _skew_seconds(about.get("HTTPHeaders", {}).get("date", ""))
        wrong = skew is not None and abs(skew) > _MAX_SKEW_SECONDS
        timed = wrong or any(words in message.lower() for words in _SIGNATURE_TIME_WORDS)
        if code in _WRONG_CLOCK or (code in _SIGNATURE_TIME and timed):
            return ClockSkewed(code, skew if wrong else None)
        if code in _REFUSED_KEYS:
            return CredentialsRefused(f"{code}: {message}")
        reasons = tuple(reason.get("Code", "None") for reason in reply.get("CancellationReasons", ()))
        found = AwsError(self.service, operation, code, message, reasons=reasons)
        status = int(about.get("HTTPStatusCode", 0))
        found.transient = found.transient or status >= 500 or status == 429
        return found


_MAX_MESSAGE = 2000
_BROKEN_OFF = {"ReadTimeoutError", "ResponseStreamingError", "IncompleteReadError"}
"""Names of botocore's errors while a streamed body is read."""


class _Reply(dict[str, Any]):
    """A reply whose missing members are an error of the service, and not of ours."""

    def __init__(self, reply: Mapping[str, Any], service: str, operation: str) -> None:
        super().__init__(reply)
        self._from = service, operation

    def __missing__(self, member: str) -> Any:
        raise AwsError(*self._from, INCOMPLETE_REPLY, f"the reply has no {member}")


def _skew_seconds(date: str) -> float | None:
    """How far this machine's clock is ahead of the one that wrote *date*, an HTTP header; None if it is not valid."""
    try:
        return (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):
        return None
