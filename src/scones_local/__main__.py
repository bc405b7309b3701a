"""The command of the local cloud: python -m scones_local up, env, status, down."""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from scones_local.cloud import (
    ACCOUNT,
    Cloud,
    LocalCloudError,
    Programs,
    detach,
    exports,
    find,
    forget,
    has_died,
    start,
    stop,
)

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "scones_local" / "default"


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    asked = _parser().parse_args(arguments)
    cloud = find(asked.state)
    try:
        if asked.command == "up":
            cloud = cloud or _up(asked)
    except LocalCloudError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if asked.command == "down":
        if cloud:
            stop(cloud)
        forget(asked.state)
        return 0
    if cloud is None and asked.command == "env":
        sys.stderr.write(f"error: no local cloud runs in {asked.state}; start one: python -m scones_local up\n")
        return 1
    sys.stdout.write(_exports(cloud) if cloud and asked.command == "env" else _status(cloud, asked.state))
    return 0 if cloud else 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m scones_local", description="A local AWS cloud on 127.0.0.1.")
    parser.add_argument("--state", type=Path, default=STATE, help="folder of all its files (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it, unless it runs")
    up.add_argument("--port", type=int, help="port to listen on (default: any free port)")
    up.add_argument("--account", default=ACCOUNT, help="number of the account, 12 digits (default: %(default)s)")
    up.add_argument("--s3", type=Path, help="folder that keeps S3's objects when the cloud crashes")
    up.add_argument("--image-prefix", default="", help="run programs for images of repositories that begin with it")
    for name in ("train", "serve"):
        up.add_argument(f"--{name}", default="", type=shlex.split, help=f"the program for SageMaker's `{name}`")
    what = "the program that trains in place of SageMaker's built-in algorithm image-classification"
    up.add_argument("--image-classification", default="", type=shlex.split, help=what)
    commands.add_parser("env", help='print what points AWS clients at it: eval "$(python -m scones_local env)"')
    commands.add_parser("status", help="say whether it runs; exit status 3 if it does not")
    commands.add_parser("down", help="stop it, and delete everything in it")
    return parser


def _up(asked: argparse.Namespace) -> Cloud:
    trainer = tuple(asked.image_classification)
    programs = Programs(asked.image_prefix, tuple(asked.train), tuple(asked.serve), trainer)
    cloud = start(asked.state, port=asked.port, programs=programs, s3_folder=asked.s3, account=asked.account)
    detach(cloud)
    return cloud


def _exports(cloud: Cloud) -> str:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports(cloud).items()]
    return "\n".join(["unset AWS_PROFILE", *lines]) + "\n"


def _status(cloud: Cloud | None, state: Path) -> str:
    if cloud is None:
        return json.dumps({"running": False, "died": has_died(state)}) + "\n"
    found = {"endpoint_url": cloud.endpoint_url, "account": cloud.account, "state": str(cloud.state)}
    return json.dumps({"running": True, **found, "pid": cloud.pid}) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
