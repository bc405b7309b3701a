"""One client's connection: bytes in, requests out, replies back in order; refuses what is too big or too slow."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast

import httptools

from scones.serving.messages import Reply, Request, encode, refusal
from scones.serving.options import Limits

Respond = Callable[[Reply], None]

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# Without an end, a refused client could keep us reading.
_LINGER_BYTES: Final = 64 * 1024 * 1024
_FIELDS: Final = {
    b"content-type": "content_type",
    b"accept": "accept",
    b"x-amzn-sagemaker-custom-attributes": "custom_attributes",
    b"expect": "expect",
}


class Application(Protocol):
    """What answers the requests."""

    def judge(self, request: Request) -> Reply | None:
        """Refuse a request by its head alone; None lets its body come."""

    def answer(self, request: Request, respond: Respond) -> None:
        """Answer a complete request, now or in a later tick."""

    def refused(self, reply: Reply) -> None:
        """Hear of a refusal that the connection itself made."""


@dataclass(slots=True, eq=False)
class _Slot:
    """A place in the order of replies; `wire` is None until the answer is there."""

    wire: bytes | None = None
    custom_attributes: bytes = b""
    keep_alive: bool = True
    old: bool = False
    head: bool = False


class Others:
    """What the connections of one worker share: who is there, and how much body has arrived for unanswered requests.

    *observe* is told the number of connections whenever it changes.
    """

    def __init__(self, observe: Callable[[int], None] = lambda _: None) -> None:
        self.connections: set[Connection] = set()
        self.body_bytes = 0
        self._observe = observe

    def join(self, connection: "Connection") -> int:
        """Add a connection; return how many there are now."""
        self.connections.add(connection)
        self._observe(len(self.connections))
        return len(self.connections)

    def leave(self, connection: "Connection") -> None:
        """Remove a connection."""
        self.connections.discard(connection)
        self._observe(len(self.connections))


class Connection(asyncio.Protocol):
    """Parses with httptools; the worker's sweep calls `expire` once `deadline` (in *clock*'s seconds) has passed."""

    def __init__(
        self,
        application: Application,
        limits: Limits,
        others: "Others",
        clock: Callable[[], float],
    ) -> None:
        self._application = application
        self._limits = limits
        self._others = others
        self._clock = clock
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._slots: deque[_Slot] = deque()
        self._request: Request | None = None
        self._in_body = False
        self._body: bytes | bytearray = b""
        self._body_bytes = 0
        self._wire_bytes = 0
        self._refusal: Reply | None = None
        self._ending = False
        self._deaf = False
        self._lingers = False
        self._stalled = False
        self.deadline = math.inf

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; one connection too many is told so and closed."""
        self._transport = cast("asyncio.Transport", transport)
        self.deadline = self._clock() + self._limits.idle_seconds
        if self._others.join(self) > self._limits.connections:
            self._cut(refusal(503, "too_many_connections", "the server has too many open connections; try again"))

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the client; answers under way are dropped."""
        self._others.leave(self)
        self._let_go()
        self._ending = self._deaf = True
        self._slots.clear()

    def data_received(self, data: bytes) -> None:
        """Parse what came; requests that it completes are answered."""
        self._wire_bytes += len(data)
        if self._deaf:
            if self._wire_bytes > _LINGER_BYTES:
                self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request itself was answered in HTTP/1.1, as the standard allows; what follows is another protocol.
            self._end_after_replies()
        except httptools.HttpParserCallbackError:
            # A mistake of ours, not the client's.
            self._cut(refusal(500, "internal_error", "the server failed on this request"))
            raise
        except httptools.HttpParserError:
            self._cut(refusal(400, "bad_request", "this is no valid HTTP/1.1 request"))
        if self._request is not None:
            self._check_wire()

    def eof_received(self) -> bool:
        """Answer what is complete before closing: the client may have closed its sending half only."""
        if self._request is not None:
            self._cut(refusal(400, "incomplete_request", "the connection ended before the request did"))
        self._lingers = False
        self._end_after_replies()
        return bool(self._slots)

    def pause_writing(self) -> None:
        """Stop listening to a client that does not read its answers."""
        self._stalled = True
        self.deadline = self._clock() + self._limits.idle_seconds
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Listen again."""
        self._stalled = False
        self.deadline = self._clock() + self._limits.idle_seconds
        self._transport.resume_reading()

    # What the worker calls.

    def expire(self) -> None:
        """Cut a client that took too long: with 408 in the middle of a request, silently otherwise."""
        if self._deaf or self._stalled:
            self._transport.abort()
        elif self._request is not None:
            self._cut(refusal(408, "too_slow", "the request took too long to arrive"))
        else:
            self._transport.close()

    def drain(self) -> None:
        """Finish the requests under way and close."""
        if self._request is None:
            self._end_after_replies()
        self._ending = True

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Start a request."""
        self._request = Request()
        self._in_body = False
        self._wire_bytes = 0
        self._refusal = None
        self.deadline = self._clock() + self._limits.head_seconds

    def on_url(self, url: bytes) -> None:
        """Collect the path, which may come in pieces."""
        if self._request is not None:
            self._request.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the few headers that matter; trailers after a chunked body do not."""
        field = _FIELDS.get(name.lower())
        if field is not None and self._request is not None and not self._in_body:
            setattr(self._request, field, value)
        elif self._request is not None and not self._in_body and name.lower() == b"content-length":
            self._request.content_length = int(value)

    def on_headers_complete(self) -> None:
        """Judge the request by its head, before its body is read."""
        request = self._request
        if request is None or self._deaf:
            return
        self._in_body = True
        self._wire_bytes = 0
        request.method = self._parser.get_method()
        self.deadline = self._clock() + self._limits.body_seconds
        expects = request.expect.lower() == b"100-continue"
        self._refusal = self._application.judge(request)
        if request.content_length > self._limits.body_bytes:
            self._cut(_too_large(self._limits))
        elif expects and self._refusal is not None:
            # Whether the body will come now is up to the client, so the connection cannot go on.
            self._cut(self._refusal)
        elif expects:
            self._slots.append(_Slot(_CONTINUE))
            self._flush()

    def on_body(self, data: bytes) -> None:
        """Collect the body up to the limit; that of a refused request is dropped."""
        if self._deaf or self._request is None:
            return
        self._body_bytes += len(data)
        self._others.body_bytes += len(data)
        if self._body_bytes > self._limits.body_bytes:
            self._cut(_too_large(self._limits))
        elif self._others.body_bytes > self._limits.bodies_bytes:
            self._cut(refusal(503, "overloaded", "too many large bodies are arriving; try again"))
        elif self._refusal is None:
            self._collect(data)

    def on_message_complete(self) -> None:
        """Hand the request over, or answer it with its refusal."""
        request, self._request = self._request, None
        if request is None or self._deaf:
            return
        self.deadline = math.inf
        request.body = bytes(self._body)
        self._let_go()
        slot = self._slot(request)
        if self._refusal is not None:
            self._application.refused(self._refusal)
            self._fill(slot, self._refusal)
        else:
            self._application.answer(request, lambda reply: self._fill(slot, reply))

    def _collect(self, data: bytes) -> None:
        # Most bodies come in one piece, which then need not be copied; many tiny ones must not cost an object each.
        if not self._body:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body) + data

    def _let_go(self) -> None:
        self._others.body_bytes -= self._body_bytes
        self._body_bytes = 0
        self._body = b""

    # Replies, in order.

    def _slot(self, request: Request) -> _Slot:
        slot = _Slot(
            custom_attributes=request.custom_attributes,
            keep_alive=self._parser.should_keep_alive() and not self._ending,
            old=self._parser.get_http_version() == "1.0",
            head=request.method == b"HEAD",
        )
        self._slots.append(slot)
        # After the last request nothing counts, were it even nonsense.
        self._deaf = not slot.keep_alive
        return slot

    def _fill(self, slot: _Slot, reply: Reply) -> None:
        slot.wire = encode(
            reply,
            custom_attributes=slot.custom_attributes,
            keep_alive=slot.keep_alive,
            old=slot.old,
            head=slot.head,
        )
        self._flush()

    def _flush(self) -> None:
        slots = self._slots
        while slots and (wire := slots[0].wire) is not None:
            slot = slots.popleft()
            self._transport.write(wire)
            if not slot.keep_alive:
                self._close()
                return
        if not slots and self._request is None:
            self.deadline = self._clock() + self._limits.idle_seconds

    # Endings.

    def _cut(self, reply: Reply) -> None:
        """Refuse, listen no more, and close once earlier requests are answered."""
        if self._deaf:
            return
        self._application.refused(reply)
        request = self._request or Request()
        self._request = None
        self._let_go()
        slot = _Slot(custom_attributes=request.custom_attributes, keep_alive=False, head=request.method == b"HEAD")
        self._deaf = self._lingers = True
        self._wire_bytes = 0
        self._slots.append(slot)
        self._fill(slot, reply)

    def _check_wire(self) -> None:
        """Bound what a request may cost on the wire: endless headers, or chunks that are mostly framing."""
        if not self._in_body:
            if self._wire_bytes > self._limits.head_bytes:
                self._cut(refusal(431, "headers_too_large", f"the headers exceed {self._limits.head_bytes:,} bytes"))
        elif self._wire_bytes > 2 * self._limits.body_bytes + self._limits.head_bytes:
            self._cut(_too_large(self._limits))

    def _end_after_replies(self) -> None:
        self._ending = self._deaf = True
        if self._slots:
            self._slots[-1].keep_alive = False
        else:
            self._transport.close()

    def _close(self) -> None:
        """Close; a client that may be sending still is let finish, or the reset would destroy the answer on its way."""
        self._slots.clear()
        self._deaf = True
        if self._transport.is_closing():
            return
        if self._lingers and len(self._others.connections) <= 2 * self._limits.connections:
            self._transport.write_eof()
            self.deadline = self._clock() + self._limits.linger_seconds
        else:
            self._transport.close()


def _too_large(limits: Limits) -> Reply:
    return refusal(413, "body_too_large", f"the body exceeds {limits.body_bytes:,} bytes")
