"""The command line: a thin edge that reads settings, runs one verb, and shows what came of it."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scones import __version__
from scones.errors import SconesError
from scones.steps import STEPS

if TYPE_CHECKING:  # each verb loads what it needs, so that `scones --help` is quick
    from scones.flow import Flow
    from scones.local.cloud import Cloud
    from scones.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

_INTERRUPTED = 130
_NOT_ENOUGH_SPACE = 28


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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


@scones.command(help=STEPS["stage"])
@click.argument("source", required=False)
@_options
@_yes
def stage(source: str | None, env: str | None, as_json: bool, yes: bool) -> None:
    """Stage SOURCE: `auto`, `cifar100`, `sample` or a folder with one folder of photos a class."""
    _run("stage", lambda flow: flow.stage(), {"env": env, "data": source}, as_json, yes=yes)


@scones.command(help=STEPS["train"])
@click.option("--epochs", type=int, help="Passes over the training photos.")
@click.option("--seed", type=int, help="Everything random starts from it.")
@_options
@_yes
def train(epochs: int | None, seed: int | None, env: str | None, as_json: bool, yes: bool) -> None:
    """Train."""
    _run("train", lambda flow: flow.train(), {"env": env, "epochs": epochs, "seed": seed}, as_json, yes=yes)


@scones.command(help=STEPS["up"])
@click.option("--threshold", type=float, help="Below this confidence (0 to 1) a photo is not routed.")
@_options
@_yes
def up(threshold: float | None, env: str | None, as_json: bool, yes: bool) -> None:
    """Up."""
    _run("up", lambda flow: flow.up(), {"env": env, "threshold": threshold}, as_json, yes=yes)


@scones.command(help=STEPS["deploy"])
@_options
@_yes
def deploy(env: str | None, as_json: bool, yes: bool) -> None:
    """Deploy."""
    _run("deploy", lambda flow: flow.deploy(), {"env": env}, as_json, yes=yes)


@scones.command(help=STEPS["classify"] + " PHOTOS are files; without any, the staged test photos are sent.")
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@_options
def classify(photos: tuple[Path, ...], env: str | None, as_json: bool) -> None:
    """Classify."""
    _run("classify", lambda flow: flow.classify(photos), {"env": env}, as_json)


@scones.command(help=STEPS["evaluate"])
@_options
def evaluate(env: str | None, as_json: bool) -> None:
    """Evaluate."""
    _run("evaluate", lambda flow: flow.evaluate(), {"env": env}, as_json)


@scones.command(help=STEPS["monitor"])
@_options
def monitor(env: str | None, as_json: bool) -> None:
    """Monitor."""
    _run("monitor", lambda flow: flow.monitor(), {"env": env}, as_json)


@scones.command(help=STEPS["dispatch"])
@_options
def dispatch(env: str | None, as_json: bool) -> None:
    """Dispatch."""
    _run("dispatch", lambda flow: flow.dispatch(), {"env": env}, as_json)


@scones.command(help=STEPS["status"])
@_options
def status(env: str | None, as_json: bool) -> None:
    """Status."""
    _run("status", lambda flow: flow.status(), {"env": env}, as_json)


@scones.command(help=STEPS["down"] + " A local cloud is stopped with it.")
@_options
def down(env: str | None, as_json: bool) -> None:
    """Down."""
    receipt = _run("down", lambda flow: flow.down(), {"env": env}, as_json, stop_local=True)
    if receipt.left:
        raise SconesError(f"still there: {', '.join(receipt.left)}; run: scones down")


@scones.command()
@click.option("--data", metavar="SOURCE", help="cifar100, sample or a folder; else CIFAR-100 if it can be reached.")
@click.option("--keep", is_flag=True, help="Leave the local cloud and all in it standing; `scones down` ends it.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("reports/demo.html"), show_default=True)
@_options
def demo(data: str | None, keep: bool, report: Path, env: str | None, as_json: bool) -> None:
    """Run the whole flow on this machine, from nothing, and end with a report and nothing left behind."""
    from scones.context import load
    from scones.demo import run_demo
    from scones.terminal import Terminal

    # The demo always works on a local cloud of its own, whatever the environment points at.
    settings = load({"env": env, "data": data})
    with Terminal() as terminal:
        result = run_demo(settings, terminal, keep=keep, report_path=report)
    _show("demo", result, as_json)


@scones.group()
def local() -> None:
    """Start, stop and use the cloud on this machine: S3, Lambda, Step Functions, SageMaker and the rest on 127.0.0.1."""


@local.command("up")
@click.option("--port", type=click.IntRange(1, 65535), help="The port to listen on. [default: a free one]")
@_options
def local_up(port: int | None, env: str | None, as_json: bool) -> None:
    """Start a local cloud for this environment; one that stands already is left as it is."""
    from scones.local.cloud import start

    settings = _settings({"env": env})
    cloud = _standing(settings) or start(settings.state / settings.env, port=port, owned=False)
    _show("local", {"endpoint_url": cloud.endpoint_url, "state": str(cloud.state), "pid": cloud.pid}, as_json)


@local.command("down")
@_options
def local_down(env: str | None, as_json: bool) -> None:
    """Stop the local cloud of this environment, with everything in it."""
    from scones.local.cloud import stop

    cloud = _standing(_settings({"env": env}))
    if cloud:
        stop(cloud)
    _show("local", {"stopped": cloud is not None}, as_json)


@local.command("status")
@_options
def local_status(env: str | None, as_json: bool) -> None:
    """Say whether a local cloud stands for this environment, and where."""
    cloud = _standing(_settings({"env": env}))
    found = {"endpoint_url": cloud.endpoint_url, "state": str(cloud.state), "pid": cloud.pid} if cloud else {}
    _show("local", {"standing": cloud is not None, **found}, as_json)


@local.command("env")
@_options
def local_env(env: str | None, as_json: bool) -> None:
    """Print the exports that point boto3 and the aws command at the local cloud: eval "$(scones local env)"."""
    from scones.local.cloud import exports

    settings = _settings({"env": env})
    cloud = _standing(settings)
    if cloud is None:
        raise SconesError(f"no local cloud stands for env {settings.env!r}; run: scones local up --env {settings.env}")
    if as_json:
        _show("local", exports(cloud), as_json)
        return
    for name, value in exports(cloud).items():
        click.echo(f"export {name}={value}")


def _settings(flags: dict[str, object]) -> "Settings":
    from scones.context import load

    return load(flags)


def _standing(settings: "Settings") -> "Cloud | None":
    from scones.local.cloud import standing

    return standing(settings.state / settings.env)


def _run(
    verb: str,
    action: "Callable[[Flow], Any]",
    flags: dict[str, object],
    as_json: bool,
    *,
    yes: bool = True,
    stop_local: bool = False,
) -> Any:
    """Run one verb of the flow and show its result."""
    with _flow(flags, verb, yes=yes, stop_local=stop_local) as flow:
        result = action(flow)
    _show(verb, result, as_json)
    return result


@contextmanager
def _flow(flags: dict[str, object], verb: str, *, yes: bool, stop_local: bool) -> "Iterator[Flow]":
    """Open the environment: AWS, an endpoint that was named, or the local cloud that stands for it."""
    from dataclasses import replace

    from scones.aws.client import Credentials
    from scones.aws.connection import connect
    from scones.flow import Flow
    from scones.terminal import Terminal

    settings = _settings(flags)
    credentials = None
    cloud = None if settings.endpoint_url else _standing(settings)
    if cloud:
        settings = replace(settings, endpoint_url=cloud.endpoint_url, region=cloud.region)
        credentials = Credentials("local", "local")
    aws = connect(settings, credentials)
    where = settings.endpoint_url or f"AWS account {aws.account}, {aws.region}"
    with Terminal() as terminal:
        terminal.tell(f"{verb}: environment {settings.env} on {where}")
        if settings.endpoint_url is None and not yes:
            _ask_first(verb)
        yield Flow(aws, settings, terminal)
    if cloud and stop_local:
        from scones.local.cloud import stop

        stop(cloud)


def _ask_first(verb: str) -> None:
    from scones.costs import price_of

    if not click.confirm(f"{verb} costs money on AWS: {price_of(verb)} Go on?", err=True):
        raise SconesError("nothing was made; to work without AWS, run: scones local up")


def _show(verb: str, result: object, as_json: bool) -> None:
    import msgspec

    from scones.show import show

    if as_json:
        click.echo(msgspec.json.encode(result).decode())
    else:
        click.echo(show(verb, result))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; each error that was foreseen becomes one line on stderr."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        scones(arguments, standalone_mode=False)
    except SconesError as error:
        click.echo(f"scones: {error}", err=True)
        return 1
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
