"""Two commands of one environment at once, each a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holding import holding
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud, exports

SCONES = Path(sys.executable).with_name("scones")


@pytest.mark.slow
def test_the_second_is_told_and_goes_on_once_the_first_was_killed(
    own_flow: Pipeline, cloud: Cloud, tmp_path: Path
) -> None:
    """While another process deploys, `scones deploy` ends with 1 and one line; after its kill -9, the same deploys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCONES_"))}
    home = {"XDG_STATE_HOME": str(tmp_path), "SCONES_BAKING_SECONDS": "0", "SCONES_ENV": own_flow.settings.env}

    def deploy() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [SCONES, "deploy", "--json"],
            env=kept | exports(cloud) | home,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    with holding(own_flow.aws, own_flow.settings) as first:
        second = deploy()
        assert second.returncode == 1, second.stderr
        env = own_flow.settings.env
        locked = f"scones: environment '{env}' is locked by `scones deploy --env {env}`, run by arn:"
        assert second.stderr.splitlines()[-1].startswith(locked)
        first.kill()
        first.wait()
        third = deploy()
    assert third.returncode == 0, third.stderr
    assert "its process is gone" in third.stderr
