"""The life and the death of a local cloud: it starts, it says no clearly, and it never leaves anything."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from access_keys import BOTO_KEYS, KEY
from aws_calls import a_bucket, job_request
from scones_local import cloud, folders
from waiting import eventually

OWNER = Path(__file__).parent / "owner.py"


def answers(port: int) -> bool:
    """Whether a process listens on *port*."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def processes_of(state: Path) -> list[psutil.Process]:
    """The living processes that were started for *state*."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        words = [*(process.info["cmdline"] or []), process.info["cwd"] or ""]
        mentions = any(str(state) in word for word in words)
        if mentions and process.info["status"] != psutil.STATUS_ZOMBIE and "owner.py" not in " ".join(words):
            found.append(process)
    return found


def nothing_left(state: Path, port: int) -> bool:
    """Whether no process, no port and no folder remains."""
    return not state.exists() and not answers(port) and not processes_of(state)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder; whatever a failed test left in it is ended."""
    folder = tmp_path / "state"
    yield folder
    for process in processes_of(folder):
        process.kill()


def owner(state: Path, *words: str) -> tuple[subprocess.Popen[str], int, int]:
    """Another process that owns a cloud: itself, the supervisor's pid, the port."""
    process = subprocess.Popen([sys.executable, str(OWNER), str(state), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    pid, port = map(int, process.stdout.readline().split())
    return process, pid, port


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal, and wait."""
    process.send_signal(number)
    process.communicate(timeout=60)


def test_it_answers_and_leaves_nothing(state: Path) -> None:
    """A cloud listens on 127.0.0.1 alone; after stop no process, port or folder is left, and stop may be repeated."""
    running = cloud.start(state)
    assert answers(running.port)
    addresses = {c.laddr.ip for p in processes_of(state) for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}
    assert cloud.find(state) == running
    cloud.stop(running)
    assert nothing_left(state, running.port)
    assert cloud.find(state) is None
    cloud.stop(running)


def test_a_second_start_names_the_first(state: Path) -> None:
    """On the same folder a second start is refused, and the message names the pid of the first."""
    running = cloud.start(state)
    with pytest.raises(cloud.CloudAlreadyRunning, match=str(running.pid)):
        cloud.start(state)
    assert answers(running.port)
    cloud.stop(running)


def test_a_taken_port_is_named(state: Path) -> None:
    """A port in use is refused by its number, and nothing is left of the attempt."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(cloud.PortUnavailable, match=str(port)):
            cloud.start(state, port=port)
    assert not state.exists()


def test_a_folder_with_other_files_is_left_alone(state: Path) -> None:
    """A folder that holds other files is refused, because a cloud removes its folder in the end."""
    state.mkdir()
    (state / "thesis.txt").write_text("precious")
    with pytest.raises(cloud.StateFolderInUse):
        cloud.start(state)
    assert (state / "thesis.txt").read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Where the state folder cannot be made, the message names it and the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(cloud.CloudNotReady, match="Not a directory"):
        cloud.start(tmp_path / "file" / "state")


def test_a_crashed_clouds_folder_is_used_again(state: Path) -> None:
    """A lock file without a holder, and what lies beside it, do not stop a new cloud."""
    folders.claim_folder(state)
    (state / "old").mkdir()
    running = cloud.start(state)
    assert not (state / "old").exists()
    cloud.stop(running)
    assert nothing_left(state, running.port)


def test_a_killed_cloud_leaves_no_zombie_once_it_is_forgotten(state: Path) -> None:
    """The process that started it reaps it."""
    killed = cloud.start(state)
    cloud.detach(killed)
    os.killpg(killed.pid, signal.SIGKILL)
    assert eventually(lambda: psutil.Process(killed.pid).status() == psutil.STATUS_ZOMBIE)
    cloud.forget(state)
    assert not psutil.pid_exists(killed.pid)


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(polite, marks=pytest.mark.slow) for polite in (signal.SIGINT, signal.SIGTERM))],
)
def test_an_owned_cloud_ends_with_its_owner(state: Path, number: signal.Signals) -> None:
    """However the owner ends, kill -9 included, the supervisor ends the cloud and removes the folder."""
    process, _, port = owner(state)
    end(process, number)
    assert eventually(lambda: nothing_left(state, port))


def test_a_kept_cloud_outlives_its_owner(state: Path) -> None:
    """After keep, another process finds the cloud standing, and can stop it."""
    process, pid, port = owner(state, "keep")
    end(process, signal.SIGKILL)
    time.sleep(0.3)
    found = cloud.find(state)
    assert found is not None
    assert (found.pid, found.port) == (pid, port)
    cloud.stop(found)
    assert nothing_left(state, port)


def test_nothing_is_left_when_the_gateway_is_killed(state: Path) -> None:
    """When the gateway dies, the supervisor tidies up after it."""
    running = cloud.start(state)
    gateway = psutil.Process(running.pid).children()[0]
    gateway.kill()
    assert eventually(lambda: nothing_left(state, running.port))
    cloud.stop(running)


@pytest.mark.parametrize("victim", ["owner", pytest.param("gateway", marks=pytest.mark.slow)])
def test_nothing_is_left_of_work_in_progress(state: Path, victim: str) -> None:
    """A training job that has put a process into a session of its own, and an owner or a gateway killed meanwhile."""
    process, pid, port = owner(state)
    found = cloud.find(state)
    assert found
    options = {"aws_access_key_id": found.key.key_id, "aws_secret_access_key": found.key.secret}
    s3, sagemaker = (
        boto3.client(name, "us-east-1", endpoint_url=found.endpoint_url, **options) for name in ("s3", "sagemaker")
    )
    request = job_request(a_bucket(s3), HyperParameters={"sleep": "60", "escape": "1"})
    sagemaker.create_training_job(**request)
    assert eventually(lambda: sum("time.sleep(60)" in " ".join(p.cmdline()) for p in processes_of(state)) == 1)
    (process.kill if victim == "owner" else psutil.Process(pid).children()[0].kill)()
    assert eventually(lambda: nothing_left(state, port))
    end(process, signal.SIGKILL)


def test_nothing_is_left_when_the_supervisor_is_killed(state: Path) -> None:
    """When even the supervisor is killed, the gateway ends itself and removes the folder."""
    running = cloud.start(state)
    os.kill(running.pid, signal.SIGKILL)
    assert eventually(lambda: nothing_left(state, running.port))
    cloud.stop(running)


def test_the_exports_point_everything_at_the_cloud(state: Path) -> None:
    """The variables name the endpoint, credentials and region, and hide the user's own profile."""
    there = cloud.Cloud("http://127.0.0.1:4566", 4566, state, 1, KEY)
    exported = cloud.exports(there)
    assert exported["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert exported["AWS_CONFIG_FILE"] == exported["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert (exported["AWS_ACCESS_KEY_ID"], exported["AWS_SECRET_ACCESS_KEY"]) == KEY
    assert "AWS_DEFAULT_REGION" in exported


@pytest.mark.slow
def test_a_durable_clouds_objects_outlive_its_crash(state: Path, tmp_path: Path) -> None:
    """Killed and started again it finds what lay in S3, and the stack that creates the bucket again takes it over."""
    kept, bucket, words = tmp_path / "kept", "outlives", {"Bucket": "outlives", "Key": "a/photo.png"}
    template = {"Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": bucket}}}}

    def up(running: cloud.Cloud) -> Any:
        keys = {**BOTO_KEYS, "region_name": running.region}
        stacks = boto3.client("cloudformation", endpoint_url=running.endpoint_url, **keys)
        stacks.create_stack(StackName="s", TemplateBody=json.dumps(template))
        stacks.get_waiter("stack_create_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
        return boto3.client("s3", endpoint_url=running.endpoint_url, **keys)

    first = cloud.start(state, s3_folder=kept, key=KEY)
    up(first).put_object(**words, Body=b"pixels")
    os.kill(first.pid, signal.SIGKILL)
    assert eventually(lambda: not state.exists())
    second = cloud.start(state, s3_folder=kept, key=KEY)
    assert up(second).get_object(**words)["Body"].read() == b"pixels"
    assert cloud.find(state) == second
    cloud.stop(second)
    assert not kept.exists()


def test_a_disk_that_is_nearly_full_is_said_before_anything_starts(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is left of the attempt."""
    monkeypatch.setattr(cloud, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(cloud.CloudNotReady, match="MB free"):
        cloud.start(state)
    assert not state.exists()


def test_the_readmes_example_runs(tmp_path: Path) -> None:
    """As it is printed, in a process of its own; nothing of its cloud is left."""
    readme = Path(cloud.__file__).with_name("README.md").read_text("utf-8")
    example = readme.split("```python\n")[1].split("```")[0]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # noqa: TID251 - the example's own environment
    found = subprocess.run([sys.executable, "-c", example], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "b'hello'\n"
    assert [path for folder in tmp_path.iterdir() for path in folder.iterdir()] == []


def test_a_cloud_without_programs_refuses_images(state: Path) -> None:
    """Training in a container image needs a program that runs in its place."""
    running = cloud.start(state, key=KEY)
    client = boto3.client(
        "sagemaker",
        endpoint_url=running.endpoint_url,
        region_name=running.region,
        **BOTO_KEYS,
    )
    with pytest.raises(Exception, match="started without programs"):
        client.create_training_job(**job_request("none"))
    cloud.stop(running)
