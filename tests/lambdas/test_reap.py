import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from access_keys import KEYS
from scones.aws.client import Client
from scones.domain.naming import EXPIRES_TAG
from scones.domain.progress import Silent
from scones.pipeline import Pipeline


@pytest.fixture
def mortal_flow(own_flow: Pipeline) -> Pipeline:
    """An environment whose endpoint may not stand for good."""
    flow = Pipeline(own_flow.aws, replace(own_flow.settings, endpoint_lifetime_hours=1), Silent())
    flow.up()
    return flow


def mark(flow: Pipeline, when: datetime) -> None:
    """Say when the endpoint's time is up, as `scones deploy` does."""
    sagemaker = Client(flow.settings, "sagemaker", KEYS)
    arn = sagemaker.call("describe_endpoint", EndpointName=flow.aws.name)["EndpointArn"]
    sagemaker.call(
        "add_tags", ResourceArn=arn, Tags=[{"Key": EXPIRES_TAG, "Value": when.isoformat(timespec="seconds")}]
    )


def reap(flow: Pipeline) -> str:
    """Have the function look; its rule does so every hour."""
    reply = Client(flow.settings, "lambda", KEYS).call("invoke", FunctionName=f"{flow.aws.name}-reap", Payload=b"{}")
    found: dict[str, Any] = json.loads(reply["Payload"].read())
    return str(found["outcome"])


def test_an_endpoint_goes_once_its_time_is_up_and_not_before(mortal_flow: Pipeline) -> None:
    """Without the tag, and before the time in it, it stays; afterwards it goes, and nothing is left to do."""
    aws, now = mortal_flow.aws, datetime.now(UTC)
    mark(mortal_flow, now + timedelta(hours=1))
    assert reap(mortal_flow) == "kept"
    assert aws.sagemaker.find_endpoint(aws.name)
    mark(mortal_flow, now - timedelta(seconds=1))
    assert reap(mortal_flow) == "deleted"
    assert aws.sagemaker.find_endpoint(aws.name) is None
    assert reap(mortal_flow) == "there is none"


def test_who_hears_alerts_hears_of_it_first(mortal_flow: Pipeline) -> None:
    """The notice names the endpoint, the time, and the command that brings it back."""
    sqs, sns = Client(mortal_flow.settings, "sqs", KEYS), Client(mortal_flow.settings, "sns", KEYS)
    queue = sqs.call("create_queue", QueueName=f"{mortal_flow.aws.name}-heard")["QueueUrl"]
    reply = sqs.call("get_queue_attributes", QueueUrl=queue, AttributeNames=["QueueArn"])
    topic = mortal_flow.aws.stack.find_output("AlertTopicArn")
    sns.call("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=reply["Attributes"]["QueueArn"])
    mark(mortal_flow, datetime.now(UTC) - timedelta(hours=2))
    reap(mortal_flow)
    heard = sqs.call("receive_message", QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
    sqs.call("delete_queue", QueueUrl=queue)
    notice = json.loads(heard[0]["Body"])
    assert mortal_flow.aws.name in notice["Subject"]
    assert "scones deploy" in notice["Message"]


def test_without_a_time_to_live_there_is_no_reaper(own_flow: Pipeline) -> None:
    """In production nothing may delete an endpoint by itself."""
    functions = Client(own_flow.settings, "lambda", KEYS).call("list_functions")["Functions"]
    assert f"{own_flow.aws.name}-reap" not in [function["FunctionName"] for function in functions]
