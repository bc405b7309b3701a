"""HTTP messages: what a connection hands to the application, and what it gets back."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

JSON: Final = b"application/json"

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
}


@dataclass(slots=True)
class Request:
    """One request; header values are as they came, and empty where absent."""

    method: bytes = b""
    path: bytes = b""
    content_type: bytes = b""
    accept: bytes = b""
    custom_attributes: bytes = b""
    expect: bytes = b""
    content_length: int = 0
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `extra` are further header lines."""

    status: int
    body: bytes
    content_type: bytes = JSON
    extra: bytes = b""


def refusal(status: int, error: str, reason: str, *, extra: bytes = b"") -> Reply:
    """Say no, and why: `error` is for programs, `reason` for people."""
    body = json.dumps({"error": error, "reason": reason}).encode("utf-8")
    return Reply(status, body, extra=extra)


def encode(reply: Reply, *, custom_attributes: bytes, keep_alive: bool, old: bool, head: bool) -> bytes:
    """Put *reply* on the wire; *old* is for clients of HTTP/1.0, and *head* leaves the body out.

    SageMaker returns the client's custom attributes only if the container sends them back.
    """
    parts = [
        _STATUS_LINES[reply.status],
        b"Content-Type: %b\r\nContent-Length: %d\r\n" % (reply.content_type, len(reply.body)),
        reply.extra,
    ]
    if custom_attributes:
        parts.append(b"X-Amzn-SageMaker-Custom-Attributes: %b\r\n" % custom_attributes)
    if not keep_alive:
        parts.append(b"Connection: close\r\n")
    elif old:
        parts.append(b"Connection: keep-alive\r\n")
    parts.append(b"\r\n" if head else b"\r\n" + reply.body)
    return b"".join(parts)
