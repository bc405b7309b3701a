"""What the environment asks of the server."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from scones.domain.errors import ServingError

_PREFIX = "SCONES_SERVE_"
_N = TypeVar("_N", int, float)


class BadOption(ServingError):
    """An environment variable holds a value that the server cannot use."""

    def __init__(self, name: str, value: str, wanted: str) -> None:
        super().__init__(f"{name}={value!r} cannot be used: it must be {wanted}")
        self.name = name
        self.value = value


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker puts up with; `SCONES_SERVE_<NAME>` sets each."""

    body_bytes: int = 6 * 1024 * 1024
    """The largest body; SageMaker itself stops at about this size."""
    head_bytes: int = 32 * 1024
    """The largest request line and headers together."""
    bodies_bytes: int = 128 * 1024 * 1024
    """The most that bodies still arriving may hold together; beyond it requests are answered with 503."""
    pixels: int = 12_000_000
    """The most pixels to decode in one request: 12 million take less than half a second.

    Those of a JPEG count a quarter, for it is decoded at a reduced scale; of a progressive JPEG all count, and more
    with its scans. Sixteen bits, alpha and WebP count more than a plain PNG (`Header.decoding_pixels`).
    """
    photos: int = 64
    """The most photos in one request."""
    batch: int = 4
    """The most photos that go through the model at once."""
    queue: int = 1024
    """The most photos that may wait for the model; further requests are answered with 503."""
    connections: int = 1024
    """The most open connections; further ones are answered with 503 and closed."""
    head_seconds: float = 5.0
    """The time for a request line and its headers to arrive, from the first byte on."""
    body_seconds: float = 20.0
    """The time for a body to arrive after its headers."""
    idle_seconds: float = 75.0
    """The time that an idle connection is kept."""
    linger_seconds: float = 5.0
    """The time for a refused client to stop sending and read the answer."""
    drain_seconds: float = 8.0
    """The time for requests under way to end after SIGTERM; containers are killed 10 s after it."""
    hang_seconds: float = 60.0
    """A worker that shows no sign of life for this long is replaced."""


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen, what to serve and with how many processes."""

    host: str
    port: int
    model: Path
    workers: int
    limits: Limits


def read_options(environ: Mapping[str, str]) -> Options:
    """Read SageMaker's variables and our own.

    Raises:
        BadOption: a value is no number, or not a positive one.
    """
    workers = environ.get(f"{_PREFIX}WORKERS") or environ.get("SAGEMAKER_MODEL_SERVER_WORKERS")
    return Options(
        host=environ.get("SCONES_BIND_HOST", "0.0.0.0"),  # noqa: S104 - a container answers on all its addresses
        port=_number(int, "SAGEMAKER_BIND_TO_PORT", environ.get("SAGEMAKER_BIND_TO_PORT") or "8080"),
        model=Path(environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model",
        workers=_number(int, f"{_PREFIX}WORKERS", workers) if workers else _cores(),
        limits=_limits(environ),
    )


def _limits(environ: Mapping[str, str]) -> Limits:
    values: dict[str, Any] = {}
    for field in fields(Limits):
        name = _PREFIX + field.name.upper()
        if name in environ:
            values[field.name] = _number(int if field.type is int else float, name, environ[name])
    return Limits(**values)


def _number(kind: type[_N], name: str, text: str) -> _N:
    try:
        value = kind(text)
    except ValueError as error:
        raise BadOption(name, text, "a number") from error
    if not 0 < value < float("inf"):
        raise BadOption(name, text, "a positive number")
    return value


def _cores() -> int:
    # In a container the machine may have more cores than this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
