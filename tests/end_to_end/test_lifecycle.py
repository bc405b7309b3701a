"""A whole life of an environment, killed at any point and taken up again: in the end nothing is left.

Each verb is a process of its own. What it asks of the cloud passes through a server of ours, which kills it when it
makes a certain change, the change made or not: so the points do not depend on how fast the machine is.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from access_keys import KEY, KEYS
from faulty import Fault, Request, before
from scones.aws.client import Client
from scones.aws.connection import Aws, connect
from scones.cli.session import PROGRAMS
from scones.config.settings import Settings
from scones.deployment.cleanup import inventory
from scones.domain.naming import LOCK_KEY
from scones.domain.progress import Silent
from scones.environment import save_result
from scones.steps.down import down
from scones.steps.train import TrainingResult
from scones_local.cloud import Cloud, exports, start, stop
from tiny_model import plain_photo, tar, write_tiny_model_file

pytestmark = pytest.mark.slow

SCONES = Path(sys.executable).with_name("scones")
POINTS = 10
SEED = 6
LONG_SECONDS = 300
LIFE = (
    *("up", "model first", "approve", "deploy", "classify photo.png"),
    *("model second", "approve", "deploy", "rollback", "down"),
)
LISTINGS = {
    "s3": ("list_buckets", "Buckets"),
    "cloudformation": ("describe_stacks", "Stacks"),
    "lambda": ("list_functions", "Functions"),
    "stepfunctions": ("list_state_machines", "stateMachines"),
    "sqs": ("list_queues", "QueueUrls"),
    "sns": ("list_topics", "Topics"),
    "dynamodb": ("list_tables", "TableNames"),
    "events": ("list_rules", "Rules"),
    "cloudwatch": ("describe_alarms", "MetricAlarms"),
    "logs": ("describe_log_groups", "logGroups"),
    "iam": ("list_roles", "Roles"),
    "ecr": ("describe_repositories", "repositories"),
}
HOSTING = {
    "list_endpoints": "Endpoints",
    "list_endpoint_configs": "EndpointConfigs",
    "list_models": "Models",
    "list_model_package_groups": "ModelPackageGroupSummaryList",
}


@dataclass
class Life:
    """An environment on a cloud of its own, lived through a server that counts changes and may kill who makes one."""

    folder: Path
    settings: Settings
    environment: dict[str, str]
    kill_at: int = 0
    arrives: bool = True
    changes: int = 0
    killed: list[str] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None

    def decide(self, request: Request) -> Fault | None:
        """Count a change; the one to be killed at arrives at the cloud, or does not."""
        if not request.changes or request.operation.endswith(LOCK_KEY):
            return None
        self.changes += 1
        if self.changes != self.kill_at or self._process is None:
            return None
        self._process.kill()
        self.killed.append(request.operation)
        return None if self.arrives else Fault("reset")

    def live(self, *, give_up: bool = False) -> None:
        """Take each step; one that is killed is taken again, or all of it is taken down at once."""
        for step in LIFE:
            if step.startswith("model "):
                self._train(step.removeprefix("model "))
                continue
            killed_before = len(self.killed)
            code, err = self._run(step)
            if len(self.killed) > killed_before:
                code, err = self._run("down" if give_up else step)
                if give_up and code == 0:
                    return
                # It was killed after its last word to the endpoint: the release before serves already.
                if step == "rollback" and "no release to return to" in err:
                    continue
            assert code == 0, f"{step}, with {self.killed or 'nothing'} killed before: {err}"

    def aws(self) -> Aws:
        """The cloud as it is, past the server."""
        return connect(self.settings, KEYS)

    def _run(self, step: str) -> tuple[int, str]:
        command: list[str | Path] = [SCONES, *step.split(), *(["--yes"] if step == "down" else []), "--json"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=self.environment, cwd=self.folder, **quiet) as process:  # type: ignore[call-overload]
            self._process = process
            try:
                _, err = process.communicate(timeout=LONG_SECONDS)
            finally:
                self._process = None
                process.kill()
        return process.returncode, err

    def _train(self, name: str) -> None:
        """Put a model where `deploy` looks for it; training has tests of its own."""
        aws, folder = self.aws(), self.folder / name
        if not folder.exists():
            write_tiny_model_file(folder)
            (folder / "NOTE.txt").write_text(name)
        uri = aws.bucket.put(f"models/{name}/output/model.tar.gz", tar(folder))
        save_result(aws, "train", TrainingResult(name, uri, "test", self.settings.classes, {}, 0.0))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that no other test uses: all resources on it are ours."""
    running = start(tmp_path_factory.mktemp("life") / "state", programs=PROGRAMS, key=KEY)
    yield running
    stop(running)


@contextmanager
def beginning(cloud: Cloud, folder: Path) -> Iterator[Life]:
    """A life about to begin, on an empty cloud."""
    assert standing(cloud) == []
    (folder / "photo.png").write_bytes(plain_photo(200))
    one = Life(folder, replace(Settings(), endpoint_url=cloud.endpoint_url, region=cloud.region), {})
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCONES_"))}
    try:
        with before(cloud.port, decide=one.decide) as between:
            one.environment = kept | _environment(replace(cloud, endpoint_url=between.url), folder)
            yield one
    finally:
        down(one.aws(), Silent())  # where a life failed, the next one is not to suffer for it


def _environment(cloud: Cloud, folder: Path) -> dict[str, str]:
    return {
        **exports(cloud),
        "XDG_STATE_HOME": str(folder / "xdg"),
        "XDG_CACHE_HOME": str(folder / "xdg"),
        "SCONES_ENDPOINT_INSTANCES": "2",
        "SCONES_CANARY_PERCENT": "50",
        "SCONES_BAKING_SECONDS": "1",
        "SCONES_ALARM_SECONDS": "10",
        "OMP_NUM_THREADS": "1",
    }


def standing(cloud: Cloud) -> list[str]:
    """Everything on the cloud, of whatever environment, as its services list it: not by our own inventory."""
    settings = replace(Settings(), endpoint_url=cloud.endpoint_url, region=cloud.region)
    found = []
    for service, (operation, members) in LISTINGS.items():
        found += [f"{service} {item}" for item in Client(settings, service, KEYS).call(operation).get(members, ())]
    sagemaker = Client(settings, "sagemaker", KEYS)
    for operation, members in HOSTING.items():
        found += [f"sagemaker {item}" for item in sagemaker.call(operation)[members]]
    # The role of the cloud's own key is always there.
    return [item for item in found if "DELETE_COMPLETE" not in item and "role/LocalCloud" not in item]


@pytest.fixture(scope="module")
def changes(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many changes an undisturbed life makes."""
    with beginning(cloud, tmp_path_factory.mktemp("undisturbed")) as life:
        life.live()
        assert (inventory(life.aws()), standing(cloud)) == ((), [])
    return life.changes


@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", range(POINTS))
def test_a_life_killed_at_any_point_and_taken_up_again_leaves_nothing(
    cloud: Cloud, changes: int, tmp_path: Path, point: int
) -> None:
    """Ten points, one in each tenth of all changes that a life makes; the change that kills is made, or is not."""
    chance = random.Random(f"{SEED}-{point}")
    with beginning(cloud, tmp_path) as life:
        life.kill_at = 1 + int((point + chance.random()) * (changes - 1) / POINTS)
        life.arrives = chance.random() < 0.5
        life.live()
        assert len(life.killed) == 1
        assert (inventory(life.aws()), standing(cloud)) == ((), [])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("at", [2, 4, 8, 14])
def test_a_life_given_up_at_any_point_leaves_nothing(cloud: Cloud, tmp_path: Path, at: int) -> None:
    """Killed while the stack or the endpoint comes up, and taken down without another try."""
    with beginning(cloud, tmp_path) as life:
        life.kill_at = at
        life.live(give_up=True)
        assert len(life.killed) == 1
        assert (inventory(life.aws()), standing(cloud)) == ((), [])
