"""Commands about the whole environment: monitor, cost, status, down and demo."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from scones.cli.group import Number, WrittenPath, open_option, open_page, options, run, tell_result
from scones.cli.output import echo
from scones.domain.errors import SconesError
from scones.steps import STEPS

if TYPE_CHECKING:
    from scones.monitoring.inspect import MonitorResult
    from scones.monitoring.performance.labels import LabelResult
    from scones.pipeline import Pipeline
    from scones.steps.down import TeardownReport
    from scones.steps.logs import LogLines


class _MonitorOptions(TypedDict):
    """The options of `monitor`."""

    acknowledge: bool
    labels: Path | None
    learn: int | None
    to_label: Path | None
    endpoint: str | None
    capture: str | None
    classes: str | None
    first: int | None


def _observed(options: _MonitorOptions) -> tuple[str | None, str | None]:
    """The endpoint that Scones did not make, and its capture, if the options name one."""
    endpoint, capture = options["endpoint"], options["capture"]
    others = [name for name in ("learn", "labels", "to_label") if options[name] is not None]
    if bool(endpoint) != bool(capture) or ((options["classes"] or options["first"]) and not endpoint):
        raise click.UsageError("--endpoint and --capture go together; --classes and --first need both")
    if endpoint and others:
        raise click.UsageError(f"--{others[0].replace('_', '-')} is for the environment's own endpoint")
    return endpoint, capture


def _keep(flow: "Pipeline", found: "MonitorResult") -> "MonitorResult":
    """Write the page of an alert into the folder of the reports, and open it if that is asked for."""
    open_page(flow.alert_page(found) or "")
    return found


@click.command(help=STEPS["monitor"])
@click.option("--acknowledge", is_flag=True, help="Acknowledge active alarms so that they can fire again.")
@click.option(
    "--learn",
    metavar="DAYS",
    type=click.IntRange(0, 90),
    help="First make the traffic of the last DAYS days (5 or more) the baseline; 0 returns to the training photos.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Old name of `scones review import`, until the release after 0.2.",
)
@click.option(
    "--to-label",
    type=WrittenPath(".csv", ".json"),
    help="Old name of `scones review export`, until the release after 0.2.",
)
@click.option("--endpoint", metavar="NAME", help="Monitor this endpoint, which Scones did not make; needs --capture.")
@click.option("--capture", metavar="s3://...", help="With --endpoint: the destination of its data capture.")
@click.option(
    "--classes", metavar="A,B,...", help="With --endpoint: the classes in the order of its answers. [as staged]"
)
@click.option(
    "--first",
    metavar="N",
    type=click.IntRange(40, 10_000),
    help="With --endpoint: make the first N captured photos the baseline, not its answers to the staged photos.",
)
@open_option
@options
def monitor(env: str | None, as_json: bool, **options: Unpack[_MonitorOptions]) -> None:
    """Check the traffic captured since the last run."""

    endpoint, capture = _observed(options)
    for old, new in (("labels", "import"), ("to_label", "export")):
        if options[old]:  # type: ignore[literal-required]
            echo(f"warning: --{old.replace('_', '-')} is now: scones review {new}", err=True)

    def check(flow: "Pipeline") -> "MonitorResult | LabelResult":
        if endpoint and capture:
            classes = [name.strip() for name in (options["classes"] or "").split(",") if name.strip()]
            first, acknowledge = options["first"] or 0, options["acknowledge"]
            found = flow.observe(endpoint, capture, classes, first=first, acknowledge=acknowledge)
            return _keep(flow, found)
        if options["labels"]:
            return flow.label(options["labels"])
        if options["learn"] is not None:
            flow.learn(options["learn"])
        found = _keep(flow, flow.monitor(acknowledge=options["acknowledge"]))
        if options["to_label"]:
            flow.to_label(options["to_label"])
        return found

    run("monitor", {"env": env}, as_json, check)


class _CostOptions(TypedDict):
    """The options of `cost`; None keeps the default of the estimate."""

    photos: int | None
    mode: str | None
    instance: str | None
    instances: int | None
    hours: float | None
    memory_mb: int | None
    kms: bool | None


class _DemoOptions(TypedDict):
    """The flags of `demo`."""

    keep: bool
    loop: bool


@click.command(help=STEPS["cost"] + " Without options: one million photos in each mode.")
@click.option("--photos", type=click.IntRange(1), help="Number of photos. [default: 1000000]")
@click.option(
    "--mode",
    type=click.Choice(["realtime", "serverless", "batch"]),
    help="How the endpoint runs. [default: the setting mode]",
)
@click.option(
    "--instance", metavar="TYPE", help="Instance type of the endpoint. [default: the setting endpoint_instance]"
)
@click.option(
    "--instances",
    type=click.IntRange(1),
    help="Number of instances; batch mode computes it. [default: the setting endpoint_instances]",
)
@click.option("--hours", type=Number(0, min_open=True), help="Hours that the instances run. [default: while busy]")
@click.option(
    "--memory",
    "memory_mb",
    type=click.IntRange(1024, 6144),
    help="Memory of a serverless endpoint, in MB. [default: the setting serverless_memory_mb]",
)
@click.option("--kms", is_flag=True, default=None, help="Include a KMS key of your own.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout.")
def cost(as_json: bool, **options: Unpack[_CostOptions]) -> None:
    """Estimate the cost of the given workload."""
    from scones.config.settings import load
    from scones.deployment.pricing import cost

    tell_result(cost(load({}), **options), as_json=as_json)


_FOLLOW_SECONDS = 5.0
"""Between two looks: CloudWatch answers 5 calls a second in most regions, and each log takes one."""
_FOLLOWED_LINES = 10_000


class _LogOptions(TypedDict):
    """The options of `logs`."""

    since: str
    photo: str | None
    execution: str | None
    errors: bool
    limit: int


@click.command(
    help=STEPS["logs"] + " FUNCTION is for example classify, workflow, endpoint or training. [default: everything]"
)
@click.argument("functions", metavar="[FUNCTION]...", nargs=-1)
@click.option(
    "--since", metavar="TIME", default="1h", show_default=True, help="30m, 1h, 2d, or a time such as 2026-11-30T14:00."
)
@click.option("--photo", metavar="SHA256", help="Only the lines about this photo; 12 digits are enough.")
@click.option("--execution", metavar="NAME", help="Only those of this execution, from upload to decision.")
@click.option("--errors", is_flag=True, help="Only errors; that a photo is refused or waits for a person is none.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The newest N lines.")
@click.option("--follow", is_flag=True, help="Go on showing new lines until Ctrl-C.")
@options
def logs(
    functions: tuple[str, ...], env: str | None, as_json: bool, follow: bool, **chosen: Unpack[_LogOptions]
) -> None:
    """Show log lines."""
    if follow and as_json:
        raise click.UsageError("--follow shows lines as they come, and --json prints one object: leave out one of them")

    def show(flow: "Pipeline") -> "LogLines":
        found = flow.logs(functions, **chosen)
        begin = found.begin()
        if follow:
            tell_result(found, as_json=False)
        while follow:
            before = found
            time.sleep(_FOLLOW_SECONDS)
            # CloudWatch may take a minute to show an event.
            chosen["since"], chosen["limit"] = "2m", _FOLLOWED_LINES
            found = flow.logs(functions, **chosen)
            fresh = found.unseen(before, begin)
            if fresh.lines:
                tell_result(fresh, as_json=False)
        return found

    run("logs", {"env": env}, as_json, show)


@click.command(help=STEPS["status"])
@options
def status(env: str | None, as_json: bool) -> None:
    """Show the environment."""
    run("status", {"env": env}, as_json, lambda flow: flow.status())


@click.command(help=STEPS["down"] + " Also stops the local cloud. Says what is deleted, and asks first.")
@click.option(
    "--keep-data", is_flag=True, help="Keep the bucket with photos, models and records; a local cloud keeps running."
)
@click.option("--yes", is_flag=True, help="Do not ask for the environment's name before deleting anything.")
@options
def down(keep_data: bool, yes: bool, env: str | None, as_json: bool) -> None:
    """Delete everything."""
    from scones.cli.session import end_cloud

    def delete(flow: "Pipeline") -> "TeardownReport":
        return flow.down(keep_data=keep_data, confirm=None if yes else flow.agree)

    receipt = run("down", {"env": env}, as_json, delete, agreed=yes)
    if receipt.remaining:
        raise SconesError(f"not deleted: {', '.join(receipt.remaining)}; run again: scones down")
    if not keep_data:
        end_cloud({"env": env})


@click.command()
@click.option(
    "--data", metavar="SOURCE", help="cifar100, sample or a folder. [default: CIFAR-100 if available, else sample]"
)
@click.option(
    "--keep", is_flag=True, help="Keep the local cloud and everything in it running; `scones down` deletes it."
)
@click.option(
    "--loop",
    is_flag=True,
    help="Then change the camera, label photos and retrain; a second retraining, on poisoned labels, is refused.",
)
@click.option(
    "--report",
    type=WrittenPath(),
    default=Path("reports/demo.html"),
    show_default=True,
    help="Path of the report.",
)
@open_option
@options
def demo(env: str | None, as_json: bool, data: str | None, report: Path, **chosen: Unpack[_DemoOptions]) -> None:
    """Run the whole workflow on this machine, write a report, and delete everything else again."""
    from scones.cli.demo import run_demo
    from scones.cli.session import Terminal
    from scones.config.settings import load

    settings = load({"env": env, "data": data})
    with Terminal() as terminal:
        result = run_demo(settings, terminal, keep_standing=chosen["keep"], report_path=report, loop=chosen["loop"])
    tell_result(result, as_json=as_json)
    first = "" if chosen["keep"] else f"scones demo --keep --env {settings.env}, then "
    echo(f"to see it in the browser: {first}scones console --env {settings.env}", err=True)
