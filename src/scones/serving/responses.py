"""Responses: probabilities in the form that the client accepts, and refusals with their reason."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from scones.domain.decision import decide
from scones.domain.errors import ServingError

JSON: Final = b"application/json"
JSON_LINES: Final = b"application/jsonlines"
ATTRIBUTES: Final = b"x-amzn-sagemaker-custom-attributes"
"""The header that SageMaker returns to the client only if the container sends it back."""

Headers = Sequence[tuple[bytes, bytes]]
Rows = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response; *headers* are those beyond its content's type and length."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: Headers = ()

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Return every header, in the form that ASGI sends."""
        length = b"%d" % len(self.body)
        return [(b"content-type", self.content_type), (b"content-length", length), *self.headers]

    def to_wire(self, further: Headers) -> bytes:
        """Write the response, the last one on its connection, as HTTP/1.1."""
        line = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n".encode("ascii")
        headers = [*self.all_headers(), *further, CLOSE]
        return line + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n" + self.body


CLOSE: Final = (b"connection", b"close")


class Refusal(ServingError):
    """A request that gets no prediction: *error* is a short name for programs, *reason* a sentence for people.

    With *close* the connection ends after it.
    """

    def __init__(self, status: int, error: str, reason: str, *, headers: Headers = (), close: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.error = error
        self.reason = reason
        self.headers = headers
        self.close = close

    def response(self) -> Response:
        """Return the response that says so."""
        body = json.dumps({"error": self.error, "reason": self.reason}).encode("utf-8")
        return Response(self.status, body, headers=self.headers)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What responses say of the model; *unfamiliar_above* is None for a model without a guard."""

    classes: Sequence[str]
    version: str
    unfamiliar_above: float | None


def prediction(accept: bytes, rows: Rows, model: ModelInfo, *, many: bool) -> Response:
    """Write the probabilities, one row per photo, as *accept* asks; plain JSON if it asks for anything unknown.

    A row's last number, if the model has a guard, is the photo's unfamiliarity; only verbose responses include it.
    SageMaker's built-in classifier responds with a plain list too, so its clients work unchanged.
    """
    count = len(model.classes)
    plain = [row[:count] for row in rows]
    if accept in _PLAIN:
        return Response(200, _plain(plain, many=many))
    if media_type(accept) == JSON_LINES:
        lines = b"".join(b'{"prediction": %b}\n' % _numbers(row) for row in plain)
        return Response(200, lines, JSON_LINES)
    if b"verbose" in accept.lower() and b"verbose=false" not in accept.lower():
        found = [dict(_explain(row, model)) for row in rows]
        return Response(200, json.dumps(found if many else found[0]).encode("utf-8"))
    return Response(200, _plain(plain, many=many))


def media_type(header: bytes) -> bytes:
    """Return a header's media type in lower case, without its parameters."""
    return header.partition(b";")[0].strip().lower()


_PLAIN: Final = frozenset((b"", b"*/*", JSON))


def _plain(rows: Rows, *, many: bool) -> bytes:
    return b"[%b]" % b", ".join(map(_numbers, rows)) if many else _numbers(rows[0])


def _numbers(row: Sequence[float]) -> bytes:
    # Nine digits give a float32 back exactly.
    return b"[%b]" % b", ".join([b"%.9g" % probability for probability in row])


def _explain(row: Sequence[float], model: ModelInfo) -> Iterator[tuple[str, object]]:
    probabilities = row[: len(model.classes)]
    decision = decide(probabilities, model.classes)
    yield "label", decision.label
    yield "confidence", _short(decision.confidence)
    yield "probabilities", [_short(probability) for probability in probabilities]
    yield "classes", list(model.classes)
    yield "model_version", model.version
    if model.unfamiliar_above is not None:
        yield "unfamiliarity", _short(row[-1])
        yield "unfamiliar", row[-1] > model.unfamiliar_above


def _short(probability: float) -> float:
    return float(f"{probability:.9g}")
