"""The verbs that send photos and orders through what stands: classify, replay, dispatch, simulate."""

from pathlib import Path
from typing import TypedDict, Unpack

import click

from scones.cli.group import options, run, tell_result, yes_option
from scones.domain.errors import SconesError
from scones.steps import STEPS


class _Stream(TypedDict):
    """What `simulate` sends."""

    events: int
    per_second: float
    duplicates: float
    corrupt: float
    shifted: float


@click.command(
    help=STEPS["classify"]
    + " PHOTOS are files; or one folder, or one s3://bucket/prefix, whose photos go through in batches, and the same"
    " command goes on where it was cut off. Without any, the staged test photos are sent."
)
@click.argument("photos", nargs=-1)
@click.option("--plan", type=click.IntRange(1), metavar="COUNT", help="Only say what so many photos take on AWS.")
@options
def classify(photos: tuple[str, ...], plan: int | None, env: str | None, as_json: bool) -> None:
    """Classify PHOTOS."""
    if plan:
        from scones.deployment.pricing import plan_batch

        tell_result(plan_batch(plan), as_json=as_json)
    elif len(photos) == 1 and (photos[0].startswith("s3://") or Path(photos[0]).is_dir()):
        run("classify", {"env": env}, as_json, lambda flow: flow.classify_batch(photos[0]))
    else:
        run("classify", {"env": env}, as_json, lambda flow: flow.classify([Path(photo) for photo in photos]))


@click.command(help=STEPS["replay"] + " EXECUTION is a name that `classify` shows; without it, all are judged anew.")
@click.argument("execution", required=False)
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="A model.tar.gz, or its folder, to ask.")
@click.option("--threshold", type=float, help="Judge by this confidence (0 to 1), not by each decision's own.")
@options
def replay(execution: str | None, model: Path | None, threshold: float | None, env: str | None, as_json: bool) -> None:
    """Replay EXECUTION, or judge everything recorded anew."""
    if bool(execution) == bool(model or threshold):
        raise click.UsageError("name an EXECUTION to rebuild, or --model or --threshold (or both) to judge all anew")
    if execution:
        found = run("replay", {"env": env}, as_json, lambda flow: flow.replay(execution))
        if found.differences:
            raise SconesError(f"execution {execution} was decided otherwise than it is now; see what differs above")
    else:
        run("replay", {"env": env}, as_json, lambda flow: flow.rejudge(model, threshold))


@click.command(help=STEPS["dispatch"])
@click.option(
    "--example-orders",
    metavar="N",
    type=click.IntRange(0, 10_000),
    default=0,
    help="First let N invented orders come in, and put the couriers of the photos classified last on the map.",
)
@options
def dispatch(example_orders: int, env: str | None, as_json: bool) -> None:
    """Dispatch the open orders to the couriers just seen."""
    run("dispatch", {"env": env}, as_json, lambda flow: flow.dispatch(example_orders))


_share = click.FloatRange(0, 1)


@click.command(help=STEPS["simulate"] + " As many orders come in as photos.")
@click.option("--events", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many photos.")
@click.option(
    "--rate", "per_second", type=click.FloatRange(0, 1000), default=20, show_default=True, help="A second; 0: a burst."
)
@click.option("--duplicates", type=_share, default=0.05, show_default=True, help="The share that comes a second time.")
@click.option("--corrupt", type=_share, default=0.02, show_default=True, help="The share that is cut off, or no photo.")
@click.option("--shifted", type=_share, default=0.1, show_default=True, help="The share that is darkened and blurred.")
@options
@yes_option
def simulate(env: str | None, as_json: bool, yes: bool, **stream: Unpack[_Stream]) -> None:
    """Send a stream of events, and account for each."""
    from scones.steps.simulate import Stream

    wanted = Stream(**stream)
    run("simulate", {"env": env}, as_json, lambda flow: flow.simulate(wanted), agreed=yes)
