"""Session: one verb at work: its settings, where it acts, and what it shows."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from scones.aws.client import Credentials
from scones.aws.connection import connect
from scones.context import load
from scones.costs import price_of
from scones.errors import SconesError
from scones.flow import Flow, go_on
from scones.local.cloud import Cloud, forget, refuse_dead, standing, stop
from scones.settings import Settings
from scones.show import show
from scones.terminal import Terminal

LOCAL_KEYS = Credentials("local", "local")

Flags = Mapping[str, object]


class NotAgreed(SconesError):
    """The user was told what a verb costs on AWS, and did not want it."""

    def __init__(self) -> None:
        super().__init__("nothing was made; to work without AWS, run: scones local up")


def find_cloud(settings: Settings) -> Cloud | None:
    """Find the local cloud that stands for this environment."""
    return standing(settings.state / settings.env)


def kept_folder(settings: Settings) -> Path:
    """Where this environment's durable local cloud writes its S3."""
    return settings.state / f"{settings.env}.s3"


@contextmanager
def open_flow(verb: str, flags: Flags, *, agreed: bool) -> Iterator[Flow]:
    """Open the environment: the endpoint that was named, else the local cloud that stands for it, else AWS.

    Raises:
        CloudDied: the local cloud that stood for it was killed; AWS is not meant.
        NotAgreed: the verb costs money on AWS, and the user, asked, did not go on.
    """
    settings = load(flags)
    cloud = None if settings.endpoint_url else find_cloud(settings)
    if not (cloud or settings.endpoint_url):
        refuse_dead(settings.state / settings.env)
    if cloud:
        settings = replace(settings, endpoint_url=cloud.endpoint_url, region=cloud.region)
    aws = connect(settings, LOCAL_KEYS if cloud else None)
    where = settings.endpoint_url or f"AWS account {aws.account}, {aws.region}"
    click.echo(f"{verb}: environment {settings.env} on {where}", err=True)
    ask = not (settings.endpoint_url or agreed)
    # `up` says its own price, and asks once the changes have been shown.
    price = price_of(verb, settings) if ask and verb != "up" else ""
    if price and not click.confirm(f"{verb} costs money on AWS: {price} Go on?", err=True):
        raise NotAgreed
    with Terminal() as terminal:
        yield Flow(aws, settings, terminal, _Asks(terminal) if ask else go_on)


class _Asks:
    """Asks once whether to make what was shown: bringing a stack up takes two change sets."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._agreed = False

    def __call__(self) -> None:
        with self._terminal.paused():
            self._agreed = self._agreed or click.confirm("this costs money on AWS: go on?", err=True)
        if not self._agreed:
            raise NotAgreed


def end_cloud(flags: Flags) -> bool:
    """Stop the local cloud of the environment; tell whether there was one."""
    settings = load(flags)
    cloud = find_cloud(settings)
    if cloud:
        stop(cloud)
    forget(settings.state / settings.env)
    # A durable cloud that was killed left it.
    shutil.rmtree(kept_folder(settings), ignore_errors=True)
    return cloud is not None


def tell_result(result: object, *, as_json: bool) -> None:
    """Print *result* on stdout: one JSON object, or a few lines for a person."""
    click.echo(msgspec.json.encode(result).decode() if as_json else show(result))
