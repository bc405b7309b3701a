"""Faults in the midst of a batch: no photo lost, none twice in the results, every failure named."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from access_keys import KEY, KEYS
from conftest import deployed, new_settings
from live import live
from scones.aws.client import Client
from scones.aws.connection import connect
from scones.batch.results import RunFiles
from scones.cli.session import PROGRAMS
from scones.deployment.template import function_code
from scones.domain.errors import SconesError
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.classify_batch import BatchRunResult
from scones_local.cloud import start, stop
from tiny_model import plain_photo

pytestmark = pytest.mark.slow

PHOTOS = 1200
CRASHING = """
import os, boto3
from scones.lambdas import classify_batch
def handler(event, context):
    s3, about = boto3.client("s3"), event["BatchInput"]
    tried = about["bucket"], f"tried/{event['Items'][0]['key']}"
    if not s3.list_objects_v2(Bucket=tried[0], Prefix=tried[1]).get("KeyCount"):
        s3.put_object(Bucket=tried[0], Key=tried[1], Body=b"")
        FAULT
    return classify_batch.handler(event, context)
"""


def put(flow: Pipeline, count: int = PHOTOS) -> str:
    """Put sure photos below a prefix; returns its URI."""
    photo = plain_photo(200)
    flow.aws.bucket.put_all([(f"asked/many/{n:05d}.png", lambda: photo) for n in range(count)], lambda *_: None)
    return flow.aws.bucket.uri("asked/many/")


def parts(flow: Pipeline) -> list[str]:
    """The keys of all parts of all runs."""
    return [item.key for item in flow.aws.bucket.list("batches/") if "/parts/" in item.key]


def interrupt(flow: Pipeline, source: str, fault: Callable[[], object], after: int) -> list[object]:
    """Classify, cause *fault* once so many parts are done, and return what came of the command."""
    came: list[object] = []

    def command() -> None:
        try:
            came.append(flow.classify_batch(source))
        except SconesError as error:
            came.append(error)

    thread = threading.Thread(target=command)
    thread.start()
    while len(parts(flow)) < after and thread.is_alive():
        time.sleep(0.01)
    fault()
    thread.join(120)
    return came


def check_whole(flow: Pipeline, batch: BatchRunResult, count: int = PHOTOS) -> None:
    """Each photo has one line in the results, and was asked about in one part only."""
    files = RunFiles(batch.run)
    results = [json.loads(line) for line in flow.aws.bucket.get(f"{files.prefix}results.jsonl").splitlines()]
    assert Counter(line["key"] for line in results) == Counter(f"asked/many/{n:05d}.png" for n in range(count))
    lines = [line for body in flow.aws.bucket.get_all(parts(flow)) for line in body.splitlines()]
    assert max(Counter(json.loads(line)["key"] for line in lines).values()) == 1


def test_an_endpoint_deleted_in_the_midst(own_flow: Pipeline) -> None:
    """What it had answered stays, the rest is named with its error, and the same command does only that rest later."""
    source = put(own_flow)
    endpoint = own_flow.aws.name
    slowly = replace(own_flow, settings=replace(own_flow.settings, batch_concurrency=1))
    (came,) = interrupt(slowly, source, lambda: own_flow.aws.sagemaker.delete_endpoint(endpoint, Silent().tell), 2)
    assert isinstance(came, BatchRunResult)
    assert came.counts["classified"] + came.counts["failed"] == PHOTOS
    assert came.counts["failed"] >= 100
    assert any("EndpointUnavailable" in line for line in came.failed)
    check_whole(own_flow, came)
    own_flow.deploy()
    again = own_flow.classify_batch(source)
    assert (again.run, again.newly_classified) == (came.run, came.counts["failed"])
    assert again.counts["classified"] == PHOTOS
    check_whole(own_flow, again)


def test_a_cloud_killed_in_the_midst(tmp_path: Path, tiny_model: bytes) -> None:
    """A durable cloud that is killed and started again goes on with the photos that no whole part holds."""
    state, kept = tmp_path / "state", tmp_path / "kept"
    cloud = start(state, programs=PROGRAMS, s3_folder=kept, key=KEY)
    settings = replace(new_settings(cloud, tmp_path), batch_concurrency=1)
    flow = deployed(settings, tiny_model)
    source = put(flow)
    (came,) = interrupt(flow, source, lambda: os.kill(cloud.pid, signal.SIGKILL), 3)
    assert isinstance(came, SconesError)
    while state.exists():  # what is left of the cloud ends itself, and removes its folder
        time.sleep(0.05)
    risen = start(state, port=cloud.port, programs=PROGRAMS, s3_folder=kept, key=KEY)
    try:
        flow = Pipeline(connect(settings, KEYS), settings, Silent())
        flow.up()
        flow.approve()
        flow.deploy()
        before = len(parts(flow))
        assert 3 <= before < PHOTOS / 100
        batch = flow.classify_batch(source)
        assert (batch.newly_classified, batch.counts["classified"]) == (PHOTOS - 100 * before, PHOTOS)
        check_whole(flow, batch)
        manifests = list(flow.aws.bucket.list(RunFiles(batch.run).manifests))
        assert flow.aws.bucket.get(manifests[1].key).count(b"\n") == batch.newly_classified
    finally:
        stop(risen)
    assert not kept.exists()


def test_an_overloaded_endpoint_is_asked_again(tmp_path: Path, tiny_model: bytes) -> None:
    """Requests that it refuses with 503 cost time, and no photo."""
    moody = (sys.executable, str(Path(__file__).with_name("moody_serve.py")))
    cloud = start(tmp_path / "state", programs=replace(PROGRAMS, serve=moody), key=KEY)
    try:
        flow = deployed(new_settings(cloud, tmp_path), tiny_model)
        batch = flow.classify_batch(put(flow, 400))
        assert batch.counts["classified"] == 400
        check_whole(flow, batch, 400)
    finally:
        stop(cloud)


@pytest.mark.parametrize(
    ("batches", "fault"),
    [(3, "os._exit(7)"), (20, "classify_batch._s3.put_object = lambda **_: os._exit(7)")],
    ids=["at its start", "before its result is written"],
)
def test_a_batch_that_is_killed_is_done_again(own_flow: Pipeline, batches: int, fault: str) -> None:
    """Each batch's first call ends its process; the second does the batch, and no photo is lost."""
    source = put(own_flow, 100 * batches)
    archive = io.BytesIO(function_code().body)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("crashing.py", CRASHING.replace("FAULT", fault))
    client = Client(own_flow.settings, "lambda", KEYS)
    name = f"{own_flow.aws.name}-classify-batch"
    client.call("update_function_code", FunctionName=name, ZipFile=archive.getvalue())
    client.call("update_function_configuration", FunctionName=name, Handler="crashing.handler")
    with live(client, name):
        batch = own_flow.classify_batch(source)
    assert len(list(own_flow.aws.bucket.list("tried/"))) == batches
    assert batch.counts["classified"] == 100 * batches
    check_whole(own_flow, batch, 100 * batches)


def test_a_function_that_always_crashes_is_named(own_flow: Pipeline) -> None:
    """After its retries each photo of the batch is told as failed, with the way it ended."""
    archive = io.BytesIO(function_code().body)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("crashing.py", "import os\ndef handler(event, context): os._exit(7)\n")
    client = Client(own_flow.settings, "lambda", KEYS)
    name = f"{own_flow.aws.name}-classify-batch"
    client.call("update_function_code", FunctionName=name, ZipFile=archive.getvalue())
    client.call("update_function_configuration", FunctionName=name, Handler="crashing.handler")
    with live(client, name):
        batch = own_flow.classify_batch(put(own_flow, 30))
    assert batch.counts["failed"] == 30
    assert all("Runtime.ExitError" in line for line in batch.failed)


def test_a_command_stopped_by_ctrl_c(own_flow: Pipeline, tmp_path: Path) -> None:
    """The run goes on without the command; the same command takes it up again, and no photo is asked about twice."""
    source = put(own_flow)
    settings = own_flow.settings
    words = [str(Path(sys.executable).with_name("scones")), "classify", source, "--env", settings.env]
    keys = {"AWS_ACCESS_KEY_ID": KEY.key_id, "AWS_SECRET_ACCESS_KEY": KEY.secret, "AWS_REGION": settings.region}
    environment = {"PATH": os.defpath, "AWS_ENDPOINT_URL": settings.endpoint_url or "", **keys}
    command = subprocess.Popen(words, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while len(parts(own_flow)) < 2 and command.poll() is None:
        time.sleep(0.02)
    command.send_signal(signal.SIGINT)
    _, told = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "continues; the same command waits for it again" in told
    again = own_flow.classify_batch(source)
    assert again.counts["classified"] == PHOTOS
    assert len(list(own_flow.aws.bucket.list(RunFiles(again.run).manifests))) == 1
    check_whole(own_flow, again)
