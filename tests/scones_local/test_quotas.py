"""Service Quotas: a new account's limits are told, changed on request, and kept to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_calls import Endpoint, a_bucket, fresh, job_request, settled
from scones_local.quotas import BUILDS, DEFAULT


@contextmanager
def limited(clients: Any, service: str, name: str, value: float) -> Iterator[None]:
    """Set one quota for a while."""
    client = clients.service_quotas
    pages = client.get_paginator("list_service_quotas").paginate(ServiceCode=service)
    (code,) = [item["QuotaCode"] for page in pages for item in page["Quotas"] if item["QuotaName"] == name]
    client.request_service_quota_increase(ServiceCode=service, QuotaCode=code, DesiredValue=value)
    assert client.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"] == value
    yield
    client.request_service_quota_increase(ServiceCode=service, QuotaCode=code, DesiredValue=DEFAULT)


def test_no_training_job_starts_above_its_quota(clients: Any) -> None:
    """A new account may have 0 of an instance type; Spot instances have a quota of their own."""
    request = job_request(a_bucket(clients.s3))
    instance = request["ResourceConfig"]["InstanceType"]
    with limited(clients, "sagemaker", f"{instance} for training job usage", 0):
        with pytest.raises(ClientError, match=r"ResourceLimitExceeded.*is 0 Instances.*request delta of 1"):
            clients.sagemaker.create_training_job(**request)
        spot = {**request, "EnableManagedSpotTraining": True}
        spot["StoppingCondition"] = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
        clients.sagemaker.create_training_job(**spot)
    clients.sagemaker.stop_training_job(TrainingJobName=request["TrainingJobName"])


def test_no_endpoint_is_created_or_updated_above_its_quota(endpoint: Endpoint) -> None:
    """An update needs a second fleet beside the first."""
    client, name = endpoint.sagemaker, fresh("endpoint")
    used = len(client.list_endpoints(StatusEquals="InService")["Endpoints"])
    with limited(endpoint.clients, "sagemaker", "ml.m5.large for endpoint usage", 0):
        with pytest.raises(ClientError, match=r"ResourceLimitExceeded.*'ml.m5.large for endpoint usage' is 0"):
            client.create_endpoint(EndpointName=name, EndpointConfigName=endpoint.config)
        with pytest.raises(ClientError, match=r"ResourceLimitExceeded"):
            client.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=endpoint.config)
    assert used
    assert settled(client, endpoint.name)["EndpointStatus"] == "InService"


def test_no_build_starts_in_an_account_that_may_have_none(clients: Any) -> None:
    """As CodeBuild answers in new accounts."""
    with (
        limited(clients, "codebuild", BUILDS, 0),
        pytest.raises(ClientError, match=r"AccountLimitExceededException.*Cannot have more than 0 builds in queue"),
    ):
        clients.codebuild.start_build(projectName="any")


def test_a_service_without_limits_is_refused(clients: Any) -> None:
    """No answer is made up for services that the local cloud does not limit."""
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        clients.service_quotas.list_service_quotas(ServiceCode="ec2")
