"""Faults about one photo, on the real chain: none is lost, none is dispatched twice, and every failure has a name."""

import hashlib
import io
import json
import socketserver
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

from access_keys import KEYS
from conftest import deployed, new_settings
from faulty import Fault, Faulty, before
from live import live
from scones.aws.client import Client
from scones.aws.stepfunctions import ExecutionResult
from scones.deployment.template import function_code
from scones.dispatch.order_book import Item, open_order
from scones.dispatch.orders import Order, Place
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud
from tiny_model import plain_photo

pytestmark = pytest.mark.slow

NOW = 30_000_000.0
SLOW_DOWN = Fault("status", 503, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>")
THROTTLED = Fault(
    "status", 400, b'{"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow down"}'
)
BROKEN = Fault("status", 500, b'{"__type": "InternalFailure", "message": "broken"}')
RESET = Fault("reset")
Point = Callable[[str, str, Faulty], None]

# The function as it is, but its first call ends badly, with its work done.
WRAPPED = """
import os, socket, time
from scones.lambdas import {name}

def handler(event, context):
    answer = {name}.handler(event, context)
    with socket.create_connection(("127.0.0.1", {port})) as counter:
        first = counter.recv(1) == b"1"
    if first:
        {end}
    return answer
"""


@pytest.fixture(scope="module")
def flow(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, tiny_model: bytes) -> Iterator[Pipeline]:
    """An environment of this module's own."""
    own = deployed(new_settings(cloud, tmp_path_factory.mktemp("faults")), tiny_model)
    yield own
    own.down()


@pytest.fixture
def functions(flow: Pipeline) -> Client:
    """Lambda's own API."""
    return Client(flow.settings, "lambda", KEYS)


@pytest.fixture
def town(flow: Pipeline) -> Iterator[float]:
    """A place of the test's own, with two open orders in it."""
    east = float(uuid.uuid4().int % 1_000_000) / 2
    pickup, dropoff = Place(east, 0.1), Place(east, 8.0)
    made = [Order(f"o-{uuid.uuid4().hex[:8]}", pickup, dropoff, 10.0, NOW, NOW + 60) for _ in range(2)]
    flow.aws.tables.orders.put_all([open_order(order) for order in made])
    yield east
    flow.aws.tables.orders.put_all([{**open_order(order), "status": "assigned"} for order in made])


@pytest.fixture
def notices(flow: Pipeline) -> Iterator[Callable[[], dict[str, Any]]]:
    """The next notice that the failure topic sends out."""
    sns, sqs = Client(flow.settings, "sns", KEYS), Client(flow.settings, "sqs", KEYS)
    queue = sqs.call("create_queue", QueueName=f"inbox-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.call("get_queue_attributes", QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = flow.aws.stack.find_output("FailureTopicArn")
    subscription = sns.call("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]

    def received() -> dict[str, Any]:
        reply = sqs.call("receive_message", QueueUrl=queue, WaitTimeSeconds=20)
        notice: dict[str, Any] = json.loads(json.loads(reply["Messages"][0]["Body"])["Message"])
        return notice

    yield received
    sns.call("unsubscribe", SubscriptionArn=subscription)
    sqs.call("delete_queue", QueueUrl=queue)


@contextmanager
def configured(flow: Pipeline, functions: Client, name: str, **changes: Any) -> Iterator[None]:
    """Change a function's configuration for a while."""
    which = {"FunctionName": f"{flow.aws.name}-{name}"}
    existing = functions.call("get_function_configuration", **which)
    variables = {**existing.get("Environment", {}).get("Variables", {}), **changes.pop("variables", {})}
    was = {key: existing[key] for key in ("Handler", "Timeout")}
    kept = {"Variables": existing.get("Environment", {}).get("Variables", {})}
    functions.call("update_function_configuration", **which, Environment={"Variables": variables}, **changes)
    try:
        with live(functions, which["FunctionName"]):
            yield
    finally:
        functions.call("update_function_configuration", **which, Environment=kept, **was)


class CallCounter(socketserver.StreamRequestHandler):
    """Counts the calls of a function, which shares no folder with the test, and says which of them is the first."""

    def handle(self) -> None:
        """Count one call."""
        calls: list[None] = self.server.calls  # type: ignore[attr-defined]
        calls.append(None)
        self.wfile.write(b"1" if len(calls) == 1 else b"0")


@contextmanager
def counting() -> Iterator[tuple[int, list[None]]]:
    """Count calls: the port to connect to, and a list with an item for each."""
    with socketserver.TCPServer(("127.0.0.1", 0), CallCounter) as server:
        calls: list[None] = []
        server.calls = calls  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], calls
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def ending_badly(flow: Pipeline, functions: Client, name: str, port: int, end: str, **changes: Any) -> Iterator[None]:
    """Have a function end so after its first call's work."""
    packed = io.BytesIO(function_code().body)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("wrapped.py", WRAPPED.format(name=name, port=port, end=end))
    which = {"FunctionName": f"{flow.aws.name}-{name}"}
    functions.call("update_function_code", **which, ZipFile=packed.getvalue())
    try:
        with configured(flow, functions, name, Handler="wrapped.handler", **changes):
            yield
    finally:
        functions.call("update_function_code", **which, ZipFile=function_code().body)


def photo(level: int = 220) -> bytes:
    """A plain photo with bytes of its own."""
    return plain_photo(level) + uuid.uuid4().bytes


def send(flow: Pipeline, body: bytes, **event: object) -> ExecutionResult:
    """Send one photo through the workflow."""
    sample = flow.upload("photo.png", body)
    whole = {"image_data": "", "s3_bucket": flow.aws.bucket.name, "s3_key": sample.key, "inferences": [], **event}
    return flow.aws.workflow.run(flow.aws.stack.find_output("WorkflowArn"), uuid.uuid4().hex, whole)


def dispatched(flow: Pipeline, town: float) -> tuple[Item, list[str]]:
    """Send a courier's photo that must be dispatched; give its decision and the orders that the courier has now."""
    who = {"id": f"c-{uuid.uuid4().hex[:8]}", "x_km": town, "y_km": 0.0, "capacity": 2}
    ended = send(flow, photo(), courier=who)
    assert ended.output, (ended.error, ended.cause)
    decisions = [
        item for item in flow.aws.tables.decisions.query({"photo_id": ended.output["photo_id"]}) if "outcome" in item
    ]
    assert len(decisions) == 1
    taken = [str(item["order_id"]) for item in flow.aws.tables.orders.scan() if item.get("courier_id") == who["id"]]
    assert sorted(taken) == sorted(ended.output["orders"])
    return decisions[0], taken


@pytest.mark.parametrize(
    ("function", "service", "faults"),
    [
        ("serialize", "S3", [SLOW_DOWN] * 3),
        ("serialize", "S3", [RESET] * 3),
        ("serialize", "S3", [Fault("cut")] * 2),
        ("serialize", "S3", [Fault("hang", seconds=4)] * 2),
        ("classify", "SAGEMAKER_RUNTIME", [BROKEN, BROKEN]),
        ("classify", "SAGEMAKER_RUNTIME", [Fault("status", 503), RESET]),
        ("classify", "SAGEMAKER_RUNTIME", [Fault("hang", seconds=14)]),
        ("classify", "SAGEMAKER_RUNTIME", [Fault("cut")]),
        ("dispatch", "DYNAMODB", [THROTTLED] * 3),
        ("dispatch", "DYNAMODB", [BROKEN] * 3),
        ("dispatch", "DYNAMODB", [Fault("lost")] * 3),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(f"{f.kind}{f.status}" for f in value),
)
def test_what_fails_for_a_while_delays_a_photo_and_no_more(
    flow: Pipeline, functions: Client, town: float, function: str, service: str, faults: list[Fault]
) -> None:
    """Throttled, broken, silent, reset and cut off: the photo is dispatched once, with both orders."""
    with before(_port(flow), faults) as faulty:
        with configured(flow, functions, function, variables={f"AWS_ENDPOINT_URL_{service}": faulty.url}):
            decision, orders = dispatched(flow, town)
        assert faulty.seen > len(faults)
    assert (decision["outcome"], decision["dispatch"], len(orders)) == ("classified", "done", 2)


@pytest.mark.parametrize(
    ("function", "service", "fault", "error"),
    [
        ("serialize", "S3", SLOW_DOWN, "StorageUnavailable"),
        ("classify", "SAGEMAKER_RUNTIME", BROKEN, "EndpointUnavailable"),
        ("classify", "SAGEMAKER_RUNTIME", RESET, "EndpointUnavailable"),
        ("dispatch", "DYNAMODB", THROTTLED, "StorageUnavailable"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.kind}{value.status}",
)
def test_what_goes_on_failing_is_told_with_the_photo(
    flow: Pipeline,
    functions: Client,
    notices: Callable[[], dict[str, Any]],
    function: str,
    service: str,
    fault: Fault,
    error: str,
) -> None:
    """After every try the execution fails by name, and the notice holds what is needed to send the photo again."""
    with (
        before(_port(flow), always=fault) as faulty,
        configured(flow, functions, function, variables={f"AWS_ENDPOINT_URL_{service}": faulty.url}),
    ):
        ended = send(flow, photo())
    assert (ended.status, ended.error) == ("FAILED", error)
    notice = notices()
    assert notice["error"] == error
    assert notice["input"]["s3_bucket"] == flow.aws.bucket.name
    again = flow.aws.workflow.run(flow.aws.stack.find_output("WorkflowArn"), uuid.uuid4().hex, notice["input"])
    assert again.status == "SUCCEEDED"


@pytest.mark.parametrize("name", ["serialize", "classify", "filter", "dispatch"])
@pytest.mark.parametrize("end", ["os._exit(3)", "time.sleep(60)"], ids=["crash", "time-out"])
def test_a_function_that_crashes_or_runs_out_of_time_does_its_work_once(
    flow: Pipeline, functions: Client, town: float, name: str, end: str
) -> None:
    """Its work was done and its answer lost: it is tried again, and nothing happens twice."""
    with counting() as (port, calls), ending_badly(flow, functions, name, port, end, Timeout=8):
        decision, orders = dispatched(flow, town)
    assert len(calls) == 2
    assert (decision["dispatch"], len(orders)) == ("done", 2)


def test_a_throttled_function_is_tried_again_and_then_named(
    flow: Pipeline, functions: Client, notices: Callable[[], dict[str, Any]]
) -> None:
    """Lambda.TooManyRequestsException, as AWS calls it, ends in a notice."""
    which = {"FunctionName": f"{flow.aws.name}-filter"}
    functions.call("put_function_concurrency", **which, ReservedConcurrentExecutions=0)
    ended = send(flow, photo())
    functions.call("delete_function_concurrency", **which)
    assert (ended.status, ended.error) == ("FAILED", "Lambda.TooManyRequestsException")
    assert notices()["error"] == "Lambda.TooManyRequestsException"
    assert send(flow, photo()).status == "SUCCEEDED"


def test_an_unsure_photo_that_cannot_be_kept_for_review_is_told_instead(
    flow: Pipeline, notices: Callable[[], dict[str, Any]]
) -> None:
    """The reviews table is gone: the failure is DynamoDB's, by name, the notice holds the photo, to be sent again."""
    tables, name = Client(flow.settings, "dynamodb", KEYS), flow.aws.tables.reviews.name
    described = tables.call("describe_table", TableName=name)["Table"]
    kept = ("TableName", "AttributeDefinitions", "KeySchema")
    index = {part: described["GlobalSecondaryIndexes"][0][part] for part in ("IndexName", "KeySchema", "Projection")}
    flow.aws.tables.reviews.delete()
    body = photo(130)
    ended = send(flow, body)
    tables.call(
        "create_table",
        **{part: described[part] for part in kept},
        GlobalSecondaryIndexes=[index],
        BillingMode="PAY_PER_REQUEST",
    )
    assert ended.error.startswith("DynamoDB."), ended
    assert notices()["error"] == ended.error
    assert send(flow, body).error == "THRESHOLD_CONFIDENCE_NOT_MET"
    assert flow.aws.tables.reviews.get({"photo_id": hashlib.sha256(body).hexdigest()})


def test_a_rotated_photo_is_decided_upright(flow: Pipeline) -> None:
    """EXIF says how the phone was held: lying or upright, the probabilities are the same."""
    half = np.zeros((64, 64, 3), np.uint8)
    half[:, :40] = 255
    upright, lying = io.BytesIO(), io.BytesIO()
    Image.fromarray(half).save(upright, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(half)).save(lying, "PNG", exif=exif)
    answers = [send(flow, body.getvalue()) for body in (upright, lying)]
    told = [answer.output or json.loads(json.loads(answer.cause)["errorMessage"]) for answer in answers]
    assert told[0]["inferences"] == told[1]["inferences"]


def test_a_phone_photo_of_four_megabytes_passes_the_whole_workflow(flow: Pipeline, town: float) -> None:
    """Sixteen times what a state may hold: its courier has both orders in the end."""
    noise = np.random.default_rng(1).integers(100, 256, (3024, 4032, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=60)
    assert 4_000_000 < len(buffer.getvalue()) < 6_000_000
    who = {"id": "phone", "x_km": town, "y_km": 0.0, "capacity": 2}
    ended = send(flow, buffer.getvalue(), courier=who)
    assert ended.output, (ended.error, ended.cause)
    assert (ended.output["dispatch"], len(ended.output["orders"])) == ("done", 2)


def _port(flow: Pipeline) -> int:
    assert flow.settings.endpoint_url
    return int(flow.settings.endpoint_url.rpartition(":")[2])
