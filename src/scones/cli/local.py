"""The commands of `scones local`."""

import shlex
from typing import TYPE_CHECKING

import click

from scones.cli.group import InOrder, options, tell_result
from scones.cli.output import echo
from scones.domain.errors import SconesError

if TYPE_CHECKING:
    from scones_local.cloud import Cloud


@click.group(cls=InOrder)
def local() -> None:
    """Start, stop and use a local cloud: S3, Lambda, Step Functions and SageMaker on 127.0.0.1."""


@local.command("up")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. [default: any free port]")
@click.option("--durable", is_flag=True, help="Write S3 to disk, so that its objects survive a crash of the cloud.")
@click.option("--account", help="Number of the account that all ARNs name, 12 digits. [default: 000000000000]")
@options
def local_up(port: int | None, durable: bool, account: str | None, env: str | None, as_json: bool) -> None:
    """Start a local cloud for this environment, unless one is running."""
    from scones.cli.session import start_cloud
    from scones.config.settings import load

    cloud = start_cloud(load({"env": env}), port=port, durable=durable, account=account)
    tell_result(_described(cloud), as_json=as_json)


def _described(cloud: "Cloud") -> dict[str, object]:
    return {"endpoint_url": cloud.endpoint_url, "account": cloud.account, "state": str(cloud.state), "pid": cloud.pid}


@local.command("down")
@click.option("--yes", is_flag=True, help="Do not ask before deleting what --durable wrote to disk.")
@options
def local_down(yes: bool, env: str | None, as_json: bool) -> None:
    """Stop the local cloud of this environment and delete everything in it."""
    from scones.cli.session import Terminal, confirm_name, durable_folder, end_cloud
    from scones.config.settings import load

    settings = load({"env": env})
    folder = durable_folder(settings)
    if folder.exists() and not yes:
        terminal = Terminal()
        terminal.tell(
            f"this deletes all objects that the local cloud of environment {settings.env!r} keeps in {folder}"
        )
        confirm_name(terminal, settings.env, "scones local down")
    tell_result({"stopped": end_cloud({"env": env})}, as_json=as_json)


@local.command("status")
@options
def local_status(env: str | None, as_json: bool) -> None:
    """Show whether a local cloud runs for this environment, and its address."""
    from scones.cli.session import find_cloud
    from scones.config.settings import load

    cloud = find_cloud(load({"env": env}))
    tell_result({"running": cloud is not None, **(_described(cloud) if cloud else {})}, as_json=as_json)


@local.command("env")
@options
def local_env(env: str | None, as_json: bool) -> None:
    """Print the exports that make boto3 and the aws command use the local cloud: eval "$(scones local env)"."""
    from scones.cli.session import find_cloud
    from scones.config.settings import load
    from scones_local.cloud import exports

    settings = load({"env": env})
    cloud = find_cloud(settings)
    if cloud is None:
        raise SconesError(
            f"no local cloud runs for environment {settings.env!r}; run: scones local up --env {settings.env}"
        )
    if as_json:
        tell_result(exports(cloud), as_json=True)
        return
    # A profile would take precedence over these variables.
    echo("unset AWS_PROFILE")
    for name, value in exports(cloud).items():
        echo(f"export {name}={shlex.quote(value)}")
