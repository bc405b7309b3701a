"""Lambda's Runtime API for one worker, served by the very thread that invokes: no hand-over between threads.

The worker runs AWS's own runtime client. It asks for the next event; we leave that request unanswered until there is
an event, then read on the same connection until the response or the error is posted.
Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import selectors
import socket
import time
from dataclasses import dataclass

ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Posted:
    """One request of the worker's: `next`, `response`, `error` or `init`."""

    kind: str
    body: bytes
    connection: socket.socket


@dataclass(frozen=True, slots=True)
class Event:
    """What the worker is given: *deadline* is in seconds since the epoch."""

    request_id: str
    body: bytes
    deadline: float
    function_arn: str

    def reply(self) -> bytes:
        """The HTTP answer to `next`."""
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {self.request_id}\r\n"
            f"Lambda-Runtime-Deadline-Ms: {int(self.deadline * 1000)}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {self.function_arn}\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


class WorkerSilent(Exception):
    """The worker did not speak before the deadline."""


class WorkerGone(Exception):
    """The worker hung up."""


class RuntimeApi:
    """A listening socket of the worker's own, and the connections that it made."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._buffers: dict[socket.socket, bytearray] = {}
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def receive(self, deadline: float) -> Posted | None:
        """The worker's next request; None after a short while without one.

        Raises:
            WorkerSilent: *deadline* (seconds since the epoch) has passed.
            WorkerGone: the worker closed a connection in the middle of an exchange.
        """
        left = deadline - time.time()
        if left <= 0:
            raise WorkerSilent
        for key, _ in self._selector.select(min(left, TICK_SECONDS)):
            if key.fileobj is self._listener:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(connection, selectors.EVENT_READ)
                self._buffers[connection] = bytearray()
            elif isinstance(key.fileobj, socket.socket) and (posted := self._read(key.fileobj)):
                return posted
        return None

    def close(self) -> None:
        """Hang up."""
        for connection in (*self._buffers, self._listener):
            connection.close()
        self._selector.close()

    def _read(self, connection: socket.socket) -> Posted | None:
        buffer = self._buffers[connection]
        try:
            chunk = connection.recv(1 << 20)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._selector.unregister(connection)
            del self._buffers[connection]
            connection.close()
            raise WorkerGone
        buffer += chunk
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        request, *fields = bytes(buffer[:end]).split(b"\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (f.partition(b":") for f in fields)}
        if headers.get(b"expect", b"").lower() == b"100-continue" and len(buffer) == end + 4:
            connection.sendall(CONTINUE)
        body = _whole_body(buffer, end + 4, headers)
        if body is None:
            return None
        buffer.clear()
        return Posted(_kind(request.split(b" ")[1].decode()), body, connection)


def _whole_body(buffer: bytearray, start: int, headers: dict[bytes, bytes]) -> bytes | None:
    """The body, or None while part of it is missing."""
    if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        end = start + int(headers.get(b"content-length", b"0"))
        return bytes(buffer[start:end]) if len(buffer) >= end else None
    parts: list[bytes] = []
    while (line := buffer.find(b"\r\n", start)) >= 0:
        size = int(bytes(buffer[start:line]).partition(b";")[0], 16)
        begin, start = line + 2, line + 2 + size + 2
        if len(buffer) < start:
            return None
        if size == 0:
            return b"".join(parts)
        parts.append(bytes(buffer[begin : begin + size]))
    return None


def _kind(path: str) -> str:
    if path.endswith("/init/error"):
        return "init"
    return path.rsplit("/", 1)[-1]
