"""Output: the one way by which text reaches the terminal."""

import sys
from collections.abc import Callable
from contextvars import ContextVar

import click

from scones.domain.text import DEFAULT_ENV, name_env, printable, printable_json

shown_env: ContextVar[str] = ContextVar("shown_env", default=DEFAULT_ENV)
"""The environment of the command that runs, which the commands in its messages name."""
verbose: ContextVar[bool] = ContextVar("verbose", default=False)
"""Whether long lists are shown whole."""


def with_env(text: str) -> str:
    """*text*, in which each command of ours names the environment of the command that runs."""
    return name_env(text, shown_env.get())


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
