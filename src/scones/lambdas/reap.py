"""Reap: delete the endpoint after the time in its tag, and send an alert."""

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from scones.domain.naming import EXPIRES_TAG, from_iso8601
from scones.domain.text import name_env

_VARIANT = "AllTraffic"

_log = logging.getLogger(__name__)
_log.setLevel(logging.INFO)


def handler(_event: object, _context: object) -> dict[str, Any]:
    """Delete the environment's endpoint if its tag says so; an endpoint without the tag is kept.

    One that SageMaker is creating or updating cannot be deleted: the next call, an hour later, does that.

    Raises:
        ClientError: it could not be deleted; an alert says so, and the call is tried again.
    """
    sagemaker, name = boto3.client("sagemaker"), os.environ["ENDPOINT_NAME"]
    env = name.removeprefix("scones-")
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
    if endpoint["EndpointStatus"] == "Deleting":
        return _result(name, expires, "deleted")
    try:
        _deregister(name)
        sagemaker.delete_endpoint(EndpointName=name)
    except ClientError as error:
        if "in-progress" in error.response["Error"]["Message"]:
            return _result(name, expires, f"is {endpoint['EndpointStatus']}: deleted later")
        _publish(
            f"Scones: endpoint {name} could not be deleted",
            f"Its time to live ended at {expires}, and it still costs money: {error}. "
            f"To delete it, run: {name_env('scones down', env)}",
        )
        raise
    _publish(
        f"Scones: endpoint {name} is deleted",
        f"Its time to live ended at {expires}; it would go on costing money. "
        f"If you still need it, run: {name_env('scones deploy', env)}",
    )
    return _result(name, expires, "deleted")


def _deregister(name: str) -> None:
    """Remove the endpoint's autoscaling, if it has any: SageMaker needs the caller's permission for it, too."""
    try:
        boto3.client("application-autoscaling").deregister_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId=f"endpoint/{name}/variant/{_VARIANT}",
            ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ObjectNotFoundException":
            raise


def _publish(subject: str, message: str) -> None:
    boto3.client("sns").publish(TopicArn=os.environ["ALERT_TOPIC"], Subject=subject, Message=message)


def _result(name: str, expires: str, what: str) -> dict[str, Any]:
    found = {"event": "reap", "endpoint": name, "expires": expires, "outcome": what}
    _log.info(json.dumps(found))
    return found
