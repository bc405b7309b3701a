"""Counters that all workers share, and what GET /metrics shows of them in Prometheus' text format."""

import mmap
from collections.abc import Iterable, Sequence
from typing import Final

STATUSES: Final = (200, 400, 404, 405, 408, 413, 415, 431, 500, 503)
"""Every status that the server answers with."""
_FAMILIES: Final = (
    ("photos", "counter", "Photos that went through the model."),
    ("batches", "counter", "Runs of the model, each on one batch of photos."),
    ("model_seconds", "counter", "Time inside the model (SageMaker's ModelLatency, summed)."),
    ("invocation_seconds", "counter", "Time from a complete request to its answer, summed."),
    ("connections", "gauge", "Open connections."),
)
_NAMES: Final = (*(name for name, _, _ in _FAMILIES), *(f"status_{status}" for status in STATUSES))
_INDEX: Final = {name: index for index, name in enumerate(_NAMES)}
_WIDTH: Final = 64


class WorkerCounters:
    """One worker's counters by name; they outlive a worker that died, and its successor continues them."""

    def __init__(self, cells: "memoryview[float]") -> None:
        self._cells = cells

    def add(self, name: str, amount: float = 1.0) -> None:
        """Add *amount* to a counter."""
        self._cells[_INDEX[name]] += amount

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._cells[_INDEX[name]] = value

    def get(self, name: str) -> float:
        """Read one value."""
        return float(self._cells[_INDEX[name]])

    def count_response(self, status: int) -> None:
        """Count one response by its status; a status without a counter is a bug."""
        self._cells[_INDEX[f"status_{status}"]] += 1


def share_counters(workers: int) -> Sequence[WorkerCounters]:
    """Return one set of counters per worker, in memory that processes forked later share."""
    table = memoryview(mmap.mmap(-1, workers * _WIDTH * 8)).cast("d")
    return [WorkerCounters(table[worker * _WIDTH : (worker + 1) * _WIDTH]) for worker in range(workers)]


def render(workers: Sequence[WorkerCounters]) -> bytes:
    """Write the counters of all workers; responses are counted by status."""
    lines: list[str] = []
    for name, kind, description in _FAMILIES:
        title = f"scones_{name}_total" if kind == "counter" else f"scones_{name}"
        values = ((f'{{worker="{number}"}}', worker.get(name)) for number, worker in enumerate(workers))
        lines += _family(title, kind, description, values)
    responses = (
        (f'{{worker="{number}",status="{status}"}}', worker.get(f"status_{status}"))
        for number, worker in enumerate(workers)
        for status in STATUSES
    )
    lines += _family("scones_answers_total", "counter", "Answers but to /ping and /metrics, by HTTP status.", responses)
    return ("\n".join(lines) + "\n").encode("ascii")


def _family(title: str, kind: str, description: str, values: Iterable[tuple[str, float]]) -> list[str]:
    head = [f"# HELP {title} {description}", f"# TYPE {title} {kind}"]
    return head + [f"{title}{labels} {value:.15g}" for labels, value in values]
