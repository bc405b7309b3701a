"""Asking the endpoint: one request, and what its failures are called, for single photos and for batches."""

import os
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError  # noqa: A004 - botocore's

from scones.errors import SconesError
from scones.photos.header import UnreadablePhoto

ENDPOINT = os.environ["ENDPOINT_NAME"]
"""The endpoint that these functions ask."""

# The plain list that other clients get lacks the model's version, and whether the photo is familiar to it.
_ACCEPT = "application/json;verbose=true"
# What the server says of a photo that no retry will mend.
_REFUSED = {400, 413, 415}


class EndpointUnavailable(SconesError):
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
