"""Load: how many answers a second, and how late the slowest, when many ask at once; bounded in time and count."""

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
"""How many ask at once, one after the other."""

Send = Callable[[int], str]
"""Send the request of this number; gives what went wrong in a word, or an empty text."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a level ends: after so many seconds, or so many requests, whichever comes first."""

    seconds: float
    requests: int


@dataclass(frozen=True, slots=True)
class Level:
    """So many clients at once: *per_second* answers without error, latencies in milliseconds of those answers.

    Latencies are None where no answer came. *errors* counts each kind of error.
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
class Load:
    """One target at every level."""

    target: str
    levels: tuple[Level, ...]


def measure_load(target: str, send: Send, bounds: Bounds, progress: Callable[[int, int, str], None]) -> Load:
    """Ask with 1, 4, 16 and 64 clients; each waits for its answer before it asks again."""
    levels: list[Level] = []
    for clients in CLIENTS:
        levels.append(measure_level(send, clients, bounds))
        progress(len(levels), len(CLIENTS), f"levels of load, {target}")
    return Load(target, tuple(levels))


def measure_level(send: Send, clients: int, bounds: Bounds) -> Level:
    """Ask with so many clients until the bounds are reached; requests under way then are waited for."""
    numbers = itertools.count()
    # Taking a number is not atomic everywhere.
    lock = threading.Lock()
    results: list[tuple[float, str]] = []
    started = time.monotonic()

    def client() -> None:
        while time.monotonic() - started < bounds.seconds:
            with lock:
                number = next(numbers)
            if number >= bounds.requests:
                return
            asked = time.monotonic()
            error = _outcome(send, number)
            results.append((time.monotonic() - asked, error))

    with ThreadPoolExecutor(clients) as pool:
        for future in [pool.submit(client) for _ in range(clients)]:
            future.result()
    return summarise(clients, results, time.monotonic() - started)


def summarise(clients: int, results: Sequence[tuple[float, str]], seconds: float) -> Level:
    """Put the *results*, each a duration in seconds and its error or an empty text, into figures."""
    good = [1000 * took for took, error in results if not error]
    p50, p95, p99 = (float(value) for value in np.percentile(good, [50, 95, 99])) if good else (None, None, None)
    return Level(
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
