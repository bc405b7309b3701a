"""The verbs that look after an environment: monitor, status, down; and the demo, which is one from end to end."""

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from scones.cli.group import options, run, tell_result
from scones.domain.errors import SconesError
from scones.steps import STEPS

if TYPE_CHECKING:
    from scones.monitoring.performance.labels import LabelResult
    from scones.pipeline import Pipeline
    from scones.steps.monitor import MonitorResult


class _Asked(TypedDict):
    """What `monitor` may be asked for."""

    acknowledge: bool
    labels: Path | None
    learn: int | None
    report: Path | None
    to_label: Path | None


@click.command(help=STEPS["monitor"])
@click.option("--acknowledge", is_flag=True, help="Take note of the alarms that stand, so that they may ring anew.")
@click.option(
    "--learn",
    metavar="DAYS",
    type=click.IntRange(0, 90),
    help="First take the traffic of the last DAYS days, 5 or more, as sound, day and night; 0 forgets that.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Only hold the answers against the labels in this CSV or JSON Lines file: event or photo, and label.",
)
@click.option("--to-label", type=click.Path(path_type=Path), help="Also write photos to label next, as this HTML file.")
@click.option("--report", type=click.Path(path_type=Path), help="Also draw all looks over time, as this HTML file.")
@options
def monitor(env: str | None, as_json: bool, **asked: Unpack[_Asked]) -> None:
    """Look at what was captured since the last look."""

    def look(flow: "Pipeline") -> "MonitorResult | LabelResult":
        if asked["labels"]:
            return flow.label(asked["labels"])
        if asked["learn"] is not None:
            flow.learn(asked["learn"])
        found = flow.monitor(acknowledge=asked["acknowledge"])
        if asked["to_label"]:
            flow.to_label(asked["to_label"])
        if asked["report"]:
            flow.history(asked["report"])
        return found

    run("monitor", {"env": env}, as_json, look)


class _Cost(TypedDict):
    """What `cost` estimates; None keeps the estimate's own default."""

    photos: int | None
    mode: str | None
    instance: str | None
    instances: int | None
    hours: float | None
    memory_mb: int | None
    kms: bool | None


@click.command(help=STEPS["cost"] + " Without options: a million photos by every mode.")
@click.option("--photos", type=click.IntRange(1), help="How many. [default: 1000000]")
@click.option("--mode", type=click.Choice(["realtime", "serverless", "batch"]), help="[default: realtime]")
@click.option("--instance", metavar="TYPE", help="The endpoint's instances. [default: ml.m5.xlarge]")
@click.option("--instances", type=click.IntRange(1), help="How many stand; batches plan their own. [default: 1]")
@click.option("--hours", type=float, help="How long they stand. [default: while they are busy]")
@click.option("--memory", "memory_mb", type=click.IntRange(1024, 6144), help="MB, of serverless. [default: 2048]")
@click.option("--kms", is_flag=True, default=None, help="With a KMS key of your own.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout.")
def cost(as_json: bool, **options: Unpack[_Cost]) -> None:
    """Estimate what the options say."""
    import msgspec

    from scones.deployment.pricing import Workload, cost_table, estimate

    given = {name: value for name, value in options.items() if value is not None}
    tell_result(estimate(msgspec.convert(given, Workload)) if given else cost_table(), as_json=as_json)


@click.command(help=STEPS["status"])
@options
def status(env: str | None, as_json: bool) -> None:
    """Say what stands."""
    run("status", {"env": env}, as_json, lambda flow: flow.status())


@click.command(help=STEPS["down"] + " A local cloud is stopped with it.")
@click.option(
    "--keep-data", is_flag=True, help="Keep the bucket: photos, models and records. A local cloud stays, too."
)
@options
def down(keep_data: bool, env: str | None, as_json: bool) -> None:
    """Delete everything."""
    from scones.cli.local_cloud import end_cloud

    receipt = run("down", {"env": env}, as_json, lambda flow: flow.down(keep_data=keep_data))
    if receipt.remaining:
        raise SconesError(f"still there: {', '.join(receipt.remaining)}; run: scones down")
    if not keep_data:
        end_cloud({"env": env})


@click.command()
@click.option("--data", metavar="SOURCE", help="cifar100, sample or a folder; else CIFAR-100 if it can be reached.")
@click.option("--keep", is_flag=True, help="Leave the local cloud and all in it standing; `scones down` ends it.")
@click.option(
    "--report", type=click.Path(path_type=Path), default=Path("reports/demo.html"), show_default=True, help="The page."
)
@options
def demo(data: str | None, keep: bool, report: Path, env: str | None, as_json: bool) -> None:
    """Run the whole flow on this machine, from nothing, and end with a report and nothing left behind."""
    from scones.cli.demo import run_demo
    from scones.cli.session import Terminal
    from scones.config.loading import load

    settings = load({"env": env, "data": data})
    with Terminal() as terminal:
        result = run_demo(settings, terminal, keep_standing=keep, report_path=report)
    tell_result(result, as_json=as_json)
