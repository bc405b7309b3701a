"""Serverless endpoints: what SageMaker refuses of them is refused here."""

import threading
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from access_keys import BOTO_KEYS
from aws_calls import Endpoint, an_alarm, capture, fresh, settled, shifting
from waiting import eventually


def serverless(model: str, memory_mb: int = 2048, concurrency: int = 1, **members: Any) -> dict[str, Any]:
    """A serverless production variant."""
    config = {"MemorySizeInMB": memory_mb, "MaxConcurrency": concurrency}
    return {"VariantName": "AllTraffic", "ModelName": model, "ServerlessConfig": config, **members}


def create(endpoint: Endpoint, variant: dict[str, Any], **members: Any) -> str:
    """Create an endpoint configuration; returns its name."""
    name = fresh("serverless")
    endpoint.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **members)
    return name


@pytest.mark.parametrize(
    ("changes", "captures", "reason"),
    [
        ({"memory_mb": 1500}, False, "MemorySizeInMB"),
        ({"concurrency": 201}, False, "MaxConcurrency"),
        ({"InstanceType": "ml.m5.large"}, False, "not both"),
        ({}, True, "DataCaptureConfig is not supported"),
    ],
)
def test_what_a_serverless_variant_cannot_be_is_refused(
    endpoint: Endpoint, changes: dict[str, Any], captures: bool, reason: str
) -> None:
    """Memory outside its steps of 1,024 MB, more than 200 at once, instances, and data capture."""
    members = {"DataCaptureConfig": capture(endpoint.bucket)} if captures else {}
    with pytest.raises(ClientError, match=reason):
        create(endpoint, serverless(endpoint.config, **changes), **members)


def test_an_endpoint_on_instances_does_not_become_serverless(endpoint: Endpoint) -> None:
    """SageMaker does not convert it, and updates no serverless endpoint in steps."""
    config = create(endpoint, serverless(endpoint.config))
    with pytest.raises(ClientError, match="cannot become serverless"):
        endpoint.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=config)
    alarm = an_alarm(endpoint.clients.cloudwatch, endpoint.name)
    with pytest.raises(ClientError, match="DeploymentConfig is not supported"):
        endpoint.sagemaker.update_endpoint(
            EndpointName=endpoint.name, EndpointConfigName=config, DeploymentConfig=shifting("CANARY", 10, 0, alarm)
        )


def once(endpoint: Endpoint) -> Any:
    """A client that does not try again: retries outlast the request that is in the way."""
    meta = endpoint.runtime.meta
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client(
        "sagemaker-runtime", meta.region_name, endpoint_url=meta.endpoint_url, config=config, **BOTO_KEYS
    )


def throttled(endpoint: Endpoint, name: str) -> bool:
    """Whether one request more is too many."""
    try:
        once(endpoint).invoke_endpoint(EndpointName=name, Body=b"x")
    except ClientError as error:
        return "ThrottlingException" in str(error)
    return False


def test_a_serverless_endpoint_answers_up_to_its_limits(endpoint: Endpoint) -> None:
    """One request at a time where one is the limit, the rest are throttled; and no body beyond 4 MB."""
    name = fresh("serverless")
    config = create(endpoint, serverless(endpoint.config))
    endpoint.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    (variant,) = settled(endpoint.sagemaker, name)["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    ask = endpoint.runtime.invoke_endpoint
    assert ask(EndpointName=name, Body=b"12345")["Body"].read() == b"[0.75, 5]"
    slow = threading.Thread(target=ask, kwargs={"EndpointName": name, "Body": b"slow"})
    slow.start()
    assert eventually(lambda: throttled(endpoint, name))
    slow.join()
    with pytest.raises(ClientError, match="content length exceeded 4194304"):
        ask(EndpointName=name, Body=bytes(4_194_305))
    endpoint.sagemaker.delete_endpoint(EndpointName=name)
