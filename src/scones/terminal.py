"""Terminal: what a person sees of long work, on stderr; stdout is kept for results."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Terminal:
    """A Reporter with bars on a terminal; elsewhere it says how far long work is, every *line_seconds*."""

    def __init__(self, line_seconds: float = 20.0) -> None:
        self._line_seconds = line_seconds
        self._said = time.monotonic()
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("  {task.description:<22}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
        )
        self._bars = Progress(*columns, console=self._console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Terminal":
        """Start drawing bars, where there is a terminal to draw them on."""
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._console.is_terminal:
            self._bars.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Draw no bars meanwhile: a question stands on the last line."""
        if self._console.is_terminal:
            self._bars.stop()
        yield
        if self._console.is_terminal:
            self._bars.start()

    def tell(self, line: str) -> None:
        """Print one line above the bars."""
        self._said = time.monotonic()
        self._console.print(line, markup=False)

    def progress(self, done: int, total: int, what: str, now: str = "") -> None:
        """Move the bar of *what*; a full bar becomes a line, and the next of its name starts anew."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, now=now)
        self._bars.update(self._tasks[what], completed=done, total=total, now=now)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(what))
            self.tell(f"  {what}: {total:,}")
        elif not self._console.is_terminal and time.monotonic() - self._said >= self._line_seconds:
            self.tell(f"  {what}: {done:,} of {total:,}{now and f', {now}'}")
