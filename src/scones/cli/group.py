"""Group: the command group, the options that all commands share, and how a command runs."""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from scones.cli.output import echo, echo_result
from scones.cli.render import render
from scones.domain import VERSION
from scones.domain.errors import require_writable
from scones.domain.progress import verbose

if TYPE_CHECKING:
    from scones.pipeline import Pipeline

Command = TypeVar("Command", bound=Callable[..., object])
Result = TypeVar("Result")


class InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        del ctx
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the whole first sentence of each command, on as many lines as it takes."""
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=1000)) for name, command in named if command])


class Number(click.FloatRange):
    """A finite number within bounds; FloatRange itself takes nan, which no bound excludes."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        return number if math.isfinite(number) else self.fail(f"{value} is not a finite number.", param, ctx)


SHARE = Number(0, 1)
THRESHOLD = Number(0, 1, min_open=True, max_open=True)


class WrittenPath(click.Path):
    """The path of a file that a command writes, and of siblings with these *suffixes*; checked before the work."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(path_type=Path)
        self.suffixes = suffixes

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path if it can be written."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        require_writable(path, *self.suffixes)
        return path


_RENAMED_OPTIONS = {"artefact": "model"}


def _present_name(option: str) -> str:
    """The present name of an option of 0.1.0; the old ones work until the release after 0.2, and help hides them."""
    name = _RENAMED_OPTIONS.get(option, option)
    if name != option:
        echo(f"warning: --{option} is now called --{name}", err=True)
    return name


_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "token_normalize_func": _present_name}


@click.group(cls=InOrder, context_settings=_CONTEXT)
@click.version_option(VERSION, prog_name="scones")
def scones() -> None:
    """Classify photos of couriers' vehicles as bicycle or motorcycle, and operate the model that does it.

    Commands run on AWS, or on a local cloud on this machine: after `scones local up`, all commands with the same --env
    use it. `scones demo` runs the whole workflow locally and cleans up after itself.
    """


def options(command: Command) -> Command:
    """Add the options that every command has."""
    env = click.option(
        "--env", metavar="NAME", help="Name of the environment; several can exist side by side. [default: dev]"
    )
    where = click.option(
        "--region",
        metavar="REGION",
        expose_value=False,
        callback=_set_region,
        help="AWS region. [default: AWS_REGION, scones.toml, or that of the AWS profile]",
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout.")
    whole = click.option(
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=lambda _context, _option, given: verbose.set(given),
        help="Show long lists whole.",
    )
    return env(where(whole(as_json(command))))


def _set_region(context: click.Context, _option: click.Parameter, region: str | None) -> None:
    context.meta["region"] = region


def region() -> str | None:
    """The region that the command names, if it does."""
    found: str | None = click.get_current_context().meta.get("region")
    return found


def _set_open(context: click.Context, _option: click.Parameter, given: bool) -> None:
    context.meta["open"] = given


open_option = click.option(
    "--open", is_flag=True, expose_value=False, callback=_set_open, help="Open the page in the browser."
)
"""For every command that writes a page; `tell_result` opens that of the result."""


def open_page(page: str | Path) -> None:
    """Open a page that the command has written, if --open asks for it."""
    meta = click.get_current_context().meta
    if page and meta.get("open"):
        meta["opened"] = True
        show_in_browser(Path(page).absolute().as_uri())


def require_page(page: Path | None) -> None:
    """Refuse --open where the command was not asked for the *page*."""
    if page is None and click.get_current_context().meta.get("open"):
        raise click.UsageError(
            "--open opens the page that --explain PAGE writes; add --explain PAGE, or leave out --open"
        )


def show_in_browser(url: str) -> None:
    """Open *url*; what the browser prints goes to stderr, since stdout is the command's own."""
    program = "import sys, webbrowser; webbrowser.open(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, url], stdout=2, check=False)


yes_option = click.option("--yes", is_flag=True, help="Do not ask before creating resources that cost money on AWS.")
"""Answers every question of a command with yes."""


def run(
    verb: str,
    flags: Mapping[str, object],
    as_json: bool,
    action: "Callable[[Pipeline], Result]",
    *,
    agreed: bool = True,
) -> Result:
    """Run one command on the pipeline, and print its result."""
    from scones.cli.session import open_pipeline

    with open_pipeline(verb, {"region": region(), **flags}, agreed=agreed) as flow:
        result = action(flow)
    tell_result(result, as_json=as_json)
    return result


def tell_result(result: object, *, as_json: bool) -> None:
    """Print *result* on stdout, one JSON object or a few lines for a person; --open opens its page."""
    import msgspec

    if as_json:
        echo(msgspec.json.encode(result).decode(), json=True)
    else:
        echo_result(render(result))
    open_page(getattr(result, "report", ""))
    meta = click.get_current_context().meta
    if meta.get("open") and not meta.get("opened"):
        echo("no page was written, so there is none to open", err=True)
