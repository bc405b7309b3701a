"""Commands that send photos and orders through the workflow: classify, replay, dispatch and simulate."""

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from scones.cli.group import (
    SHARE,
    THRESHOLD,
    Number,
    WrittenPath,
    open_option,
    open_page,
    options,
    require_page,
    run,
    tell_result,
    yes_option,
)
from scones.cli.models import MODEL, files_of
from scones.domain.errors import SconesError
from scones.steps import STEPS

if TYPE_CHECKING:
    from scones.environment import ModelReference
    from scones.pipeline import Pipeline
    from scones.steps.classify import ClassifyResult
    from scones.steps.replay import ReplayResult


class _StreamOptions(TypedDict):
    """The options of `simulate`."""

    events: int
    per_second: float
    duplicates: float | None
    corrupt: float | None
    shifted: float | None


_explain = click.option(
    "--explain",
    type=WrittenPath(),
    metavar="PAGE",
    help="Write a page that shows which parts of each photo decided, and the most similar training photos.",
)


@click.command(
    help=STEPS["classify"]
    + " PHOTOS are files, or one folder or s3://bucket/prefix, which is classified in batches; if that is interrupted,"
    " the same command continues it. [default: the staged test photos]"
)
@click.argument("photos", nargs=-1)
@click.option(
    "--plan", type=click.IntRange(1), metavar="COUNT", help="Only show time and cost of COUNT photos in batches on AWS."
)
@click.option(
    "--output",
    type=WrittenPath(),
    metavar="FILE",
    help="Also write a table of the results, .csv or .parquet.",
)
@_explain
@open_option
@options
def classify(  # noqa: PLR0913 - one parameter for each option
    photos: tuple[str, ...],
    plan: int | None,
    output: Path | None,
    explain: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Classify PHOTOS."""

    def run_each(flow: "Pipeline") -> "ClassifyResult":
        result = flow.classify(photos, output=output)
        if explain:
            flow.explain(result.to_explain(), explain)
            open_page(explain)
        return result

    require_page(explain)
    one_folder = len(photos) == 1 and (photos[0].startswith("s3://") or Path(photos[0]).is_dir())
    if explain and one_folder:
        raise click.UsageError("--explain takes photos that are named one by one, not a folder")
    if plan:
        from scones.config.settings import load
        from scones.deployment.pricing import plan_batch

        tell_result(plan_batch(plan, load({"env": env}).endpoint_instance), as_json=as_json)
    elif one_folder:
        run("classify", {"env": env}, as_json, lambda flow: flow.classify_batch(photos[0], output=output))
    else:
        found = run("classify", {"env": env}, as_json, run_each)
        if unread := found.unread():
            raise SconesError(f"{len(unread)} of {len(photos)} files could not be read; the reasons are listed above")


@click.command(
    help=STEPS["predict"]
    + " MODEL is a model.tar.gz or its folder, the number of a registered model or an s3:// URI; only the last two need"
    " the cloud. PHOTOS are files and folders."
)
@click.argument("model", type=MODEL)
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@options
def predict(model: "ModelReference", photos: tuple[Path, ...], env: str | None, as_json: bool) -> None:
    """Predict the classes of PHOTOS."""
    from scones.model.prediction import predict as predict_photos

    with files_of("predict", {"env": env}, model) as (file,):
        found = predict_photos(file or "", photos)
    tell_result(found, as_json=as_json)
    if unread := sum(bool(prediction.error) for prediction in found):
        raise SconesError(f"{unread} of {len(found)} files could not be read; the reasons are listed above")


@click.command(
    help=STEPS["replay"]
    + " EXECUTION is a name shown by `classify`; without it, every recorded decision is made again."
)
@click.argument("execution", required=False)
@click.option("--model", type=MODEL, help="Decide with this model: a number, a model.tar.gz, its folder, or s3://...")
@click.option("--threshold", type=THRESHOLD, help="Decide with this confidence threshold.")
@_explain
@open_option
@options
def replay(  # noqa: PLR0913 - one parameter for each option
    execution: str | None,
    model: "ModelReference | None",
    threshold: float | None,
    explain: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Replay EXECUTION, or make every recorded decision again."""

    def reproduce(flow: "Pipeline") -> "ReplayResult":
        found = flow.replay(str(execution))
        if explain:
            flow.explain({str(execution): ""}, explain)
            open_page(explain)
        return found

    require_page(explain)
    if explain and not execution:
        raise click.UsageError("--explain needs the EXECUTION whose decision it explains")
    if bool(execution) == (model is not None or threshold is not None):
        raise click.UsageError(
            "name an EXECUTION to reproduce it, or --model or --threshold (or both) to make all decisions again"
        )
    if execution:
        found = run("replay", {"env": env}, as_json, reproduce)
        if found.differences:
            raise SconesError(f"execution {execution} could not be reproduced; the differences are listed above")
    else:
        run("replay", {"env": env}, as_json, lambda flow: flow.rejudge(model, threshold))


@click.command(help=STEPS["dispatch"])
@click.option(
    "--example-orders",
    metavar="N",
    type=click.IntRange(0, 10_000),
    default=0,
    help="First create N example orders, and couriers from the photos classified last.",
)
@options
def dispatch(example_orders: int, env: str | None, as_json: bool) -> None:
    """Assign the open orders."""
    run("dispatch", {"env": env}, as_json, lambda flow: flow.dispatch(example_orders))


@click.command(help=STEPS["simulate"] + " One order is created for each photo.")
@click.option("--events", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Number of photos.")
@click.option(
    "--rate",
    "per_second",
    type=Number(0, 1000),
    default=20,
    show_default=True,
    help="Photos per second; 0 sends all at once.",
)
@click.option("--duplicates", type=SHARE, show_default="0.05", help="Share of photos that are sent twice.")
@click.option(
    "--corrupt",
    type=SHARE,
    show_default="0.02",
    help="Share of photos that are truncated or are no images.",
)
@click.option(
    "--shifted",
    type=SHARE,
    show_default="0.1",
    help="Share of photos that are darkened and blurred. Shares that are not given leave room for those that are.",
)
@options
@yes_option
def simulate(env: str | None, as_json: bool, yes: bool, **stream: Unpack[_StreamOptions]) -> None:
    """Send a stream of photos."""
    from scones.steps.simulate import Stream

    wanted = Stream(**stream)
    run("simulate", {"env": env}, as_json, lambda flow: flow.simulate(wanted), agreed=yes)
