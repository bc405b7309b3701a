"""uvicorn's HTTP protocol with limits: on connections, heads, framing, and the time that each takes."""

import asyncio
import math
from typing import Any, Final, cast

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from scones.serving.app import App, body_too_large
from scones.serving.responses import ATTRIBUTES, Refusal

# Without an end, a refused client could keep us reading.
_LINGER_BYTES: Final = 64 * 1024 * 1024
# Chunks of less than a hundred bytes each are mostly framing, whose parsing costs more than their bytes do.
_FRAMING_SHARE: Final = 16
# Requests that wait for others on their connection take a hundred times the memory of their bytes.
_PIECE_BYTES: Final = 16 * 1024
_NOTHING: Final = memoryview(b"")


class LimitedProtocol(HttpToolsProtocol):
    """One client's connection: refuses what uvicorn alone would wait for or keep in memory without limit.

    A refusal in the middle of a request reaches the client: the connection lingers, half closed, until the client has
    stopped sending, for closing it at once would destroy the response on its way.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._application = cast("App", config.app)
        self._limits = self._application.limits
        self._wire: asyncio.Transport
        self._responses: _ResponseTransport
        self.unparsed = _NOTHING
        self._wire_bytes = 0
        self._body_bytes = 0
        self._receiving = False
        self._in_body = False
        self._at_eof = False
        self._draining = False
        self._stalled = False
        self._discarding = False
        self._last_refusal: Refusal | None = None
        self.lingering = False
        self.deadline = math.inf

    # What the event loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; one connection too many is refused."""
        self._wire = transport
        self._responses = _ResponseTransport(transport, self)
        super().connection_made(cast("asyncio.Transport", self._responses))
        self._application.connections.add(self)
        self._application.counters.set("connections", len(self.connections))
        self.deadline = self.loop.time() + self._limits.idle_seconds
        if len(self.connections) > self._limits.connections:
            reason = "the server has too many open connections; try again"
            self._refuse(Refusal(503, "too_many_connections", reason))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; responses that are not sent yet are dropped."""
        self._discarding = True
        self._receiving = False
        super().connection_lost(exc)
        # uvicorn leaves its timer running where the client reset the connection, and so keeps all of this in memory.
        self._unset_keepalive_if_required()
        self._application.connections.discard(self)
        self._application.counters.set("connections", len(self.connections))

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless a refusal has ended the connection."""
        if self._discarding:
            self._wire_bytes += len(data)
            if self._wire_bytes > _LINGER_BYTES:
                self._wire.abort()
            return
        self.unparsed = memoryview(bytes(self.unparsed) + data if self.unparsed else data)
        self._parse()

    def _parse(self) -> None:
        """Parse piece by piece, and no further while complete requests wait for an earlier one's response."""
        while self.unparsed and not self.pipeline and not self._discarding:
            piece, self.unparsed = self.unparsed[:_PIECE_BYTES], self.unparsed[_PIECE_BYTES:]
            self._wire_bytes += len(piece)
            super().data_received(cast("bytes", piece))
            self._check_wire_bytes()
        if self._discarding:
            self.unparsed = _NOTHING
        elif self.unparsed:
            self._wire.pause_reading()

    def _check_wire_bytes(self) -> None:
        limits = self._limits
        if self._receiving and not self._in_body and self._wire_bytes > limits.head_bytes:
            self._refuse(Refusal(431, "headers_too_large", f"the headers exceed {limits.head_bytes:,} bytes"))
        elif self._receiving and self._wire_bytes > 2 * limits.body_bytes + limits.head_bytes:
            # The body of a request that is refused already.
            self._refuse(body_too_large(limits))
        elif self._receiving and self._in_body and self._framing_bytes() > limits.head_bytes:
            reason = f"the body has more than {limits.head_bytes:,} bytes of framing; send larger chunks"
            self._refuse(Refusal(413, "body_too_large", reason, close=True))

    def _framing_bytes(self) -> int:
        """The bytes of chunks' sizes, extensions and trailers, less those that go with chunks of a usual size."""
        return self._wire_bytes - self._body_bytes - self._body_bytes // _FRAMING_SHARE

    def eof_received(self) -> bool:  # type: ignore[override]
        """Respond to complete requests before closing: the client may have closed its sending half only."""
        self._at_eof = True
        if self._receiving:
            self._refuse(Refusal(400, "incomplete_request", "the connection ended before the request did", close=True))
        elif self._is_responding():
            self.cycle.keep_alive = False
        return self._is_responding()

    def pause_writing(self) -> None:
        """Give a client that does not read its responses a limited time."""
        super().pause_writing()
        self._stalled = True
        self.deadline = self.loop.time() + self._limits.idle_seconds

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._stalled = False
        if self._receiving:
            self.deadline = self.loop.time() + self._limits.head_seconds
        else:
            self._wait()

    # What uvicorn calls.

    def shutdown(self) -> None:
        """Finish the requests under way, and close."""
        self._draining = True
        if self.lingering:
            self._wire.close()
        elif self._in_body or not self._receiving:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn names it
        """Refuse what is no HTTP."""
        self._refuse(Refusal(400, "bad_request", "this is no valid HTTP/1.1 request", close=True))

    def on_message_begin(self) -> None:
        """Start a request, which must arrive in time."""
        super().on_message_begin()
        if self._discarding:
            return
        self._receiving = True
        self._in_body = False
        self._wire_bytes = 0
        self.deadline = self.loop.time() + self._limits.head_seconds

    def on_headers_complete(self) -> None:
        """Start to respond; uvicorn calls the app in the loop's next tick."""
        if self._discarding:
            return
        super().on_headers_complete()
        # Trailers after a chunked body are no headers.
        self.headers = []
        self._in_body = True
        self._wire_bytes = self._body_bytes = 0
        self.deadline = self.loop.time() + self._limits.body_seconds
        if self.scope["http_version"] == "1.0":
            self.cycle.keep_alive = self.parser.should_keep_alive()
        if self._draining or self.parser.should_upgrade():
            # An upgrade is not offered: the request gets its response in HTTP/1.1, and what follows is not HTTP.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        if not self._discarding:
            self._body_bytes += len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request; nothing may follow one that ends the connection."""
        if self._discarding:
            return
        super().on_message_complete()
        self._receiving = False
        self._discarding = not self.cycle.keep_alive
        self._wait()

    def on_response_complete(self) -> None:
        """Go on with the next request, or end as earlier decided."""
        self._responses.flush()
        super().on_response_complete()
        if self.unparsed and not self.pipeline:
            self._parse()
            if not self.flow.read_paused:
                self.transport.resume_reading()
        if self._is_responding() or self.transport.is_closing():
            return
        if self._last_refusal is not None:
            self._send_refusal(self._last_refusal)
        elif self._discarding:
            # The app responded without the body that the connection has given up on.
            self._linger()
        elif self._receiving:
            self.deadline = max(self.deadline, self.loop.time() + self._limits.head_seconds)
        else:
            self._wait()

    # What the app's sweep calls.

    def expire(self) -> None:
        """End what took too long: 408 in the middle of a request, silently otherwise."""
        if self._discarding or self._stalled:
            self._wire.abort()
        elif self._receiving and (self.unparsed or self.flow.read_paused):
            # The rest of the request waits for us, not for the client.
            self.deadline = self.loop.time() + self._limits.head_seconds
        elif self._receiving:
            self._refuse(Refusal(408, "too_slow", "the request took too long to arrive", close=True))
        else:
            self._wire.close()

    # Endings.

    def close(self, *, after_response: bool) -> None:
        """Close; a client that does not expect it first stops sending, and reads its response."""
        if self._receiving or (after_response and not self._discarding and not self._draining):
            self._linger()
        else:
            self._wire.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Listen no more, and close with *refusal* once earlier requests have their responses."""
        if self._discarding:
            return
        self._discarding = True
        if not self._stalled:
            self.deadline = math.inf
        if self._receiving and self._in_body and self.cycle.response_complete:
            self._linger()
        elif self._receiving and self._in_body:
            # The app waits for this body, and responds in the right order.
            self.scope["state"]["refusal"] = refusal
            self.cycle.message_event.set()
        elif not self._is_responding():
            self._send_refusal(refusal)
        elif self.cycle.keep_alive:
            self._last_refusal = refusal

    def _send_refusal(self, refusal: Refusal) -> None:
        self._application.counters.count_response(refusal.status)
        headers = self.headers if self._receiving else []
        self._wire.write(refusal.response().to_wire([header for header in headers if header[0] == ATTRIBUTES]))
        self._linger()

    def _linger(self) -> None:
        self._discarding = True
        if self._at_eof or self.lingering or len(self.connections) > 2 * self._limits.connections:
            self._wire.close()
        elif not self._wire.is_closing():
            self.lingering = True
            self._wire.write_eof()
            self._wire.resume_reading()
            self.deadline = self.loop.time() + self._limits.linger_seconds

    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        if not self._stalled:
            self.deadline = math.inf if self._is_responding() else self.loop.time() + self._limits.idle_seconds


class _ResponseTransport:
    """The transport that uvicorn sees: sends a response in one piece, and leaves closing to the protocol."""

    def __init__(self, wire: asyncio.Transport, protocol: LimitedProtocol) -> None:
        self._wire = wire
        self._protocol = protocol
        self._held: list[bytes] = []
        self.get_extra_info = wire.get_extra_info
        self.pause_reading = wire.pause_reading

    def resume_reading(self) -> None:
        """Read on, unless there is enough to do."""
        if not self._protocol.unparsed:
            self._wire.resume_reading()

    def write(self, data: bytes) -> None:
        """Hold a part of a response until all of it is there: one packet in place of two."""
        if data.startswith(b"HTTP/1.1 100 "):
            self._wire.write(data)
        else:
            self._held.append(data)

    def flush(self) -> None:
        """Send what is held, unless the client has gone."""
        if self._held and not self._wire.is_closing():
            self._wire.write(b"".join(self._held))
        self._held.clear()

    def close(self) -> None:
        """Send what is held, and close in the protocol's way."""
        after_response = bool(self._held)
        self.flush()
        self._protocol.close(after_response=after_response)

    def is_closing(self) -> bool:
        """Tell whether nothing may be written any more."""
        return self._protocol.lingering or self._wire.is_closing()
