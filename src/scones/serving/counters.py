"""Counters in memory that all workers share: each writes its own row, and any of them can report the sum."""

import mmap
from collections.abc import Sequence
from typing import Final

STATUSES: Final = (200, 400, 404, 405, 408, 413, 415, 431, 500, 503)
"""Every status that the server answers with."""
_NAMES: Final = (
    "photos",
    "batches",
    "model_seconds",
    "invocation_seconds",
    "connections",
    "heartbeat",
    *(f"status_{status}" for status in STATUSES),
)
_INDEX: Final = {name: index for index, name in enumerate(_NAMES)}
_WIDTH: Final = 64


class Counters:
    """A table of numbers, one row a worker; make it before the workers are forked."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, workers * _WIDTH * 8)
        self._table = memoryview(self._memory).cast("d")

    def row(self, worker: int) -> "Row":
        """Return the row that this worker alone writes."""
        return Row(self._table[worker * _WIDTH : (worker + 1) * _WIDTH])

    def rows(self) -> Sequence["Row"]:
        """Return every worker's row."""
        return [self.row(worker) for worker in range(self._workers)]


class Row:
    """One worker's counters by name; they outlive a worker that died, and its successor counts on."""

    def __init__(self, cells: "memoryview[float]") -> None:
        self._cells = cells

    def add(self, name: str, amount: float = 1.0) -> None:
        """Add *amount* to the counter."""
        self._cells[_INDEX[name]] += amount

    def set(self, name: str, value: float) -> None:
        """Set the gauge."""
        self._cells[_INDEX[name]] = value

    def get(self, name: str) -> float:
        """Read one counter."""
        return float(self._cells[_INDEX[name]])

    def answered(self, status: int) -> None:
        """Count one answer by its status; a status without a counter is a bug."""
        self._cells[_INDEX[f"status_{status}"]] += 1
