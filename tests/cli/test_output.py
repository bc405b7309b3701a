"""What reaches the terminal: commands that can be pasted."""

from collections.abc import Iterator

import click
import pytest

from scones.cli import main
from scones.cli.group import scones
from scones.domain.text import COMMANDS, shown_env, with_env


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run: scones deploy", "run: scones deploy --env prod"),
        ("run: scones deploy MODEL", "run: scones deploy --env prod MODEL"),
        ("run: scones review import a.csv; it", "run: scones review import --env prod a.csv; it"),
        ("run: scones retrain approve, or reject", "run: scones retrain approve --env prod, or reject"),
        ("run: scones up --replace-data", "run: scones up --env prod --replace-data"),
        ("run: scones down --env other", "run: scones down --env other"),
        ("`scones status` and scones monitor", "`scones status --env prod` and scones monitor --env prod"),
        ("scones open or scones status", "scones open --env prod or scones status --env prod"),
        ("scones train, then scones up --env a", "scones train --env prod, then scones up --env a"),
        ("scones up-to-date", "scones up-to-date"),
        ("scones cost, a module of scones that runs", "scones cost, a module of scones that runs"),
        ("no command", "no command"),
    ],
)
def test_a_command_in_a_message_names_the_environment_of_the_command_that_runs(text: str, shown: str) -> None:
    """Whoever pastes it acts on the same one; in the default environment nothing is added."""
    assert with_env(text) == text
    token = shown_env.set("prod")
    try:
        assert with_env(text) == shown
    finally:
        shown_env.reset(token)


def _taking_env(group: click.Group, above: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _taking_env(command, f"{above}{name} ")
        if any(parameter.name == "env" for parameter in command.params):
            yield above + name


def test_every_command_that_takes_env_is_known() -> None:
    """Those of groups, too, and no other."""
    assert set(_taking_env(scones)) == COMMANDS


def test_an_error_says_what_to_run_with_its_environment(capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line, where the environment is a flag."""
    with pytest.raises(SystemExit):
        main(["local", "env", "--env", "elsewhere"])
    assert "run: scones local up --env elsewhere" in capsys.readouterr().err
