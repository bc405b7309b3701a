"""A tiny model in the artefact's form, and servers that run it."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from scones.artefact import BASELINE, MODEL, Artefact, Description, write_artefact


def write_model(path: Path) -> None:
    """Write a model of two classes by hand: the brighter the photo, the likelier the second."""
    weights = np.stack([np.full(3, -1 / 64, np.float32), np.full(3, 1 / 64, np.float32)], axis=1)
    bias = np.array([6.0, -6.0], np.float32)
    nodes = [
        helper.make_node("Cast", ["photos"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(bias, "bias"),
    ]
    photos = helper.make_tensor_value_info("photos", TensorProto.UINT8, ["n", 32, 32, 3])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "tiny", [photos], [probabilities], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def write_tiny_artefact(folder: Path) -> Artefact:
    """Write a complete, valid artefact round the tiny model."""
    folder.mkdir(parents=True)
    write_model(folder / MODEL)
    with (folder / BASELINE).open("wb") as file:
        np.savez(file, values=np.zeros((1, 1)))
    description = Description(
        classes=("bicycle", "motorcycle"),
        image_size=32,
        temperature=1.0,
        data_version="test",
        metrics={},
        created="2026-01-01T00:00:00Z",
        seed=0,
    )
    return write_artefact(folder, description, "A model for tests.\n")


def photo(
    form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (32, 32), value: int = 60, **options: Any
) -> bytes:
    """Encode a plain photo; *value* is its brightness, 0 to 255."""
    stream = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).convert(mode).save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SageMaker's base folder with the tiny model in it."""
    folder = tmp_path_factory.mktemp("opt-ml")
    write_tiny_artefact(folder / "model")
    return folder


def find_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return find_port()


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's content."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """A running server: its supervisor's process and its port."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes."""
        return psutil.Process(self.process.pid).children()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> "Answer":
        """Ask once, on a connection of its own; underscores in header names stand for hyphens."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            client.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = client.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            client.close()

    def invoke(self, body: bytes, content_type: str = "application/x-image", **headers: str) -> "Answer":
        """Send a photo, or what passes for one."""
        return self.ask("POST", "/invocations", body, Content_Type=content_type, **headers)

    def peak_bytes(self) -> int:
        """Return the largest memory that any worker ever had resident."""
        peaks = []
        for worker in self.workers():
            status = Path(f"/proc/{worker.pid}/status").read_text()
            peaks.append(1024 * int(status.split("VmHWM:")[1].split()[0]))
        return max(peaks)

    def connect(self) -> socket.socket:
        """Open a plain connection that fails rather than hangs."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


def start_server(base: Path, log: Path, **variables: str) -> Server:
    """Start the server as SageMaker would, and wait until it listens."""
    port = find_port()
    environment = os.environ | {  # noqa: TID251 - a child process inherits it
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SCONES_BIND_HOST": "127.0.0.1",
        "SCONES_SERVE_WORKERS": "1",
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "scones.runtime.serve"], stderr=file, env=environment | variables
        )
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        with suppress(ConnectionRefusedError):
            server = Server(process, port, log)
            if server.ask("GET", "/ping").status == 200:
                return server
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise AssertionError(f"the server did not start: {log.read_text()}")


def stop_server(server: Server) -> int:
    """End the server as SageMaker would; return its exit status."""
    server.process.send_signal(signal.SIGTERM)
    return server.process.wait(timeout=20)


Start = Callable[..., Server]


@pytest.fixture
def start(base: Path, tmp_path: Path) -> Iterator[Start]:
    """Start servers of one's own, with further variables; all are stopped after the test."""
    started: list[Server] = []

    def begin(**variables: str) -> Server:
        started.append(start_server(base, tmp_path / f"serve-{len(started)}.log", **variables))
        return started[-1]

    yield begin
    for server in started:
        if server.process.poll() is None:
            stop_server(server)


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Share one server of one worker, with short time limits, among a file's tests."""
    log = tmp_path_factory.mktemp("serve") / "serve.log"
    running = start_server(
        base, log, SCONES_SERVE_HEAD_SECONDS="0.5", SCONES_SERVE_BODY_SECONDS="1", SCONES_SERVE_LINGER_SECONDS="1"
    )
    yield running
    assert running.process.poll() is None, log.read_text()
    assert stop_server(running) == 0
    assert "Traceback" not in log.read_text()
