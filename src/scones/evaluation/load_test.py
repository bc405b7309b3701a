"""Load test: throughput and latency with many clients at once; bounded in time and count."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from scones.domain.errors import SconesError

CLIENTS = (1, 4, 16, 64)
"""The numbers of concurrent clients, measured one after the other."""

Send = Callable[[int], str]
"""Send the request of this number; gives the error in a word, or an empty string."""


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """When a level ends: after this many seconds or requests, whichever comes first."""

    seconds: float
    requests: int


@dataclass(frozen=True, slots=True)
class LoadLevel:
    """One number of clients: *per_second* counts responses without an error; latencies are theirs, in milliseconds.

    Latencies are None where every request failed. *errors* counts each kind of error.
    """

    clients: int
    requests: int
    seconds: float
    per_second: float
    p50: float | None
    p95: float | None
    p99: float | None
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """One target at every level."""

    target: str
    levels: tuple[LoadLevel, ...]


def measure_load(target: str, send: Send, limits: LoadLimits, progress: Callable[[int, int, str], None]) -> LoadResult:
    """Send requests with 1, 4, 16 and 64 clients; each waits for its response before it sends the next."""
    levels: list[LoadLevel] = []
    for clients in CLIENTS:
        levels.append(measure_level(send, clients, limits))
        progress(len(levels), len(CLIENTS), f"load levels, {target}")
    return LoadResult(target, tuple(levels))


def measure_level(send: Send, clients: int, limits: LoadLimits) -> LoadLevel:
    """Send requests with this many clients until a limit is reached; then wait for those under way."""
    numbers = itertools.count()
    # Taking a number is not atomic everywhere.
    lock = threading.Lock()
    results: list[tuple[float, str]] = []
    started = time.monotonic()

    def client() -> None:
        while time.monotonic() - started < limits.seconds:
            with lock:
                number = next(numbers)
            if number >= limits.requests:
                return
            sent = time.monotonic()
            error = _outcome(send, number)
            results.append((time.monotonic() - sent, error))

    with ThreadPoolExecutor(clients) as pool:
        for future in [pool.submit(client) for _ in range(clients)]:
            future.result()
    return summarize_level(clients, results, time.monotonic() - started)


def summarize_level(clients: int, results: Sequence[tuple[float, str]], seconds: float) -> LoadLevel:
    """Summarize the *results*, each a duration in seconds and its error or an empty string."""
    good = [1000 * took for took, error in results if not error]
    p50, p95, p99 = (float(value) for value in np.percentile(good, [50, 95, 99])) if good else (None, None, None)
    return LoadLevel(
        clients=clients,
        requests=len(results),
        seconds=seconds,
        per_second=len(good) / seconds if seconds > 0 else 0.0,
        p50=p50,
        p95=p95,
        p99=p99,
        errors=dict(Counter(error for _, error in results if error)),
    )


def _outcome(send: Send, number: int) -> str:
    try:
        return send(number)
    except SconesError as error:
        return str(getattr(error, "code", type(error).__name__))
