"""The command line: a thin edge that reads settings, runs one verb, and shows what came of it."""

import errno
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar, Unpack

import click

from scones import __version__
from scones.errors import SconesError
from scones.settings import MODES
from scones.steps import STEPS

if TYPE_CHECKING:
    from scones.evaluation.study import Study
    from scones.flow import Flow
    from scones.steps.monitor import Monitored
    from scones.steps.study import Wanted


class _Wanted(TypedDict):
    """What `evaluate` may be asked for beyond the plain figures."""

    report: Path
    robustness: bool
    load: bool
    against: Path | None
    gate: bool


class _Stream(TypedDict):
    """What `simulate` sends."""

    events: int
    per_second: float
    duplicates: float
    corrupt: float
    shifted: float


Command = TypeVar("Command", bound=Callable[..., object])
Result = TypeVar("Result")

_INTERRUPTED = 130
_SOURCE = """SOURCE is `auto`, `cifar100`, `sample`, or a folder or s3://bucket/prefix with one folder of photos a
class, with or without train/ and test/ above them."""
_NOT_ENOUGH_SPACE = 28


class _InOrder(click.Group):
    """Lists its commands in the order of the flow, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names as they were added."""
        del ctx
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="scones")
def scones() -> None:
    """Tell a courier's bicycle from a motorcycle, and run the whole workflow around that decision.

    Every verb works on AWS, or on a local cloud on this machine: `scones local up` starts one, and from then on the
    verbs of the same --env use it. `scones demo` shows everything at once, and leaves nothing behind.
    """


def _options(command: Command) -> Command:
    """Add what every verb takes."""
    env = click.option("--env", metavar="NAME", help="The environment; several live side by side. [default: dev]")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout.")
    return env(as_json(command))


_yes = click.option("--yes", is_flag=True, help="On AWS: do not ask before making what costs money.")


@scones.command(help=STEPS["stage"] + " " + _SOURCE)
@click.argument("source", required=False)
@click.option("--report", type=click.Path(path_type=Path), default=Path("reports/data.html"), show_default=True)
@_options
@_yes
def stage(source: str | None, report: Path, env: str | None, as_json: bool, yes: bool) -> None:
    """Stage SOURCE."""
    _run("stage", {"env": env, "data": source}, as_json, lambda flow: flow.stage(report), agreed=yes)


@scones.command(help=STEPS["train"])
@click.option("--epochs", type=int, help="Passes over the training photos.")
@click.option("--seed", type=int, help="Everything random starts from it.")
@_options
@_yes
def train(epochs: int | None, seed: int | None, env: str | None, as_json: bool, yes: bool) -> None:
    """Train on what was staged last."""
    flags = {"env": env, "epochs": epochs, "seed": seed}
    _run("train", flags, as_json, lambda flow: flow.train(), agreed=yes)


@scones.command(help=STEPS["up"])
@click.option("--threshold", type=float, help="Below this confidence (0 to 1) a photo is not routed.")
@_options
@_yes
def up(threshold: float | None, env: str | None, as_json: bool, yes: bool) -> None:
    """Bring the stack up."""
    _run("up", {"env": env, "threshold": threshold}, as_json, lambda flow: flow.up(), agreed=yes)


@scones.command(help=STEPS["deploy"])
@click.option("--mode", type=click.Choice(MODES), help="On instances, or serverless.")
@_options
@_yes
def deploy(mode: str | None, env: str | None, as_json: bool, yes: bool) -> None:
    """Deploy what was trained last."""
    _run("deploy", {"env": env, "mode": mode}, as_json, lambda flow: flow.deploy(), agreed=yes)


@scones.command(
    help=STEPS["classify"]
    + " PHOTOS are files; or one folder, or one s3://bucket/prefix, whose photos go through in batches, and the same"
    " command goes on where it was cut off. Without any, the staged test photos are sent."
)
@click.argument("photos", nargs=-1)
@click.option("--plan", type=click.IntRange(1), metavar="COUNT", help="Only say what so many photos take on AWS.")
@_options
def classify(photos: tuple[str, ...], plan: int | None, env: str | None, as_json: bool) -> None:
    """Classify PHOTOS."""
    if plan:
        from scones.plan import plan_batch
        from scones.session import tell_result

        tell_result(plan_batch(plan), as_json=as_json)
    elif len(photos) == 1 and (photos[0].startswith("s3://") or Path(photos[0]).is_dir()):
        _run("classify", {"env": env}, as_json, lambda flow: flow.classify_batch(photos[0]))
    else:
        _run("classify", {"env": env}, as_json, lambda flow: flow.classify([Path(photo) for photo in photos]))


@scones.command(help=STEPS["replay"] + " EXECUTION is a name that `classify` shows; without it, all are judged anew.")
@click.argument("execution", required=False)
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="A model.tar.gz, or its folder, to ask.")
@click.option("--threshold", type=float, help="Judge by this confidence (0 to 1), not by each decision's own.")
@_options
def replay(execution: str | None, model: Path | None, threshold: float | None, env: str | None, as_json: bool) -> None:
    """Replay EXECUTION, or judge everything recorded anew."""
    if bool(execution) == bool(model or threshold):
        raise click.UsageError("name an EXECUTION to rebuild, or --model or --threshold (or both) to judge all anew")
    if execution:
        found = _run("replay", {"env": env}, as_json, lambda flow: flow.replay(execution))
        if found.differences:
            raise SconesError(f"execution {execution} was decided otherwise than it is now; see what differs above")
    else:
        _run("replay", {"env": env}, as_json, lambda flow: flow.judge_again(model, threshold))


@scones.command(help=STEPS["evaluate"])
@click.option(
    "--artefact",
    type=click.Path(exists=True, path_type=Path),
    help="A model.tar.gz, or its folder, to judge instead of the endpoint; no AWS is needed.",
)
@click.option("--data", metavar="SOURCE", help="With --artefact: where its test photos come from, as in `stage`.")
@click.option("--robustness", is_flag=True, help="Also on damaged photos: noise, blur, light, JPEG and others.")
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="Another artefact to compare with.")
@click.option("--load", is_flag=True, help="Also under load: 1, 4, 16 and 64 clients, endpoint and workflow.")
@click.option("--gate", is_flag=True, help="End with 1 when a floor in the settings (gate_...) is missed.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("reports/evaluation.html"), show_default=True)
@_options
@_yes
def evaluate(
    artefact: Path | None, data: str | None, env: str | None, as_json: bool, yes: bool, **wanted: Unpack[_Wanted]
) -> None:
    """Evaluate what was deployed last, or an artefact."""
    from scones.evaluation.gate import require
    from scones.steps.study import Wanted

    flags, asked = {"env": env, "data": data}, Wanted(**wanted)
    if artefact:
        result = _study_artefact(artefact, flags, asked, as_json)
    elif data:
        raise click.UsageError("--data goes with --artefact; an endpoint is asked about the photos staged last")
    else:
        result = _run("evaluate", flags, as_json, lambda flow: flow.study(asked), agreed=yes or not asked.load)
    if asked.gate:
        require(result.gate)


def _study_artefact(artefact: Path, flags: Mapping[str, object], wanted: "Wanted", as_json: bool) -> "Study":
    from scones.context import load
    from scones.flow import study_model
    from scones.session import tell_result
    from scones.terminal import Terminal

    with Terminal() as terminal:
        result = study_model(artefact, load(flags), wanted, terminal)
    tell_result(result, as_json=as_json)
    return result


@scones.command(help=STEPS["monitor"])
@click.option("--acknowledge", is_flag=True, help="Take note of the alarms that stand, so that they may ring anew.")
@click.option("--report", type=click.Path(path_type=Path), help="Also draw all looks over time, as this HTML file.")
@_options
def monitor(acknowledge: bool, report: Path | None, env: str | None, as_json: bool) -> None:
    """Look at what was captured since the last look."""

    def look(flow: "Flow") -> "Monitored":
        found = flow.monitor(acknowledge=acknowledge)
        if report:
            flow.history(report)
        return found

    _run("monitor", {"env": env}, as_json, look)


@scones.command(help=STEPS["dispatch"])
@click.option(
    "--example-orders",
    metavar="N",
    type=click.IntRange(0, 10_000),
    default=0,
    help="First let N invented orders come in, and put the couriers of the photos classified last on the map.",
)
@_options
def dispatch(example_orders: int, env: str | None, as_json: bool) -> None:
    """Dispatch the open orders to the couriers just seen."""
    _run("dispatch", {"env": env}, as_json, lambda flow: flow.dispatch(example_orders))


_share = click.FloatRange(0, 1)


@scones.command(help=STEPS["simulate"] + " As many orders come in as photos.")
@click.option("--events", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many photos.")
@click.option(
    "--rate", "per_second", type=click.FloatRange(0, 1000), default=20, show_default=True, help="A second; 0: a burst."
)
@click.option("--duplicates", type=_share, default=0.05, show_default=True, help="The share that comes a second time.")
@click.option("--corrupt", type=_share, default=0.02, show_default=True, help="The share that is cut off, or no photo.")
@click.option("--shifted", type=_share, default=0.1, show_default=True, help="The share that is darkened and blurred.")
@_options
@_yes
def simulate(env: str | None, as_json: bool, yes: bool, **stream: Unpack[_Stream]) -> None:
    """Send a stream of events, and account for each."""
    from scones.steps.simulate import Stream

    wanted = Stream(**stream)
    _run("simulate", {"env": env}, as_json, lambda flow: flow.simulate(wanted), agreed=yes)


@scones.command(help=STEPS["status"])
@_options
def status(env: str | None, as_json: bool) -> None:
    """Say what stands."""
    _run("status", {"env": env}, as_json, lambda flow: flow.status())


@scones.command(help=STEPS["down"] + " A local cloud is stopped with it.")
@_options
def down(env: str | None, as_json: bool) -> None:
    """Delete everything."""
    from scones.session import end_cloud

    receipt = _run("down", {"env": env}, as_json, lambda flow: flow.down())
    if receipt.left:
        raise SconesError(f"still there: {', '.join(receipt.left)}; run: scones down")
    end_cloud({"env": env})


@scones.command()
@click.option("--data", metavar="SOURCE", help="cifar100, sample or a folder; else CIFAR-100 if it can be reached.")
@click.option("--keep", is_flag=True, help="Leave the local cloud and all in it standing; `scones down` ends it.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("reports/demo.html"), show_default=True)
@_options
def demo(data: str | None, keep: bool, report: Path, env: str | None, as_json: bool) -> None:
    """Run the whole flow on this machine, from nothing, and end with a report and nothing left behind."""
    from scones.context import load
    from scones.demo import run_demo
    from scones.session import tell_result
    from scones.terminal import Terminal

    settings = load({"env": env, "data": data})
    with Terminal() as terminal:
        result = run_demo(settings, terminal, keep_standing=keep, report_path=report)
    tell_result(result, as_json=as_json)


@scones.group(cls=_InOrder)
def local() -> None:
    """Start, stop and use the cloud on this machine: S3, Lambda, Step Functions and SageMaker on 127.0.0.1."""


@local.command("up")
@click.option("--port", type=click.IntRange(1, 65535), help="The port to listen on. [default: a free one]")
@click.option("--durable", is_flag=True, help="Write S3 to disk: what lies there outlives a crash of the cloud.")
@_options
def local_up(port: int | None, durable: bool, env: str | None, as_json: bool) -> None:
    """Start a local cloud for this environment; one that stands already is left as it is."""
    from scones.context import load
    from scones.local.cloud import start
    from scones.session import find_cloud, kept_folder, tell_result

    settings = load({"env": env})
    kept = kept_folder(settings)
    wanted = kept if durable or kept.exists() else None
    cloud = find_cloud(settings) or start(settings.state / settings.env, port=port, owned=False, kept=wanted)
    tell_result({"endpoint_url": cloud.endpoint_url, "state": str(cloud.state), "pid": cloud.pid}, as_json=as_json)


@local.command("down")
@_options
def local_down(env: str | None, as_json: bool) -> None:
    """Stop the local cloud of this environment, with everything in it."""
    from scones.session import end_cloud, tell_result

    tell_result({"stopped": end_cloud({"env": env})}, as_json=as_json)


@local.command("status")
@_options
def local_status(env: str | None, as_json: bool) -> None:
    """Say whether a local cloud stands for this environment, and where."""
    from scones.context import load
    from scones.session import find_cloud, tell_result

    cloud = find_cloud(load({"env": env}))
    found = {"endpoint_url": cloud.endpoint_url, "state": str(cloud.state), "pid": cloud.pid} if cloud else {}
    tell_result({"standing": cloud is not None, **found}, as_json=as_json)


@local.command("env")
@_options
def local_env(env: str | None, as_json: bool) -> None:
    """Print the exports that point boto3 and the aws command at the local cloud: eval "$(scones local env)"."""
    from scones.context import load
    from scones.local.cloud import exports
    from scones.session import find_cloud, tell_result

    settings = load({"env": env})
    cloud = find_cloud(settings)
    if cloud is None:
        raise SconesError(f"no local cloud stands for env {settings.env!r}; run: scones local up --env {settings.env}")
    if as_json:
        tell_result(exports(cloud), as_json=True)
        return
    # A profile that points elsewhere, or nowhere, would win over what follows.
    click.echo("unset AWS_PROFILE")
    for name, value in exports(cloud).items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _run(
    verb: str, flags: Mapping[str, object], as_json: bool, action: "Callable[[Flow], Result]", *, agreed: bool = True
) -> Result:
    """Run one verb of the flow, and show what came of it."""
    from scones.session import open_flow, tell_result

    with open_flow(verb, flags, agreed=agreed) as flow:
        result = action(flow)
    tell_result(result, as_json=as_json)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; each error that was foreseen becomes one line on stderr."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        scones(arguments, standalone_mode=False)
    except SconesError as error:
        click.echo(f"scones: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("scones: stopped; whatever this command had started has been ended", err=True)
        return _INTERRUPTED
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        click.echo(f"scones: the disk is full ({error.filename or error}); free some space and run it again", err=True)
        return _NOT_ENOUGH_SPACE
    return 0


def _as_interrupt(_number: int, _frame: object) -> None:
    """End on SIGTERM as on Ctrl-C, so that everything is cleaned up; a second one changes nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGINT)
