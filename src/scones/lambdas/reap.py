"""Reap: delete the endpoint after the time in its tag, and send an alert."""

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from scones.domain.naming import EXPIRES_TAG, from_iso8601

_log = logging.getLogger(__name__)
_log.setLevel(logging.INFO)


def handler(_event: object, _context: object) -> dict[str, Any]:
    """Delete the environment's endpoint if its tag says so; an endpoint without the tag is kept."""
    sagemaker, name = boto3.client("sagemaker"), os.environ["ENDPOINT_NAME"]
    try:
        endpoint = sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if "Could not find" not in error.response["Error"]["Message"]:
            raise
        return _result(name, "", "there is none")
    tags = sagemaker.list_tags(ResourceArn=endpoint["EndpointArn"])["Tags"]
    expires = next((tag["Value"] for tag in tags if tag["Key"] == EXPIRES_TAG), "")
    if not expires or from_iso8601(expires) > datetime.now(UTC):
        return _result(name, expires, "kept")
    # The alert first: one alert too many is better than an endpoint that disappears without notice.
    boto3.client("sns").publish(
        TopicArn=os.environ["ALERT_TOPIC"],
        Subject=f"Scones: endpoint {name} is deleted",
        Message=f"Its time to live ended at {expires}; it would go on costing money. "
        "If you still need it, run: scones deploy",
    )
    sagemaker.delete_endpoint(EndpointName=name)
    return _result(name, expires, "deleted")


def _result(name: str, expires: str, what: str) -> dict[str, Any]:
    found = {"event": "reap", "endpoint": name, "expires": expires, "outcome": what}
    _log.info(json.dumps(found))
    return found
