"""Output: the one way by which text reaches the terminal."""

import os
import sys
from collections.abc import Callable
from contextvars import ContextVar

import click

from scones.domain.text import printable, printable_json, with_env

said: ContextVar[set[str] | None] = ContextVar("said", default=None)
"""The lines that the command which runs has said on stderr; None where none runs."""


def say_once(line: str) -> bool:
    """Whether the command has not said this *line* yet; from now on it has."""
    lines = said.get()
    if lines is None or line not in lines:
        (set() if lines is None else lines).add(line)
        return True
    return False


def echo_result(text: str) -> None:
    """Print the lines of a result, but none that the same reader has seen already: where stderr goes there, too."""
    seen = said.get() if _same_place() else None
    shown = [line for line in text.split("\n") if not seen or printable(with_env(line)) not in seen]
    if shown:
        echo("\n".join(shown))


def _same_place() -> bool:
    """Whether stdout and stderr end in the same terminal or file."""
    try:
        places = [os.fstat(stream.fileno()) for stream in (sys.stdout, sys.stderr)]
    except (OSError, ValueError, AttributeError):
        return False
    return os.path.samestat(*places)


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
