import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from access_keys import KEYS
from faulty import Fault, Request, before
from scones.aws.client import Client
from scones.domain.naming import EXPIRES_TAG
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud


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


@contextmanager
def alerts(flow: Pipeline) -> Iterator[Callable[[], dict[str, str]]]:
    """Subscribe to the alerts; the function that it gives waits for the next one."""
    sqs, sns = Client(flow.settings, "sqs", KEYS), Client(flow.settings, "sns", KEYS)
    queue = sqs.call("create_queue", QueueName=f"{flow.aws.name}-heard")["QueueUrl"]
    reply = sqs.call("get_queue_attributes", QueueUrl=queue, AttributeNames=["QueueArn"])
    topic = flow.aws.stack.find_output("AlertTopicArn")
    sns.call("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=reply["Attributes"]["QueueArn"])

    def heard() -> dict[str, str]:
        (message,) = sqs.call("receive_message", QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
        found: dict[str, str] = json.loads(message["Body"])
        return found

    yield heard
    sqs.call("delete_queue", QueueUrl=queue)


def test_an_alert_says_that_the_endpoint_is_deleted(mortal_flow: Pipeline) -> None:
    """The notice names the endpoint, the time, and the command that brings it back."""
    mark(mortal_flow, datetime.now(UTC) - timedelta(hours=2))
    with alerts(mortal_flow) as heard:
        reap(mortal_flow)
        notice = heard()
    assert notice["Subject"] == f"Scones: endpoint {mortal_flow.aws.name} is deleted"
    assert f"scones deploy --env {mortal_flow.aws.env}" in notice["Message"]


def test_an_endpoint_that_scales_goes_with_its_scaling(mortal_flow: Pipeline) -> None:
    """SageMaker deletes such an endpoint only for whoever may remove its scaling."""
    scaling = mortal_flow.aws.scaling
    assert scaling.configure(replace(mortal_flow.settings, endpoint_max_instances=2))
    mark(mortal_flow, datetime.now(UTC) - timedelta(hours=2))
    assert reap(mortal_flow) == "deleted"
    assert not scaling.exists()
    assert mortal_flow.aws.sagemaker.find_endpoint(mortal_flow.aws.name) is None


def through(flow: Pipeline, url: str) -> None:
    """Let the function call AWS by another address."""
    client, name = Client(flow.settings, "lambda", KEYS), f"{flow.aws.name}-reap"
    known = client.call("get_function_configuration", FunctionName=name)["Environment"]["Variables"]
    variables = {**known, "AWS_ENDPOINT_URL": url, "AWS_MAX_ATTEMPTS": "1"}
    client.call("update_function_configuration", FunctionName=name, Environment={"Variables": variables})


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("DeleteEndpoint", "AccessDeniedException"),
        ("DeregisterScalableTarget", "AccessDeniedException"),
        ("DeleteEndpoint", "InternalFailure"),
    ],
)
def test_a_deletion_that_is_refused_fails_and_says_so(
    cloud: Cloud, mortal_flow: Pipeline, operation: str, code: str
) -> None:
    """The call fails, so that it is tried again and lands in the queue of lost calls; nothing claims a deletion."""
    mark(mortal_flow, datetime.now(UTC) - timedelta(hours=2))
    body = json.dumps({"__type": code, "message": "not authorized to perform this"}).encode()

    def refuse(request: Request) -> Fault | None:
        return Fault("status", 400, body) if request.operation == operation else None

    with before(cloud.port, decide=refuse) as between, alerts(mortal_flow) as heard:
        through(mortal_flow, between.url)
        client = Client(mortal_flow.settings, "lambda", KEYS)
        reply = client.call("invoke", FunctionName=f"{mortal_flow.aws.name}-reap", Payload=b"{}")
        notice = heard()
    assert reply["FunctionError"] == "Unhandled"
    assert notice["Subject"] == f"Scones: endpoint {mortal_flow.aws.name} could not be deleted"
    assert f"scones down --env {mortal_flow.aws.env}" in notice["Message"]
    assert mortal_flow.aws.sagemaker.find_endpoint(mortal_flow.aws.name)


def test_an_endpoint_in_progress_is_left_for_the_next_call(cloud: Cloud, mortal_flow: Pipeline) -> None:
    """SageMaker refuses to delete it, which is no failure and no news."""
    mark(mortal_flow, datetime.now(UTC) - timedelta(hours=2))
    arn = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/e"
    message = f'Cannot update in-progress endpoint "{arn}".'
    body = json.dumps({"__type": "ValidationException", "message": message}).encode()

    def refuse(request: Request) -> Fault | None:
        return Fault("status", 400, body) if request.operation == "DeleteEndpoint" else None

    with before(cloud.port, decide=refuse) as between:
        through(mortal_flow, between.url)
        assert reap(mortal_flow).endswith("deleted later")


def test_without_a_time_to_live_there_is_no_reaper(own_flow: Pipeline) -> None:
    """In production nothing may delete an endpoint by itself."""
    functions = Client(own_flow.settings, "lambda", KEYS).call("list_functions")["Functions"]
    assert f"{own_flow.aws.name}-reap" not in [function["FunctionName"] for function in functions]
