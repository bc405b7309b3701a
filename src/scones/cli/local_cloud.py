"""The local cloud of an environment: the programs that it runs in place of our image, and how it is found and ended."""

import sys
from collections.abc import Mapping
from pathlib import Path

import scones_local.cloud as local_cloud
from scones.config.loading import load
from scones.config.settings import Settings
from scones.domain.errors import CommandError
from scones_local.cloud import Cloud, Programs
from scones_local.folders import remove_folder

PROGRAMS = Programs(
    image_prefix="scones",
    train=(sys.executable, "-m", "scones.training"),
    serve=(sys.executable, "-m", "scones.serving"),
    variables={"SCONES_BIND_HOST": local_cloud.HOST},
    hidden=("SCONES_",),
)
"""Images of repositories named scones... stand for this package; its settings come from the cloud's clients alone."""


class CloudDied(CommandError):
    """The environment's local cloud has ended without `scones local down`; its user must not reach AWS by mistake."""

    def __init__(self, env: str) -> None:
        super().__init__(
            f"the local cloud of environment {env!r} has died, with all data that was not durable; to start another, "
            f"run: scones local up --env {env}; to use AWS from now on, run: scones local down --env {env}"
        )


def find_cloud(settings: Settings) -> Cloud | None:
    """The local cloud of this environment, if it runs."""
    return local_cloud.find(settings.state / settings.env)


def has_died(settings: Settings) -> bool:
    """Whether this environment had a local cloud that was killed."""
    return local_cloud.has_died(settings.state / settings.env)


def start_cloud(settings: Settings, *, port: int | None = None, durable: bool = False) -> Cloud:
    """Start the local cloud of this environment unless it runs already; it runs until `end_cloud`."""
    folder = _s3_folder(settings)
    s3_folder = folder if durable or folder.exists() else None
    return find_cloud(settings) or local_cloud.start(
        settings.state / settings.env, port=port, owned=False, programs=PROGRAMS, s3_folder=s3_folder
    )


def end_cloud(flags: Mapping[str, object]) -> bool:
    """Stop the local cloud of the environment; returns whether there was one."""
    settings = load(flags)
    cloud = find_cloud(settings)
    if cloud:
        local_cloud.stop(cloud)
    local_cloud.forget(settings.state / settings.env)
    # A durable cloud that was killed left it.
    remove_folder(_s3_folder(settings))
    return cloud is not None


def _s3_folder(settings: Settings) -> Path:
    """Where this environment's durable local cloud writes its S3."""
    return settings.state / f"{settings.env}.s3"
