"""The ASGI app: SageMaker's two paths, /ping and /invocations, and /metrics."""

import asyncio
import faulthandler
import logging
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from scones.domain.wire import wants_explanation
from scones.model.explanations import Explanation
from scones.model.inference import Answers, Model, Pixels
from scones.serving.batching import Batcher
from scones.serving.image_input import decode_photos, is_supported, read_headers
from scones.serving.metrics import WorkerCounters, render
from scones.serving.options import Limits
from scones.serving.responses import ATTRIBUTES, CLOSE, ModelInfo, Refusal, Response, prediction

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_T = TypeVar("_T")

_METHODS: Final[Mapping[str, str]] = {"/ping": "GET", "/invocations": "POST", "/metrics": "GET"}
_PING: Final = Response(200, b"{}")
_KEEP_ALIVE: Final = (b"connection", b"keep-alive")
_MAX_ATTRIBUTES_BYTES: Final = 1024
_SWEEP_SECONDS: Final = 0.25
# Up to these, reading and decoding take a few milliseconds, and giving the work to a thread would take a part of that.
_INLINE_BYTES: Final = 64 * 1024
_INLINE_PIXELS: Final = 400_000
_SLOW_PIXELS: Final = 4_000_000
"""A request of more `decoding_pixels` than this may take a tenth of a second."""
_MAX_WAITING: Final = 16
"""So many requests of the most pixels may wait for a thread: some seconds of work."""


class TimedConnection(Protocol):
    """A connection that ends when its time is up."""

    deadline: float

    def expire(self) -> None:
        """End the connection, or the request that it has not received in time."""


class App:
    """Responds to one worker's requests with *model*, and counts in its own set of *counters*."""

    def __init__(self, model: Model, counters: Sequence[WorkerCounters], worker: int, limits: Limits) -> None:
        self.limits = limits
        self.counters = counters[worker]
        self.connections: set[TimedConnection] = set()
        self._all_counters = counters
        self._waiting_pixels = 0
        self._explaining = 0
        self._model = model
        self._facts = ModelInfo(model.classes, model.version, model.unfamiliar_above)
        self.arriving_bytes = 0
        """Of bodies that are arriving, or that wait for a thread."""
        self._batcher: Batcher
        # One request of huge photos after another, so that few are in memory, while others have a thread of their own.
        self._thread: ThreadPoolExecutor
        self._slow_thread: ThreadPoolExecutor
        self._loop: asyncio.AbstractEventLoop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request, as ASGI asks; or live as long as the worker does."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        headers = dict(scope["headers"])
        refused = close = False
        try:
            response = await self._respond(scope, headers, receive)
        except Refusal as refusal:
            # The exception itself must not outlive this block: its traceback holds the request's body.
            refused, close, response = True, refusal.close, refusal.response()
        except Exception:  # noqa: BLE001 - whatever it is, the client gets a response
            _log.exception("a request failed")
            response = Refusal(500, "internal_error", "the server failed on this request").response()
        if response is None:
            return
        if refused or scope["path"] == "/invocations":
            self.counters.count_response(response.status)
        sent = response.all_headers()
        if 0 < len(headers.get(ATTRIBUTES, b"")) <= _MAX_ATTRIBUTES_BYTES:
            sent.append((ATTRIBUTES, headers[ATTRIBUTES]))
        if close:
            sent.append(CLOSE)
        elif scope["http_version"] == "1.0" and headers.get(b"connection", b"").lower() == b"keep-alive":
            sent.append(_KEEP_ALIVE)
        await send({"type": "http.response.start", "status": response.status, "headers": sent})
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Response | None:
        path = scope["path"]
        self._check_head(path, scope["method"], headers)
        if path == "/ping":
            return _PING
        if path == "/metrics":
            return Response(200, render(self._all_counters), b"text/plain; version=0.0.4")
        body = await self._read_body(scope, receive)
        return None if body is None else await self._invoke(headers, body)

    def _check_head(self, path: str, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Refuse what needs no body to be refused."""
        if int(headers.get(b"content-length", 0)) > self.limits.body_bytes:
            raise body_too_large(self.limits)
        # Whether a body that waits for 100 Continue will come now is up to the client.
        close = b"expect" in headers
        allowed = _METHODS.get(path)
        if allowed is None:
            raise Refusal(404, "no_such_path", "the paths are /ping, /invocations and /metrics", close=close)
        if method != allowed:
            allow = ((b"allow", allowed.encode("ascii")),)
            raise Refusal(405, "wrong_method", f"{path} takes {allowed} only", headers=allow, close=close)
        if path == "/invocations" and not is_supported(headers.get(b"content-type", b"")):
            reason = "send a photo as application/x-image, or base64 in application/json"
            raise Refusal(415, "wrong_content_type", reason, close=close)
        if len(headers.get(ATTRIBUTES, b"")) > _MAX_ATTRIBUTES_BYTES:
            reason = f"custom attributes exceed {_MAX_ATTRIBUTES_BYTES} bytes"
            raise Refusal(400, "bad_custom_attributes", reason, close=close)

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the whole body; None if the client has gone."""
        message = await receive()
        body = bytearray()
        arrived = 0
        try:
            while message["type"] == "http.request":
                part = message["body"]
                if len(body) + len(part) > self.limits.body_bytes:
                    raise body_too_large(self.limits)
                if not message["more_body"] and not body:
                    # Most bodies come in one piece, which then need not be copied.
                    return part  # type: ignore[no-any-return]
                body += part
                if not message["more_body"]:
                    return bytes(body)
                arrived += len(part)
                self.arriving_bytes += len(part)
                if self.arriving_bytes > self.limits.bodies_bytes:
                    raise Refusal(503, "overloaded", "too many large bodies are arriving; try again", close=True)
                if "refusal" in scope["state"]:
                    # The connection has given up on this body.
                    raise scope["state"].pop("refusal")
                message = await receive()
        finally:
            self.arriving_bytes -= arrived
        return None

    async def _invoke(self, headers: Mapping[bytes, bytes], body: bytes) -> Response:
        start = time.perf_counter()
        try:
            photos, many = await self._read_photos(headers.get(b"content-type", b""), body)
            accept = headers.get(b"accept", b"")
            if wants_explanation(accept):
                return await self._explain(accept, photos, many=many)
            rows = await self._predict(photos)
            return prediction(accept, rows.tolist(), self._facts, many=many)
        finally:
            self.counters.add("invocation_seconds", time.perf_counter() - start)

    async def _read_photos(self, kind: bytes, body: bytes) -> tuple[Sequence[Pixels], bool]:
        """Decode the photos in *body*, in a thread if that takes long: decoders release Python's lock."""
        read = partial(read_headers, kind, body, self.limits)
        inline = len(body) <= _INLINE_BYTES
        with self._waiting(0 if inline else len(body), 0):
            headers, many = read() if inline else await self._loop.run_in_executor(self._thread, read)
            pixels = sum(header.decoding_pixels for header in headers)
            decode = partial(decode_photos, headers, self._model.size, many=many)
            if inline and pixels <= _INLINE_PIXELS:
                return decode(), many
            with self._waiting(0, pixels):
                thread = self._slow_thread if pixels > _SLOW_PIXELS else self._thread
                return await self._loop.run_in_executor(thread, decode), many

    @contextmanager
    def _waiting(self, size: int, pixels: int) -> Iterator[None]:
        """Count what waits for a thread, in bytes and pixels; if that is too much, the request is refused."""
        self.arriving_bytes += size
        self._waiting_pixels += pixels
        try:
            if (size and self.arriving_bytes > self.limits.bodies_bytes) or self._waiting_pixels > max(
                pixels, _MAX_WAITING * self.limits.pixels
            ):
                raise overloaded("too many large photos are waiting; try again")
            yield
        finally:
            self.arriving_bytes -= size
            self._waiting_pixels -= pixels

    async def _predict(self, photos: Sequence[Pixels]) -> Answers:
        future: asyncio.Future[Answers | None] = self._loop.create_future()
        if not self._batcher.submit(photos, partial(_deliver, future)):
            raise overloaded("too many photos are waiting; try again")
        answers = await future
        if answers is None:
            raise Refusal(500, "model_failed", "the model failed on this photo")
        return answers

    async def _explain(self, accept: bytes, photos: Sequence[Pixels], *, many: bool) -> Response:
        """Respond with explanations; the model runs in a thread, so that requests that only predict need not wait."""

        def run() -> tuple[Answers, list[Explanation]]:
            start = time.perf_counter()
            found = self._model.explain(np.stack(photos))
            self._observe(time.perf_counter() - start, len(photos))
            return found

        self._explaining += len(photos)
        try:
            if self._explaining > max(len(photos), self.limits.queue):
                raise overloaded("too many photos are waiting for explanations; try again")
            rows, found = await self._loop.run_in_executor(self._slow_thread, run)
        finally:
            self._explaining -= len(photos)
        explanations = [explanation.to_json() for explanation in found]
        return prediction(accept, rows.tolist(), self._facts, many=many, explanations=explanations)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._loop = asyncio.get_running_loop()
        faulthandler.dump_traceback_later(self.limits.hang_seconds, exit=True)
        if (parent := multiprocessing.parent_process()) is not None:
            # An orphan would keep the port; there is nothing to clean up, so it goes at once.
            self._loop.add_reader(parent.sentinel, os._exit, 0)
        self._model.warm(self.limits.batch)
        self._batcher = Batcher(
            self._model.answer, self._loop.call_soon, self._observe, batch=self.limits.batch, queue=self.limits.queue
        )
        self._thread, self._slow_thread = (ThreadPoolExecutor(1, name) for name in ("decode", "decode-slow"))
        self.counters.set("connections", 0)
        sweep = self._loop.create_task(self._sweep())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        sweep.cancel()
        for thread in (self._thread, self._slow_thread):
            thread.shutdown(wait=False, cancel_futures=True)
        faulthandler.cancel_dump_traceback_later()
        await send({"type": "lifespan.shutdown.complete"})

    async def _sweep(self) -> None:
        """End connections whose time is up; one timer for all is cheaper than one each.

        If the loop hangs, even inside the model, so that no sweep comes, the process prints its stack and ends.
        """
        while True:
            faulthandler.dump_traceback_later(self.limits.hang_seconds, exit=True)
            now = self._loop.time()
            for connection in [each for each in self.connections if each.deadline < now]:
                connection.expire()
            await asyncio.sleep(_SWEEP_SECONDS)

    def _observe(self, seconds: float, photos: int) -> None:
        self.counters.add("batches")
        self.counters.add("photos", photos)
        self.counters.add("model_seconds", seconds)


def body_too_large(limits: Limits) -> Refusal:
    """Return the refusal of a body over the limit."""
    return Refusal(413, "body_too_large", f"the body exceeds {limits.body_bytes:,} bytes", close=True)


def overloaded(reason: str) -> Refusal:
    """Return the refusal of a request for which there is no room now."""
    return Refusal(503, "overloaded", reason, headers=((b"retry-after", b"1"),))


def _deliver(future: "asyncio.Future[Answers | None]", answers: Answers | None) -> None:
    # The request may have been cancelled meanwhile.
    if not future.done():
        future.set_result(answers)
