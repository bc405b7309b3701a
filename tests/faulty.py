"""A server before another one, which fails as it is told to, and otherwise passes on what it is asked."""

import http.client
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Literal

from access_keys import sign_again

Kind = Literal["status", "hang", "reset", "lost", "cut"]


@dataclass(frozen=True)
class Fault:
    """One request's fate: a *status* with a body, no answer, a reset connection, or one of these after the work.

    `lost` passes the request on and resets the connection before the answer; `cut` sends half of the answer.
    With an *operation* it waits for the first request of that name, and lets all others pass.
    """

    kind: Kind
    status: int = 500
    body: bytes = b"{}"
    seconds: float = 0.0
    operation: str = ""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Request:
    """One request on its way: its *operation*, as AWS calls it, or else its method and path, and its protocol."""

    operation: str
    speaks_json: bool

    @property
    def changes(self) -> bool:
        """Whether it may change resources."""
        return not self.operation.startswith(("Describe", "Get", "List", "BatchGet", "Query", "Scan", "GET ", "HEAD "))


Decide = Callable[[Request], Fault | None]
"""Gives a request its fate: None passes it on as it is."""


@dataclass
class Faulty:
    """The server under way: its address, the faults to come, and how many requests it has seen."""

    url: str
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    decide: Decide | None = None
    seen: int = 0

    def next(self, request: Request) -> Fault | None:
        """The fate of the next request; a fault that names an operation waits for it."""
        self.seen += 1
        if self.decide:
            return self.decide(request)
        if self.always or not self.faults:
            return self.always
        return self.faults.popleft() if request.operation.endswith(self.faults[0].operation) else None


@contextmanager
def before(
    port: int, faults: Sequence[Fault] = (), always: Fault | None = None, decide: Decide | None = None
) -> Iterator[Faulty]:
    """Stand before the server on *port* of this machine.

    The first requests meet *faults*, or all of them *always*, or each what *decide* says.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        faulty: ClassVar[Faulty]

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            fault = self.faulty.next(Request(_operation(self, body), "x-amz-target" in self.headers))
            if fault is None or fault.kind in ("lost", "cut"):
                status, headers, answer = self._ask(body)
            else:
                status, headers, answer = (
                    fault.status,
                    [("Content-Type", fault.content_type), *fault.headers],
                    fault.body,
                )
            if fault and fault.kind == "hang":
                time.sleep(fault.seconds)
            if fault and fault.kind in ("hang", "reset", "lost"):
                self._reset()
                return
            self.send_response_only(status)
            for name, value in ({"Date": self.date_time_string()} | dict(headers)).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if fault and fault.kind == "cut":
                self.wfile.write(answer[: len(answer) // 2])
                self._reset()
                return
            self.wfile.write(b"" if self.command == "HEAD" else answer)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

        def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request(
                self.command, self.path, body, sign_again(self.command, self.path, dict(self.headers), body, port)
            )
            reply = connection.getresponse()
            kept = [
                (name, value)
                for name, value in reply.getheaders()
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server")
            ]
            answer = reply.read()
            connection.close()
            return reply.status, kept, answer

        def _reset(self) -> None:
            # With a lingering time of nothing, closing sends a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Handler.faulty = Faulty(f"http://127.0.0.1:{server.server_address[1]}", deque(faults), always, decide)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Handler.faulty
    finally:
        server.shutdown()
        server.server_close()


def _operation(asked: BaseHTTPRequestHandler, body: bytes) -> str:
    """What AWS calls a request: JSON protocols say it in a header, queries in the body, the newest one in the path."""
    target = asked.headers.get("x-amz-target", "").rpartition(".")[2]
    query = re.search(rb"(?:^|&)Action=(\w+)", body)
    path = re.search(r"/operation/(\w+)$", asked.path)
    return target or (query[1].decode() if query else "") or (path[1] if path else f"{asked.command} {asked.path}")
