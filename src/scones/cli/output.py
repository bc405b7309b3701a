"""Output: the one way by which text reaches the terminal."""

import re
import sys
from collections.abc import Callable
from contextvars import ContextVar

import click

from scones.domain.text import printable, printable_json

DEFAULT_ENV = "dev"
shown_env: ContextVar[str] = ContextVar("shown_env", default=DEFAULT_ENV)
"""The environment of the command that runs, which the commands in its messages name."""
verbose: ContextVar[bool] = ContextVar("verbose", default=False)
"""Whether long lists are shown whole."""
commands: set[str] = set()
"""The commands that take --env, as they are typed: `status`, `review import`."""
_NEXT = re.compile(r"scones ((?:[a-z]+ ?){1,3})")


def with_env(text: str) -> str:
    """*text*, in which each command of ours says --env, so that it can be pasted; none for the default environment."""
    env = shown_env.get()

    def name(found: re.Match[str]) -> str:
        words = found[1].split()
        for count in range(len(words), 0, -1):
            command = " ".join(words[:count])
            if command in commands:
                rest = found[1][len(command) :]
                return f"scones {command} --env {env}{rest}"
        return found[0]

    return text if env == DEFAULT_ENV or "--env" in text else _NEXT.sub(name, text)


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
