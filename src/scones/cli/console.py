"""The command `scones console`: serve the web console of an environment on this machine."""

import logging
import threading
from typing import TYPE_CHECKING

import click

from scones.cli.group import options, show_in_browser
from scones.cli.output import echo

if TYPE_CHECKING:
    from scones.console.server import ConsoleServer
    from scones.pipeline import Pipeline


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. [default: 8765, or any free port]")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address of this machine to listen on; another than the default is reached from the network, unencrypted.",
)
@click.option("--read-only", is_flag=True, help="Show everything, and refuse every action.")
@click.option("--no-browser", is_flag=True, help="Only print the address; do not open a browser.")
@options
def console(  # noqa: PLR0913 - one parameter for each option
    port: int | None, host: str, read_only: bool, no_browser: bool, env: str | None, as_json: bool
) -> None:
    """Open the web console: see the workflow, decide photos, deploy and roll back models. Ctrl-C ends it."""
    from scones.cli.session import require_extra
    from scones.config.settings import load

    require_extra("console")
    from scones.cli.group import tell_result
    from scones.cli.render import render
    from scones.console.app import Console
    from scones.console.server import HOST, ConsoleServer

    logging.basicConfig(format="scones: %(message)s")
    region = click.get_current_context().meta.get("region")
    flags = {"env": env, "region": region}
    page = Console(lambda: _connect(flags), render, load(flags).env)
    server = ConsoleServer(page, host=host, port=port, read_only=read_only)
    url = server.url
    if as_json:
        tell_result({"url": url, "read_only": read_only}, as_json=True)
    else:
        echo(f"console of environment {load(flags).env}: {url}")
        echo("the link works once, in one browser; Ctrl-C ends the console", err=True)
    if host != HOST:
        echo(f"warning: whoever reaches {host} on the network can read what is sent: it is not encrypted", err=True)
    if not no_browser:
        threading.Thread(target=show_in_browser, args=(url,), daemon=True).start()
    _serve(server)


def _serve(server: "ConsoleServer") -> None:
    try:
        server.serve()
    except KeyboardInterrupt:
        for job in server.console.jobs.running():
            echo(f"{job.title}: not finished; what it started in the account continues; see: scones status", err=True)
        echo("console ended", err=True)


def _connect(flags: dict[str, str | None]) -> "Pipeline":
    """Connect to the environment as every command does; the console asks again after it lost the connection."""
    from scones.cli.session import connect_environment
    from scones.domain.progress import Silent
    from scones.pipeline import Pipeline

    settings, aws = connect_environment(flags)
    return Pipeline(aws, settings, Silent())
