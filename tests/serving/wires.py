"""A connection on a fake wire, and what is sent over it."""

import asyncio
import re
from collections.abc import Callable

from scones.serving.connection import Connection, Others
from scones.serving.messages import Reply, Request, refusal
from scones.serving.options import Limits

LIMITS = Limits(body_bytes=1000, head_bytes=500, bodies_bytes=1500, connections=3)
PING = b"GET /ping HTTP/1.1\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = self.aborted = self.ended = self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep what is written; nothing may follow the end."""
        assert not self.closed
        assert not self.ended
        self.sent += data

    def write_eof(self) -> None:
        """Note the end."""
        self.ended = True

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def abort(self) -> None:
        """Note it."""
        self.aborted = self.closed = True

    def is_closing(self) -> bool:
        """Tell."""
        return self.closed

    def pause_reading(self) -> None:
        """Note it."""
        self.paused = True

    def resume_reading(self) -> None:
        """Note it."""
        self.paused = False


class Echo:
    """An application that answers with the body; posts to /later wait until `finish` is called."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.waiting: list[Callable[[], None]] = []
        self.refusals: list[int] = []

    def judge(self, request: Request) -> Reply | None:
        """Refuse one path."""
        return refusal(404, "no", "no such path") if request.path == b"/none" else None

    def answer(self, request: Request, respond: Callable[[Reply], None]) -> None:
        """Answer now, or keep for later."""
        self.requests.append(request)
        reply = Reply(200, request.body)
        if request.path == b"/later":
            self.waiting.append(lambda: respond(reply))
        else:
            respond(reply)

    def refused(self, reply: Reply) -> None:
        """Note the status."""
        self.refusals.append(reply.status)

    def finish(self, index: int) -> None:
        """Answer the request of that number."""
        self.waiting[index]()


class Client:
    """A connection on a fake wire, at a time that the test sets."""

    def __init__(self, limits: Limits = LIMITS, others: Others | None = None) -> None:
        self.now = 0.0
        self.wire = Wire()
        self.app = Echo()
        self.others = others or Others()
        self.connection = Connection(self.app, limits, self.others, lambda: self.now)
        self.connection.connection_made(self.wire)

    def send(self, data: bytes) -> "Client":
        """Deliver bytes, unless the server stopped listening."""
        if not self.wire.closed and not self.wire.paused:
            self.connection.data_received(data)
        return self

    def statuses(self) -> list[int]:
        """List the statuses of the answers so far."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", self.wire.sent)]


def post(body: bytes, path: bytes = b"/", extra: bytes = b"") -> bytes:
    """Write a request."""
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path, extra, len(body), body)


ANSWER = re.compile(
    rb"HTTP/1\.1 100 Continue\r\n\r\n"
    rb"|HTTP/1\.1 (?!100)\d{3} [A-Za-z -]+\r\n(?:[A-Za-z-]+: [^\r\n]*\r\n)*?Content-Length: (\d+)\r\n"
    rb"(?:[A-Za-z-]+: [^\r\n]*\r\n)*\r\n"
)


def count_answers(sent: bytes) -> int:
    """Count the final answers in *sent*, which must be nothing but well-formed answers."""
    at = count = 0
    while at < len(sent):
        match = ANSWER.match(sent, at)
        assert match, sent[at : at + 200]
        at = match.end() + int(match[1] or 0)
        count += match[1] is not None
    assert at == len(sent)
    return count
