"""Another process that holds an environment's lock, until it is told to end or is killed.

Usage: python holding.py ENDPOINT_URL ENV KEY_ID SECRET
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from access_keys import KEY
from scones.aws.client import Credentials
from scones.aws.connection import Aws, connect
from scones.config.settings import Settings
from scones.deployment.lock import deployment_lock
from scones.domain.progress import Silent


@contextmanager
def holding(aws: Aws, settings: Settings) -> Iterator["subprocess.Popen[str]"]:
    """Start it; it deploys, as it says."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, __file__, str(settings.endpoint_url), aws.env, *KEY]
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def hold(url: str, env: str, *key: str) -> None:
    """Be it."""
    aws = connect(replace(Settings(), env=env, endpoint_url=url), Credentials(*key))
    with deployment_lock(aws, "deploy", 600, Silent()):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    hold(*sys.argv[1:])
