"""Calls of the functions to S3 and the endpoint, with errors that the state machine can catch by name."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError  # noqa: A004 - botocore's

from scones.data.image_header import UnreadablePhoto
from scones.domain.decision import MAX_REASON_CHARACTERS
from scones.domain.errors import WorkflowError

USER_AGENT = "scones"
"""The user agent; botocore's default is built for each request, and takes a tenth of its time."""
STORAGE = Config(
    user_agent=USER_AGENT,
    retries={"mode": "standard", "total_max_attempts": 2},
    connect_timeout=1,
    read_timeout=2,
)
"""How S3 and DynamoDB are asked: a function must end before its timeout, or the reason of its failure is lost."""

_TRANSIENT = {
    *("InternalError", "InternalServerError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"),
    *("ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"),
    *("TransactionInProgressException", "500", "502", "503", "504"),
}


class StorageUnavailable(WorkflowError):
    """S3 or DynamoDB did not answer, or is throttling; can be retried."""


class BadEvent(WorkflowError):
    """The event is not in the format of docs/workflow.md."""


@contextmanager
def storage(what: str) -> Iterator[None]:
    """Raise StorageUnavailable for transient errors of S3 and DynamoDB; others are raised unchanged."""
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
    """The error for an unreadable photo; its message is JSON, so that the refusal is recorded with the photo's id."""
    return UnreadablePhoto(json.dumps({"reason": reason[:MAX_REASON_CHARACTERS], "photo_id": photo_id}))


ENDPOINT = os.environ.get("ENDPOINT_NAME", "")
"""The endpoint to invoke; only the functions that classify have it."""

# The default answer is a plain list, without the model's version and the out-of-distribution score.
_ACCEPT = "application/json;verbose=true"
# Statuses for a photo that cannot be classified; a retry does not help.
_REFUSED = {400, 413, 415}
_FAILED = 500


class EndpointUnavailable(WorkflowError):
    """The endpoint did not answer, or failed; can be retried.

    *model_failed* says that the server answered with 500: the model may fail on one photo while it answers others.
    """

    def __init__(self, reason: str, *, model_failed: bool = False) -> None:
        super().__init__(reason)
        self.model_failed = model_failed


def ask(client: Any, body: bytes, content_type: str, inference_id: str | None) -> bytes:  # noqa: ANN401 - boto3's
    """Invoke the endpoint and return its answer, JSON; *inference_id* marks internal requests for the monitor.

    Raises:
        UnreadablePhoto: the endpoint refused the photo.
        EndpointUnavailable: no answer.
    """
    mark = {"InferenceId": inference_id} if inference_id else {}
    try:
        reply = client.invoke_endpoint(
            EndpointName=ENDPOINT, ContentType=content_type, Accept=_ACCEPT, Body=body, **mark
        )
        answer: bytes = reply["Body"].read()
    except ClientError as error:
        status = error.response.get("OriginalStatusCode") if error.response["Error"]["Code"] == "ModelError" else None
        if status in _REFUSED:
            raise UnreadablePhoto(str(error.response.get("OriginalMessage", error))) from error
        raise EndpointUnavailable(f"endpoint {ENDPOINT!r}: {error}", model_failed=status == _FAILED) from error
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise EndpointUnavailable(f"endpoint {ENDPOINT!r} does not answer: {error}") from error
    return answer
