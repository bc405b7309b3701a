"""An endpoint under load: a good model comes, a broken one goes, an instance is killed."""

import contextlib
import io
import itertools
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from PIL import Image

from conftest import deployed, put_away
from load import Load, asker
from scones.aws.sagemaker import UpdateRolledBack
from scones.config.settings import Settings
from scones.deployment.releases import list_releases
from scones.environment import save_result
from scones.pipeline import Pipeline
from scones.steps.train import TrainingResult
from tiny_model import plain_photo, tar, write_tiny_model_file
from waiting import eventually

PER_SECOND = 25
PERCENT = 10


@pytest.fixture
def canary_flow(settings: Settings, tiny_model: bytes) -> Iterator[Pipeline]:
    """An environment whose endpoint has two instances, and an alarm that looks every second."""
    changes = {"endpoint_instances": 2, "canary_percent": PERCENT, "bake_seconds": 4, "alarm_seconds": 10}
    flow = deployed(replace(settings, **changes), tiny_model)  # type: ignore[arg-type]
    yield flow
    put_away(flow.aws)


def train(flow: Pipeline, folder: Path, *, breaks: bool = False) -> None:
    """Put a newly trained model where `deploy` looks for it."""
    write_tiny_model_file(folder, breaks=breaks)
    uri = flow.aws.bucket.put(f"models/{folder.name}/output/model.tar.gz", tar(folder))
    save_result(flow.aws, "train", TrainingResult("next", uri, "test", flow.settings.classes, {}, 0.0))
    flow.approve()


def load(flow: Pipeline, threads: int = 4) -> Load:
    """Steady load of plain photos; a single thread has one request under way at most."""
    assert flow.settings.endpoint_url is not None
    return Load(asker(flow.settings.endpoint_url, flow.aws.name, plain_photo(200)), PER_SECOND, threads)


def test_a_broken_model_is_rolled_back_after_a_handful_of_failures(
    canary_flow: Pipeline, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """It starts, passes its health check, and fails on real photos: the alarm ends the update, the old model serves."""
    flow = canary_flow
    before = flow.aws.sagemaker.find_endpoint(flow.aws.name)
    assert before is not None
    train(flow, tmp_path / "broken", breaks=True)
    began = time.monotonic()
    with load(flow) as asked:
        with pytest.raises(UpdateRolledBack, match="endpoint-errors") as caught:
            flow.deploy()
        seconds = time.monotonic() - began
        assert asked.more(10)  # those that were under way have ended
        failed, answered = len(asked.failures), len(asked.answers)
        assert asked.more(40)
    assert caught.value.config == before.config
    after = flow.aws.sagemaker.find_endpoint(flow.aws.name)
    assert after is not None
    assert after == replace(before, reason=caught.value.reason, changed=after.changed)
    # How long it took is the machine's matter; of what was asked meanwhile the broken model had its share, and no more.
    assert 1 <= failed <= 1 + (failed + answered) * PERCENT / 100
    assert len(asked.failures) == failed, "nothing fails any more"
    record_property("canary", f"{failed} failed, {answered} answered, over after {seconds:.1f} s")


@pytest.mark.slow
def test_an_alarm_ends_a_rollback_as_it_ends_a_deploy(canary_flow: Pipeline, tmp_path: Path) -> None:
    """The old model fails on real photos: the newer one goes on serving, and both releases are kept."""
    flow = canary_flow
    train(flow, tmp_path / "broken", breaks=True)
    flow.deploy()  # no requests meanwhile, so the fault does not show
    train(flow, tmp_path / "good")
    newer = flow.deploy()
    with load(flow), pytest.raises(UpdateRolledBack, match="endpoint-errors"):
        flow.rollback()
    live = flow.aws.sagemaker.find_endpoint(flow.aws.name)
    assert live is not None
    assert (live.status, live.config) == ("InService", newer.config)
    kept = list_releases(flow.aws.bucket)
    assert [(release.number, release.finished) for release in kept] == [(1, True), (2, True), (3, True)]


@pytest.mark.slow
def test_a_good_model_comes_in_without_a_failed_request(canary_flow: Pipeline, tmp_path: Path) -> None:
    """A tenth of the traffic, then all of it; every request is answered meanwhile."""
    flow = canary_flow
    train(flow, tmp_path / "good")
    with load(flow) as asked:
        found = flow.deploy()
    assert asked.failures == []
    assert asked.answers
    live = flow.aws.sagemaker.find_endpoint(flow.aws.name)
    assert live is not None
    assert (live.status, live.config) == ("InService", found.config)


def bad_photos() -> list[bytes]:
    """What clients send that is no photo, or that decoders stumble over."""
    rotated = io.BytesIO()
    # Orientation 6, and the tag Software, which is a text, as the fraction 1/3.
    tags = struct.pack(">HHLHHHHLL", 0x0112, 3, 1, 6, 0, 0x0131, 5, 1, 38)
    exif = b"Exif\0\0MM\0*" + struct.pack(">LH", 8, 2) + tags + struct.pack(">LLL", 0, 1, 3)
    Image.open(io.BytesIO(plain_photo(200))).convert("RGB").save(rotated, "JPEG", exif=exif)
    return [b"a letter", b"\x00" * 100, plain_photo(200)[:60], rotated.getvalue(), rotated.getvalue()[:-200]]


@pytest.mark.slow
def test_a_deployment_ends_well_while_clients_send_bad_photos(canary_flow: Pipeline, tmp_path: Path) -> None:
    """Each is refused as the client's fault: the alarm counts what the model or the server did wrong."""
    flow = canary_flow
    assert flow.settings.endpoint_url is not None
    train(flow, tmp_path / "good")
    asking = itertools.cycle([asker(flow.settings.endpoint_url, flow.aws.name, body) for body in bad_photos()])

    def ask() -> bytes:
        return next(asking)()

    bad = Load(ask, PER_SECOND, threads=1)
    with load(flow) as asked, bad:
        found = flow.deploy()
    live = flow.aws.sagemaker.find_endpoint(flow.aws.name)
    assert live is not None
    assert (live.status, live.config) == ("InService", found.config)
    assert asked.failures == []
    assert len(bad.failures) > PER_SECOND
    assert [failure for failure in bad.failures if "client error (400)" not in failure] == []


@pytest.mark.slow
def test_a_killed_instance_costs_no_more_than_what_it_held(canary_flow: Pipeline) -> None:
    """`kill -9` of one of two instances under load: the other goes on, and the dead one is replaced."""
    flow = canary_flow
    before = servers(flow)
    assert len(before) == 2
    with load(flow, threads=1) as asked:
        assert eventually(lambda: bool(asked.answers))
        before[0].kill()
        assert eventually(lambda: before[0] not in servers(flow) and len(servers(flow)) == 2)
        answered = len(asked.answers)
        assert eventually(lambda: len(asked.answers) > answered + 4)
    assert len(asked.failures) <= 1
    assert before[1] in servers(flow)


def servers(flow: Pipeline) -> list[psutil.Process]:
    """The first process of each instance behind the endpoint."""
    (config,) = flow.aws.sagemaker.configs(flow.aws.prefix)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"/{config}-" in process.environ().get("SAGEMAKER_BASE_DIR", ""):
                found.append(process)
    return [process for process in found if process.ppid() not in {each.pid for each in found}]
