"""What the verbs of the command line share: the group they belong to, their common options, and how one is run."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import click

from scones import __version__

if TYPE_CHECKING:
    from scones.pipeline import Pipeline

Command = TypeVar("Command", bound=Callable[..., object])
Result = TypeVar("Result")


class InOrder(click.Group):
    """Lists its commands in the order of the flow, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names as they were added."""
        del ctx
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say the whole first sentence of each, on as many lines as it takes."""
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=1000)) for name, command in named if command])


_RENAMED_OPTIONS = {"artefact": "model"}


def _present_name(option: str) -> str:
    """The present name of an option of 0.1.0; the old ones work until the release after 0.2, and help hides them."""
    name = _RENAMED_OPTIONS.get(option, option)
    if name != option:
        click.echo(f"warning: --{option} is now called --{name}", err=True)
    return name


_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "token_normalize_func": _present_name}


@click.group(cls=InOrder, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="scones")
def scones() -> None:
    """Tell a courier's bicycle from a motorcycle, and run the whole workflow around that decision.

    Every verb works on AWS, or on a local cloud on this machine: `scones local up` starts one, and from then on the
    verbs of the same --env use it. `scones demo` shows everything at once, and leaves nothing behind.
    """


def options(command: Command) -> Command:
    """Add what every verb takes."""
    env = click.option("--env", metavar="NAME", help="The environment; several live side by side. [default: dev]")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout.")
    return env(as_json(command))


yes_option = click.option("--yes", is_flag=True, help="On AWS: do not ask before making what costs money.")
"""What asks first asks nothing when this is given."""


def run(
    verb: str,
    flags: Mapping[str, object],
    as_json: bool,
    action: "Callable[[Pipeline], Result]",
    *,
    agreed: bool = True,
) -> Result:
    """Run one verb of the flow, and show what came of it."""
    from scones.cli.session import open_pipeline

    with open_pipeline(verb, flags, agreed=agreed) as flow:
        result = action(flow)
    tell_result(result, as_json=as_json)
    return result


def tell_result(result: object, *, as_json: bool) -> None:
    """Print *result* on stdout: one JSON object, or a few lines for a person."""
    import msgspec

    from scones.cli.render import render

    click.echo(msgspec.json.encode(result).decode() if as_json else render(result))
