"""Faults: what the functions' errors are called, so that the state machine can tell what to try again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError  # noqa: A004 - botocore's

from scones.errors import SconesError
from scones.photos.header import UnreadablePhoto
from scones.runtime.functions.limits import LONGEST_REASON

USER_AGENT = "scones"
"""Who asks: what botocore tells of itself instead is put together for each request, and takes a tenth of its time."""
STORAGE = Config(
    user_agent=USER_AGENT,
    retries={"mode": "standard", "total_max_attempts": 2},
    connect_timeout=1,
    read_timeout=2,
)
"""How S3 and DynamoDB are asked: a function must end before its time does, or nobody learns why it failed."""

_TRANSIENT = {
    *("InternalError", "InternalServerError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"),
    *("ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"),
    *("TransactionInProgressException", "500", "502", "503", "504"),
}


class StorageUnavailable(SconesError):
    """S3 or DynamoDB did not answer, or is too busy: worth another try."""


class BadEvent(SconesError):
    """The event is not of the form that docs/workflow.md describes."""


@contextmanager
def storage(what: str) -> Iterator[None]:
    """Turn what S3 and DynamoDB may recover from into StorageUnavailable; all else passes as it is."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if error.response["Error"]["Code"] in _TRANSIENT or status >= 500:
            raise StorageUnavailable(f"{what}: {error}") from error
        raise
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise StorageUnavailable(f"{what}: {error}") from error


def unreadable(reason: str, photo_id: str) -> UnreadablePhoto:
    """The error's message is JSON, so that the refusal can be recorded under the photo's own name."""
    return UnreadablePhoto(json.dumps({"reason": reason[:LONGEST_REASON], "photo_id": photo_id}))
