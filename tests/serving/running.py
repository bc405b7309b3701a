"""A server that runs as SageMaker would run it, and what a client sends to it."""

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from PIL import Image


def photo(
    form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (32, 32), value: int = 60, **options: Any
) -> bytes:
    """Encode a plain photo; *value* is its brightness, 0 to 255."""
    stream = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def find_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            client.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = client.getresponse()
            return Answer(
                response.status, {name.title(): value for name, value in response.getheaders()}, response.read()
            )
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

    def send(self, *parts: bytes, pause_seconds: float = 0.02) -> bytes:
        """Send each part in a packet of its own, half-close, and return all that comes back.

        A server that has refused the request may close the connection before all parts are sent.
        """
        with self.connect() as client:
            with suppress(BrokenPipeError, ConnectionResetError):
                for part in parts:
                    client.sendall(part)
                    time.sleep(pause_seconds)
                client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def connections(self) -> int:
        """How many connections the workers have, one of them ours."""
        text = self.ask("GET", "/metrics").body.decode()
        return sum(map(int, re.findall(r'scones_connections{worker="\d+"} (\d+)', text)))

    def connect(self) -> socket.socket:
        """Open a plain connection that fails rather than hangs."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


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
        process = subprocess.Popen([sys.executable, "-m", "scones.serving"], stderr=file, env=environment | variables)
    end = time.monotonic() + 60
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
    return server.process.wait(timeout=60)


Start = Callable[..., Server]


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes."""
    received = b""
    while data := client.recv(65536):
        received += data
    return received


def request(body: bytes, *extra: str) -> bytes:
    """Write an invocation as it goes over the wire."""
    head = ["POST /invocations HTTP/1.1", "Content-Type: application/x-image", f"Content-Length: {len(body)}", *extra]
    return "\r\n".join([*head, "", ""]).encode() + body


PING = b"GET /ping HTTP/1.1\r\n\r\n"
_RESPONSE = re.compile(
    rb"HTTP/1\.1 100 Continue\r\n\r\n"
    rb"|HTTP/1\.1 (?!100)(\d{3}) [A-Za-z -]+\r\n(?:[a-z-]+: [^\r\n]*\r\n)*?content-length: (\d+)\r\n"
    rb"(?:[a-z-]+: [^\r\n]*\r\n)*\r\n"
)


def statuses(received: bytes) -> list[int]:
    """The statuses of the final responses in *received*, which must be nothing but well-formed responses."""
    at = 0
    found = []
    while at < len(received):
        match = _RESPONSE.match(received, at)
        assert match, received[at : at + 200]
        at = match.end() + int(match[2] or 0)
        found += [int(match[1])] if match[1] else []
    assert at == len(received)
    return found
