"""Commands that list and compare models, and open pages; and the one argument by which all commands name a model."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from scones.cli.group import options, region, run, show_in_browser, tell_result
from scones.domain.errors import SconesError
from scones.steps import STEPS

if TYPE_CHECKING:
    from scones.environment import ModelReference


class Model(click.ParamType[object]):
    """A model: its number in the registry, the path of its file or folder, or the s3:// URI of its file."""

    name = "model"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Tell the three apart; a path must exist."""
        from scones.environment import read_reference

        if not isinstance(value, str):
            return value
        found = read_reference(value)
        if isinstance(found, Path) and not found.exists():
            self.fail(f"{value!r} is neither the number of a model, nor an s3:// URI, nor a file or folder", param, ctx)
        return found


MODEL = Model()


@contextmanager
def files_of(verb: str, flags: Mapping[str, object], *models: "ModelReference | None") -> Iterator[list[Path | None]]:
    """The files of models; only those that are not on this machine need the environment."""
    if all(model is None or isinstance(model, Path) for model in models):
        yield [model if isinstance(model, Path) else None for model in models]
        return
    from scones.cli.session import open_pipeline

    with TemporaryDirectory() as folder:
        with open_pipeline(verb, flags, agreed=True) as flow:
            found = [None if model is None else flow.model_file(model, Path(folder)) for model in models]
        yield found


@click.command(help=STEPS["models"])
@options
def models(env: str | None, as_json: bool) -> None:
    """List the models."""
    run("models", {"env": env}, as_json, lambda flow: flow.models())


@click.command(help=STEPS["releases"])
@options
def releases(env: str | None, as_json: bool) -> None:
    """List the releases."""
    run("releases", {"env": env}, as_json, lambda flow: flow.releases())


@click.command(help=STEPS["compare"] + " ONE and OTHER are numbers, paths or s3:// URIs.")
@click.argument("one", type=MODEL)
@click.argument("other", type=MODEL)
@options
def compare(one: "ModelReference", other: "ModelReference", env: str | None, as_json: bool) -> None:
    """Compare two models."""
    run("compare", {"env": env}, as_json, lambda flow: flow.compare(one, other))


@click.command("open", help=STEPS["open"])
@click.option(
    "--reports",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="The folder of the reports.",
)
@click.option("--alert", is_flag=True, help="Show the newest alert, also if a report is newer.")
@options
def open_(folder: Path, alert: bool, env: str | None, as_json: bool) -> None:
    """Open the newest page."""
    from scones.cli.session import open_pipeline
    from scones.steps.models import newest_report

    try:
        with open_pipeline("open", {"env": env, "region": region()}, agreed=True) as flow:
            found = flow.open(folder, alert=alert)
    except SconesError:
        # A report is opened also where its environment is gone.
        local = newest_report(folder)
        if local is None or alert:
            raise
        found = local
    tell_result(found, as_json=as_json)
    if sys.stdout.isatty() and not as_json:
        show_in_browser(Path(found.page).absolute().as_uri())
