"""Responses: probabilities in the form that the client accepts, and refusals with their reason."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from scones.domain.errors import ServingError
from scones.domain.wire import JSON, Answer, ModelInfo, Rows, media_type, write_answers

__all__ = ["ATTRIBUTES", "CLOSE", "JSON", "ModelInfo", "Refusal", "Response", "media_type", "prediction"]

ATTRIBUTES: Final = b"x-amzn-sagemaker-custom-attributes"
"""The header that SageMaker returns to the client only if the container sends it back."""

Headers = Sequence[tuple[bytes, bytes]]


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


def prediction(
    accept: bytes, rows: Rows, model: ModelInfo, *, many: bool, explanations: Sequence[Answer] = ()
) -> Response:
    """Respond with the probabilities, one row per photo, in the form that *accept* asks for."""
    content_type, body = write_answers(accept, rows, model, many=many, explanations=explanations)
    return Response(200, body, content_type)
