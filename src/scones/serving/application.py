"""The application: SageMaker's two paths, /ping and /invocations, and /metrics."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from scones.model.inference import Answers, Model
from scones.serving.batching import Batcher
from scones.serving.connection import Respond
from scones.serving.counters import Row
from scones.serving.image_input import BadPhotos, is_supported, read_photos
from scones.serving.messages import Reply, Request, refusal
from scones.serving.options import Limits
from scones.serving.responses import About, answer

_METHODS: Final[Mapping[bytes, bytes]] = {b"/ping": b"GET", b"/invocations": b"POST", b"/metrics": b"GET"}
_MAX_ATTRIBUTES_BYTES: Final = 1024
_RETRY: Final = b"Retry-After: 1\r\n"


class Application:
    """Answers requests with *model*; *metrics* renders what /metrics shows."""

    def __init__(self, model: Model, batcher: Batcher, row: Row, limits: Limits, metrics: Callable[[], bytes]) -> None:
        self._model = model
        self._batcher = batcher
        self._row = row
        self._limits = limits
        self._metrics = metrics
        self._about = About(model.classes, model.version, model.unfamiliar_above)

    def judge(self, request: Request) -> Reply | None:
        """Refuse by path, method, content type and custom attributes, which need no body."""
        request.path = _path(request.path)
        allowed = _METHODS.get(request.path)
        if allowed is None:
            return refusal(404, "no_such_path", "the paths are /ping, /invocations and /metrics")
        if request.method != allowed:
            method = allowed.decode("ascii")
            reason = f"{request.path.decode('ascii')} takes {method} only"
            return refusal(405, "wrong_method", reason, extra=b"Allow: %b\r\n" % allowed)
        if request.path == b"/invocations" and not is_supported(request.content_type):
            return refusal(
                415, "wrong_content_type", "send a photo as application/x-image, or base64 in application/json"
            )
        if len(request.custom_attributes) > _MAX_ATTRIBUTES_BYTES:
            request.custom_attributes = b""
            return refusal(400, "bad_custom_attributes", f"custom attributes exceed {_MAX_ATTRIBUTES_BYTES} bytes")
        return None

    def refused(self, reply: Reply) -> None:
        """Count an answer that needed no work."""
        self._row.answered(reply.status)

    def answer(self, request: Request, respond: Respond) -> None:
        """Answer a request that `judge` let through."""
        if request.path == b"/ping":
            respond(Reply(200, b"{}"))
        elif request.path == b"/metrics":
            respond(Reply(200, self._metrics(), b"text/plain; version=0.0.4"))
        else:
            self._invoke(request, respond)

    def _invoke(self, request: Request, respond: Respond) -> None:
        start = time.perf_counter()

        def finish(reply: Reply) -> None:
            self._row.answered(reply.status)
            self._row.add("invocation_seconds", time.perf_counter() - start)
            respond(reply)

        try:
            photos, many = read_photos(request.content_type, request.body, self._model.size, self._limits)
        except BadPhotos as error:
            finish(refusal(error.status, error.error, error.reason))
            return

        def deliver(answers: Answers | None) -> None:
            if answers is None:
                finish(refusal(500, "model_failed", "the model failed on this photo"))
            else:
                finish(answer(request.accept, answers.tolist(), self._about, many=many))

        if not self._batcher.submit(photos, deliver):
            finish(refusal(503, "overloaded", "too many photos are waiting; try again", extra=_RETRY))


def _path(target: bytes) -> bytes:
    # Proxies may send the whole URL.
    if b"://" in target and not target.startswith(b"/"):
        target = b"/" + target.split(b"/", 3)[-1]
    return target.partition(b"?")[0]
