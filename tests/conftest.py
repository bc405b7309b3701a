"""What many tests share: one local cloud a worker, and an environment of its own for each test that asks."""

import contextlib
import gc
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from botocore.model import OperationModel

from access_keys import KEY, KEYS
from contract.shapes import request_faults
from scones.aws.client import Client
from scones.aws.cloudformation import StackFailed
from scones.aws.connection import Aws, connect
from scones.cli.session import PROGRAMS
from scones.config.settings import Settings
from scones.data.dataset import Sample, to_lines
from scones.deployment.cleanup import endpoints
from scones.deployment.template import base_template
from scones.domain.naming import manifest_key
from scones.domain.progress import Silent
from scones.environment import save_result
from scones.pipeline import Pipeline
from scones.steps.stage import StageResult
from scones.steps.train import TrainingResult
from scones_local.cloud import Cloud, start, stop
from tiny_model import plain_photo, tar, write_tiny_model_file

# Started in the background, we would hand "ignore Ctrl-C" down to every program under test.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long one example takes depends on what else the machine does.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

PHOTOS = os.environ.get("SCONES_PHOTOS", "")
"""A folder of real photos; `.ci/run` says which. Tests that need them are skipped without it."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Give each worker neighbouring tests: what a file's tests share is then made by one worker, once."""
    if config.getoption("numprocesses", 0) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_collection_finish() -> None:
    """Tell the garbage collector that the objects of now stay: each full sweep would look at half a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def request_faults_seen() -> Iterator[list[str]]:
    """Hold every request that Scones sends in this process against botocore's models, lengths and patterns included."""
    found: list[str] = []
    opened = Client._open

    def watched(client: Client) -> Any:
        boto = opened(client)
        boto.meta.events.register("provide-client-params", check)
        return boto

    def check(params: dict[str, Any], model: OperationModel, **_: object) -> None:
        found.extend(request_faults(model, params))

    Client._open = watched  # type: ignore[method-assign, assignment]
    yield found
    Client._open = opened  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _requests_are_of_the_form_that_aws_documents(
    request: pytest.FixtureRequest, request_faults_seen: list[str]
) -> Iterator[None]:
    """botocore itself does not check lengths, patterns and enumerations: only AWS would refuse the request."""
    yield
    found = list(request_faults_seen)
    request_faults_seen.clear()
    if not request.node.get_closest_marker("sends_wrong_requests"):
        assert found == []


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local cloud, as `scones local up` starts it."""
    running = start(tmp_path_factory.mktemp("cloud") / "state", programs=PROGRAMS, key=KEY)
    yield running
    stop(running)


def new_settings(cloud: Cloud, folder: Path) -> Settings:
    """Settings of an environment that no other test uses, on the local cloud."""
    return replace(
        Settings(),
        env=f"t{uuid.uuid4().hex[:8]}",
        endpoint_url=cloud.endpoint_url,
        region=cloud.region,
        data="sample",
        bake_seconds=0,
        clients=2,  # each that asks at once would start function processes of its own, half a second each
        cache=folder / "cache",
        state=folder / "state",
    )


@pytest.fixture
def settings(cloud: Cloud, tmp_path: Path) -> Settings:
    """Settings of an environment that no other test uses."""
    return new_settings(cloud, tmp_path)


def create_labels_table(aws: Aws) -> None:
    """The table of labels alone, as the stack has it."""
    aws.client("dynamodb").call(
        "create_table",
        TableName=aws.tables.labels.name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("photo", "when_by")],
        KeySchema=[{"AttributeName": "photo", "KeyType": "HASH"}, {"AttributeName": "when_by", "KeyType": "RANGE"}],
    )


def put_away(aws: Aws) -> None:
    """End what a test left working: servers, functions, alarms. What only lies there goes with the cloud."""
    for job in aws.sagemaker.running_trainings(aws.prefix):
        aws.sagemaker.end_training(job)
    aws.scaling.stop()
    for name in endpoints(aws):
        aws.sagemaker.delete_endpoint(name, Silent().tell)
    if aws.stack.find():
        aws.bucket.empty()
        # Something may still have written into the bucket; all else is gone then, too.
        with contextlib.suppress(StackFailed):
            aws.stack.delete(Silent().tell)


@pytest.fixture
def aws(settings: Settings) -> Iterator[Aws]:
    """Real boto3 against the local cloud; what the test made is put away after it."""
    connection = connect(settings, KEYS)
    yield connection
    put_away(connection)


@pytest.fixture(scope="session")
def real_photos() -> Path:
    """Real photos of bicycles and motorcycles: <split>/<class>/<photo>.png."""
    folder = Path(PHOTOS) / "cifar100-two-wheelers"
    if not (PHOTOS and folder.is_dir()):
        pytest.skip("SCONES_PHOTOS names no folder with real photos")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model.tar.gz whose answers tests can foresee."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    write_tiny_model_file(folder)
    return tar(folder)


def deployed(settings: Settings, tiny_model: bytes) -> Pipeline:
    """Bring an environment up, with the tiny model behind its endpoint."""
    flow = Pipeline(connect(settings, KEYS), settings, Silent())
    flow.aws.stack.deploy(base_template(), {"Env": settings.env}, Silent().tell)
    uri = flow.aws.bucket.put("models/tiny/output/model.tar.gz", tiny_model)
    save_result(flow.aws, "train", TrainingResult("tiny", uri, "test", settings.classes, {}, 0.0))
    flow.up()
    flow.approve()
    flow.deploy()
    return flow


@contextmanager
def deployed_tiny(cloud: Cloud, folder: Path, **kind: bool) -> Iterator[Pipeline]:
    """An environment with a tiny model of this *kind* behind its endpoint."""
    write_tiny_model_file(folder / "model", **kind)
    flow = deployed(new_settings(cloud, folder), tar(folder / "model"))
    yield flow
    put_away(flow.aws)


def stage_test_photos(flow: Pipeline) -> None:
    """Stage four photos that the tiny model predicts right, as the test split."""
    bucket, classes = flow.aws.bucket, flow.settings.classes
    samples = []
    for level in (30, 40, 215, 225):
        samples.append(Sample(f"data/v/test/{level}.png", classes[level > 128], "test", f"{level:064d}"))
        bucket.put(samples[-1].key, plain_photo(level))
    bucket.put(manifest_key("v", "train"), b"")
    bucket.put(manifest_key("v", "test"), to_lines(samples, bucket.name, classes))
    save_result(flow.aws, "stage", StageResult("n", "photos", "", "v", classes, 0, 4, 0, ()))


@pytest.fixture(scope="session")
def flow(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, tiny_model: bytes) -> Pipeline:
    """An environment that is up, shared by the tests that only ask it; it ends with the cloud."""
    return deployed(new_settings(cloud, tmp_path_factory.mktemp("shared")), tiny_model)


@pytest.fixture(scope="session")
def watched(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, tiny_model: bytes) -> Pipeline:
    """An environment that is up, whose traffic is looked at: in `flow` a look would find what other tests sent."""
    return deployed(new_settings(cloud, tmp_path_factory.mktemp("watched")), tiny_model)


@pytest.fixture
def quiet(watched: Pipeline) -> Pipeline:
    """The watched environment, read to its end and with no alarm standing; a test looks at all that it sends."""
    watched.monitor()
    watched.monitor(acknowledge=True)
    return watched


@pytest.fixture
def own_flow(settings: Settings, tiny_model: bytes) -> Iterator[Pipeline]:
    """An environment that is up, for the test alone."""
    own = deployed(settings, tiny_model)
    yield own
    put_away(own.aws)
