"""Output: the one way by which text reaches the terminal."""

import sys
from collections.abc import Callable
from contextvars import ContextVar

import click

from scones.domain.text import printable, printable_json, with_env

verbose: ContextVar[bool] = ContextVar("verbose", default=False)
"""Whether long lists are shown whole."""


def echo(text: str, *, err: bool = False, json: bool = False) -> None:
    """Print *text*, on stderr with *err*: the one way to the terminal, safe whoever wrote what it quotes.

    Lines stay apart; other control characters become visible escapes, in *json* those of JSON.
    """
    escape: Callable[[str], str] = printable_json if json else printable
    safe = "\n".join(escape(line if json else with_env(line)) for line in text.split("\n"))
    encoding = (sys.stderr if err else sys.stdout).encoding or "utf-8"
    click.echo(safe.encode(encoding, "backslashreplace").decode(encoding), err=err)


def echo_error(message: str) -> None:
    """Print an error as one line, of which no part can pass for another line of output."""
    echo(" ".join(printable(part) for part in message.split("\n")), err=True)
