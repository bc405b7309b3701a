"""Shared by the functions: calls to S3 and the endpoint whose failures have names."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError  # noqa: A004 - botocore's

from scones.data.image_header import UnreadablePhoto
from scones.domain.errors import WorkflowError
from scones.domain.limits import MAX_REASON_CHARACTERS

USER_AGENT = "scones"
"""Who asks: what botocore tells of itself instead is put together for each request, and takes a tenth of its time."""
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
    """S3 or DynamoDB did not answer, or is too busy: worth another try."""


class BadEvent(WorkflowError):
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
    return UnreadablePhoto(json.dumps({"reason": reason[:MAX_REASON_CHARACTERS], "photo_id": photo_id}))


ENDPOINT = os.environ.get("ENDPOINT_NAME", "")
"""The endpoint to invoke; only the functions that classify have it."""

# The plain list that other clients get lacks the model's version, and whether the photo is familiar to it.
_ACCEPT = "application/json;verbose=true"
# What the server says of a photo that no retry will mend.
_REFUSED = {400, 413, 415}


class EndpointUnavailable(WorkflowError):
    """The endpoint did not answer, or answered with a fault of its own: worth another try."""


def ask(client: Any, body: bytes, content_type: str, inference_id: str | None) -> bytes:  # noqa: ANN401 - boto3's
    """Give the endpoint's answer, JSON; the monitor tells questions apart by their *inference_id*.

    Raises:
        UnreadablePhoto: the endpoint refused what it was asked about.
        EndpointUnavailable: no answer.
    """
    mark = {"InferenceId": inference_id} if inference_id else {}
    try:
        reply = client.invoke_endpoint(
            EndpointName=ENDPOINT, ContentType=content_type, Accept=_ACCEPT, Body=body, **mark
        )
        answer: bytes = reply["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "ModelError" and error.response.get("OriginalStatusCode") in _REFUSED:
            raise UnreadablePhoto(str(error.response.get("OriginalMessage", error))) from error
        raise EndpointUnavailable(f"endpoint {ENDPOINT!r}: {error}") from error
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise EndpointUnavailable(f"endpoint {ENDPOINT!r} does not answer: {error}") from error
    return answer
