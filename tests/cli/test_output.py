"""What reaches the terminal: commands that can be pasted."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from scones.cli import main
from scones.cli.group import scones
from scones.cli.output import echo, echo_result, said, say_once
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


def test_a_result_leaves_out_what_the_same_reader_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stdout and stderr are one file; a stdout of its own has the whole result."""
    apart = tmp_path / "out"
    for stdout, shown in ((tmp_path / "both", ["told", "new"]), (apart, ["told", "new"])):
        with (tmp_path / "both").open("w") as err, stdout.open("a") as out:
            monkeypatch.setattr("sys.stdout", out)
            monkeypatch.setattr("sys.stderr", err)
            token = said.set(set())
            try:
                assert say_once("told")
                assert not say_once("told")
                echo("told", err=True)
                err.flush()
                echo_result("told\nnew")
            finally:
                said.reset(token)
                monkeypatch.undo()
        assert stdout.read_text().splitlines() == shown


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
