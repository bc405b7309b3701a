"""Session: open an environment for one command, show progress, and print the result."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from scones.cli.local_cloud import CloudDied, find_cloud, has_died
from scones.config.loading import load
from scones.config.settings import Settings
from scones.domain.errors import SconesError

if TYPE_CHECKING:
    from scones.pipeline import Pipeline


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


Flags = Mapping[str, object]


class Cancelled(SconesError):
    """The user was told what a verb costs on AWS, and did not want it."""

    def __init__(self) -> None:
        super().__init__("nothing was made; to work without AWS, run: scones local up")


@contextmanager
def open_pipeline(verb: str, flags: Flags, *, agreed: bool) -> Iterator["Pipeline"]:
    """Open the environment: the endpoint that was named, else its local cloud if one runs, else AWS.

    Raises:
        CloudDied: the local cloud of the environment was killed; the command must not reach AWS by mistake.
        NotAgreed: the verb costs money on AWS, and the user, asked, did not go on.
    """
    from scones.aws.client import Credentials
    from scones.aws.connection import connect
    from scones.pipeline import Pipeline, auto_approve

    settings = load(flags)
    cloud = None if settings.endpoint_url else find_cloud(settings)
    if not (cloud or settings.endpoint_url) and has_died(settings):
        raise CloudDied(settings.env)
    if cloud:
        settings = replace(settings, endpoint_url=cloud.endpoint_url, region=cloud.region)
    aws = connect(settings, Credentials("local", "local") if cloud else None)
    where = settings.endpoint_url or f"AWS account {aws.account}, {aws.region}"
    click.echo(f"{verb}: environment {settings.env} on {where}", err=True)
    ask = not (settings.endpoint_url or agreed)
    # `up` says its own price, and asks once the changes have been shown.
    price = _price(verb, settings) if ask and verb != "up" else ""
    if price and not click.confirm(f"{verb} costs money on AWS: {price} Go on?", err=True):
        raise Cancelled
    with Terminal() as terminal:
        yield Pipeline(aws, settings, terminal, _Asks(terminal) if ask else auto_approve)


def _price(verb: str, settings: Settings) -> str:
    from scones.deployment.pricing import price_of

    return price_of(verb, settings)


class _Asks:
    """Asks once whether to make what was shown: bringing a stack up takes two change sets."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._agreed = False

    def __call__(self) -> None:
        with self._terminal.paused():
            self._agreed = self._agreed or click.confirm("this costs money on AWS: go on?", err=True)
        if not self._agreed:
            raise Cancelled
