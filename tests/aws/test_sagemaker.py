"""Which states of an endpoint end a wait."""

import json
from dataclasses import replace

import pytest

from access_keys import KEYS
from faulty import Fault, Request, before
from scones.aws.client import Client
from scones.aws.hosting import EndpointPlan, choose_hosting
from scones.aws.sagemaker import SageMaker
from scones.config.settings import Settings


def endpoint_reply(status: str) -> Fault:
    """DescribeEndpoint's answer for an endpoint in this state."""
    found = {"EndpointName": "e", "EndpointArn": "arn:e", "EndpointConfigName": "c", "EndpointStatus": status}
    return Fault("status", 200, json.dumps({**found, "CreationTime": 0, "LastModifiedTime": 0}).encode())


@pytest.mark.parametrize("status", ["InService", "OutOfService", "Failed", "UpdateRollbackFailed"])
def test_a_final_state_ends_the_wait_for_an_endpoint(status: str) -> None:
    """SageMaker leaves none of them by itself."""
    with before(1, always=endpoint_reply(status)) as server:
        client = Client(replace(Settings(), endpoint_url=server.url), "sagemaker", KEYS)
        found = SageMaker(client, client).wait_until_settled("e", max_seconds=20.0)
    assert found
    assert found.status == status


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_an_endpoint_in_progress_is_deleted_once_it_settles(status: str) -> None:
    """SageMaker would refuse to delete it before: nothing is asked of it, and one line says what is waited for."""
    gone = Fault("status", 400, b'{"__type": "ValidationException", "message": "Could not find endpoint"}')
    looked, asked, lines = 0, list[str](), list[str]()

    def decide(request: Request) -> Fault:
        nonlocal looked
        asked.append(request.operation)
        looked += request.operation == "DescribeEndpoint"
        if "DeleteEndpoint" in asked:
            return gone if request.operation == "DescribeEndpoint" else Fault("status", 200)
        return endpoint_reply(status if looked < 4 else "Failed")

    with before(1, decide=decide) as server:
        client = Client(replace(Settings(), endpoint_url=server.url), "sagemaker", KEYS)
        assert SageMaker(client, client).delete_endpoint("e", lines.append)
    assert asked == ["DescribeEndpoint"] * 4 + ["DeleteEndpoint", "DescribeEndpoint"]
    assert len(lines) == 1
    assert f"endpoint e is {status}: waiting" in lines[0]


def test_an_endpoint_whose_rollback_failed_is_updated_and_never_deleted() -> None:
    """It is in service with a mix of two configurations, so deleting it would end its traffic."""
    asked = list[str]()
    plan = EndpointPlan("e", "c", "m", "i", "r", "u", choose_hosting(Settings(), "s3://b/c", "alarm"), {})

    def decide(request: Request) -> Fault:
        asked.append(request.operation)
        if request.operation == "DescribeEndpoint":
            return endpoint_reply("InService" if "UpdateEndpoint" in asked else "UpdateRollbackFailed")
        return Fault("status", 200)

    with before(1, decide=decide) as server:
        client = Client(replace(Settings(), endpoint_url=server.url), "sagemaker", KEYS)
        assert SageMaker(client, client).deploy(plan).status == "InService"
    assert "UpdateEndpoint" in asked
    assert not {"DeleteEndpoint", "CreateEndpoint"} & set(asked)
