"""Commands of a reviewer: answers to photos that wait, corrections of training labels, and files of labels."""

from pathlib import Path

import click

from scones.cli.group import InOrder, WrittenPath, options, run
from scones.steps import STEPS

_STATES = ("open", "answered", "skipped")
_by = click.option("--by", metavar="NAME", default="", help="Who says so. [default: the user of the AWS credentials]")


class _ListByDefault(InOrder):
    """A group whose first command needs not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read options without a command as those of `list`."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ListByDefault, help=STEPS["review"] + " Without a COMMAND it lists.")
def review() -> None:
    """Commands of a reviewer."""


@review.command("list", help="List reviews, those whose courier waits first.")
@click.option("--state", type=click.Choice(_STATES), default="open", show_default=True, help="Which reviews.")
@click.option("--limit", type=click.IntRange(0, 1000), default=20, show_default=True, help="At most so many.")
@options
def list_reviews(state: str, limit: int, env: str | None, as_json: bool) -> None:
    """List reviews."""
    run("review", {"env": env}, as_json, lambda flow: flow.reviews(state, limit))


@review.command(help="Count the open reviews, and say how old they are.")
@options
def count(env: str | None, as_json: bool) -> None:
    """Count the open reviews."""
    run("review", {"env": env}, as_json, lambda flow: flow.reviews(limit=0))


@review.command(
    help="Say that PHOTO shows LABEL, a class or `other`; a waiting courier gets orders at once. The same person's next"
    " answer corrects this one."
)
@click.argument("photo")
@click.argument("label")
@_by
@options
def answer(photo: str, label: str, by: str, env: str | None, as_json: bool) -> None:
    """Answer a review."""
    run("review", {"env": env}, as_json, lambda flow: flow.answer(photo, label, by))


@review.command(help="Withdraw what you said about PHOTO; without another answer it waits again.")
@click.argument("photo")
@_by
@click.option("--correction", is_flag=True, help="What you said with `correct`.")
@options
def withdraw(photo: str, by: str, correction: bool, env: str | None, as_json: bool) -> None:
    """Withdraw an answer."""
    if correction:
        run("review", {"env": env}, as_json, lambda flow: flow.withdraw_correction(photo, by))
    else:
        run("review", {"env": env}, as_json, lambda flow: flow.withdraw(photo, by))


@review.command(help="Take PHOTO out of the open reviews without an answer, for example because it is gone.")
@click.argument("photo")
@options
def skip(photo: str, env: str | None, as_json: bool) -> None:
    """Skip a review."""
    run("review", {"env": env}, as_json, lambda flow: flow.skip_review(photo))


@review.command(help="List training photos whose label the model contradicts, the likeliest error first.")
@click.option("--limit", type=click.IntRange(0, 1000), default=20, show_default=True, help="At most so many.")
@options
def corrections(limit: int, env: str | None, as_json: bool) -> None:
    """List labels to correct."""
    run("review", {"env": env}, as_json, lambda flow: flow.corrections(limit))


@review.command(
    help="Say that the training photo PHOTO shows LABEL, a class or `other`; the label that it has confirms it."
    " `scones stage --with-labels` makes the next version of the data with the correction."
)
@click.argument("photo")
@click.argument("label")
@_by
@options
def correct(photo: str, label: str, by: str, env: str | None, as_json: bool) -> None:
    """Correct or confirm the label of a training photo."""
    run("review", {"env": env}, as_json, lambda flow: flow.correct(photo, label, by))


@review.command(
    "export",
    help="Write the open reviews as TABLE to fill in (CSV), and beside it tasks for Label Studio (JSON)."
    " First the sampling plan chooses among the photos that the model answered: half to measure the accuracy, half to"
    " learn.",
)
@click.argument("table", type=WrittenPath(".csv", ".json"))
@click.option(
    "--choose", type=click.IntRange(0, 1000), default=30, show_default=True, help="Until so many chosen ones are open."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="At most so many photos.")
@options
def export(table: Path, choose: int, limit: int, env: str | None, as_json: bool) -> None:
    """Export the open reviews."""
    run("review", {"env": env}, as_json, lambda flow: flow.export_reviews(table, choose, limit))


@review.command(
    "import",
    help="Keep the labels in FILE: CSV or JSON Lines with photo or event, label, and optionally by and when; or JSON of"
    " Label Studio. Reviews are answered by them, and each label counts for the model that had answered.",
)
@click.argument("file", type=click.Path(path_type=Path))
@_by
@options
def import_(file: Path, by: str, env: str | None, as_json: bool) -> None:
    """Import labels."""
    run("review", {"env": env}, as_json, lambda flow: flow.import_labels(file, by))


@click.group(cls=InOrder, help=STEPS["labels"])
def labels() -> None:
    """Commands about labels."""


@labels.command(
    "export", help="Write every label as a table into FILE, .csv or .jsonl; `scones review import` reads it again."
)
@click.argument("file", type=WrittenPath())
@options
def export_labels(file: Path, env: str | None, as_json: bool) -> None:
    """Export the labels."""
    run("labels", {"env": env}, as_json, lambda flow: flow.export_labels(file))
