"""One local cloud for each test process, with stand-ins for the training and the serving program."""

import io
import json
import socket
import sys
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from access_keys import BOTO_KEYS, KEY
from aws_calls import ROLE, Endpoint
from scones_local import cloud

HERE = Path(__file__).parent
PROGRAMS = cloud.Programs(
    image_prefix="scones",
    train=(sys.executable, str(HERE / "stand_in_train.py")),
    serve=(sys.executable, str(HERE / "stand_in_serve.py")),
    image_classification=(sys.executable, str(HERE / "stand_in_train.py")),
)


class Clients:
    """boto3 clients of one cloud, made when they are first asked for."""

    def __init__(self, running: cloud.Cloud) -> None:
        self.cloud = running
        self._made: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """The client of the service *name*, with `_` for `-`."""
        if name not in self._made:
            self._made[name] = boto3.client(
                name.replace("_", "-"),
                endpoint_url=self.cloud.endpoint_url,
                region_name=self.cloud.region,
                **BOTO_KEYS,
                config=boto3.session.Config(inject_host_prefix=False, retries={"max_attempts": 2}),
            )
        return self._made[name]

    def new_function(self) -> "Function":
        """A fresh function."""
        return Function(getattr(self, "lambda"))


SOURCE = """
import os, socket, time
class TooDark(Exception): pass
calls = 0
def handler(event, context):
    global calls
    calls += 1
    print("told", event.get("say"))
    if "exit" in event: os._exit(event["exit"])
    time.sleep(event.get("sleep", 0))
    if "gate" in event: socket.create_connection(("127.0.0.1", event["gate"])).recv(1)
    if event.get("dark"): raise TooDark("no light")
    if event.get("import"): __import__(event["import"])
    if event.get("environment"): return sorted(os.environ)
    return {"calls": calls, "pid": os.getpid(), "left": context.get_remaining_time_in_millis(),
            "arn": context.invoked_function_arn, "colour": os.environ.get("COLOUR"),
            "url": os.environ["AWS_ENDPOINT_URL"]}
"""


class Gate:
    """A place where calls of a function wait: `{"gate": gate.port}` is the event."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(60)
        self._waiting: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])

    def await_calls(self, number: int) -> None:
        """Return once *number* more calls wait."""
        self._waiting += [self._listener.accept()[0] for _ in range(number)]

    def open(self) -> None:
        """Let all calls go on, those that come later, too."""
        for call in (*self._waiting, self._listener):
            call.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is open at the end of the test."""
    made = Gate()
    yield made
    made.open()


class Function:
    """A fresh function with a time limit that only a test of limits meets."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.name = f"f-{uuid.uuid4().hex[:8]}"
        self.arn: str = client.create_function(
            FunctionName=self.name,
            Runtime="python3.11",
            Role=ROLE,
            Handler="answer.handler",
            Timeout=30,
            Code={"ZipFile": self.archive(SOURCE)},
        )["FunctionArn"]

    def __call__(self, **event: Any) -> tuple[Any, str | None]:
        """Invoke it; returns what came back, and FunctionError."""
        reply = self.client.invoke(FunctionName=self.name, Payload=json.dumps(event))
        return json.loads(reply["Payload"].read()), reply.get("FunctionError")

    @staticmethod
    def archive(source: str) -> bytes:
        """A zip that holds *source* as the module `answer`."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as opened:
            opened.writestr("answer.py", source)
        return packed.getvalue()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cloud.Cloud]:
    """A cloud that stands for the whole session."""
    started = cloud.start(tmp_path_factory.mktemp("cloud") / "state", programs=PROGRAMS, key=KEY)
    yield started
    cloud.stop(started)


@pytest.fixture(scope="session")
def clients(running: cloud.Cloud) -> Clients:
    """Clients of that cloud."""
    return Clients(running)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Clients]]:
    """Clients of two clouds that run at the same time, each as another account."""
    folder = tmp_path_factory.mktemp("accounts")
    numbers = ("123456789012", "210987654321")
    started = [cloud.start(folder / number, programs=PROGRAMS, key=KEY, account=number) for number in numbers]
    yield [Clients(each) for each in started]
    for each in started:
        cloud.stop(each)


@pytest.fixture
def function(clients: Clients) -> Function:
    """A function of the test's own."""
    return clients.new_function()


@pytest.fixture
def endpoint(clients: Clients) -> Iterator[Endpoint]:
    """An endpoint of the test's own."""
    made = Endpoint(clients)
    yield made
    made.sagemaker.delete_endpoint(EndpointName=made.name)
