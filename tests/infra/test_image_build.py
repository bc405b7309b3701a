"""The real Dockerfile, built and run as SageMaker and Lambda run it, on the true /opt/ml."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from tempfile import mkdtemp

import psutil
import pytest

from infra.buildah import IMAGE, PYTHON, Store, descendants, pip_settings, storage_driver, why_not
from scones.data.sources.synthetic import render
from scones.deployment.template import image_source
from scones.model.model_file import read_model_file
from scones_local.cloud import Cloud, exports
from scones_local.lambda_workers import RuntimeApi, WorkerRequest, event_reply
from training.test_train import give

DEADLINE_SECONDS = 240.0


@pytest.fixture
def store() -> Iterator[Store]:
    """Room for images, with a base in it; it is gone after the test, with all in it."""
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(mkdtemp(prefix="scones-image-"))
    room = Store(folder, storage_driver(folder))
    try:
        # A mirror that fails half-way says nothing of ours.
        if reason := room.make_base():
            pytest.skip(reason)
        yield room
    finally:
        room.remove()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_image_trains_serves_and_monitors(store: Store, cloud: Cloud, tmp_path: Path) -> None:
    """One image, built from the very zip that CodeBuild is sent: no program in it runs as root, or writes elsewhere."""
    context, ml = tmp_path / "context", tmp_path / "ml"
    zipfile.ZipFile(io.BytesIO(image_source().body)).extractall(context)
    store.build(context)
    assert_pip_settings_stay_out(store)
    container = store.call("from", "--pull-never", IMAGE)
    root = Path(store.call("mount", container))
    python = store.call("run", "--isolation=chroot", container, "--", "python", "--version")
    assert python.startswith("Python {}.{}.".format(*PYTHON))
    before = files_of(root)
    trains(store, container, ml)
    serves(store, container, ml)
    monitors(store, container, cloud)
    assert files_of(root) == before


def trains(store: Store, container: str, ml: Path) -> None:
    """`train` leaves a verified model file, of which nothing belongs to root."""
    give(ml, 12)
    (ml / "input" / "config").mkdir()
    (ml / "input" / "config" / "hyperparameters.json").write_text(json.dumps({"image_size": "64"}))
    with store.running(container, "train", volume=f"{ml}:/opt/ml") as process:
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, output
    assert read_model_file(ml / "model").classes == ("bicycle", "motorcycle")
    left = [path for folder in ("model", "checkpoints", "output") for path in (ml / folder).rglob("*")]
    assert {path.stat().st_uid == 0 for path in left} == {False}


def serves(store: Store, container: str, ml: Path) -> None:
    """`serve` answers as SageMaker asks, and ends by itself when it is told to."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    photo = io.BytesIO()
    render("bicycle", "test", 0).save(photo, "PNG")
    options = {"volume": f"{ml}:/opt/ml:ro", "env": f"SAGEMAKER_BIND_TO_PORT={port}"}
    with store.running(container, "serve", **options) as process:
        wait_until_healthy(port, process)
        status, body = ask(port, "POST", "/invocations", photo.getvalue())
        assert status == HTTPStatus.OK, body
        probabilities = json.loads(body)
        assert (len(probabilities), sum(probabilities)) == (2, pytest.approx(1, abs=1e-3))
        programs = running_python(process, "scones.serving")
        assert {program.uids().effective == 0 for program in programs} == {False}
        assert {no_new_privileges(program.pid) for program in programs} == {True}
        # As Docker does: to the first process only.
        os.kill(programs[0].pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 0, output


def monitors(store: Store, container: str, cloud: Cloud) -> None:
    """Lambda's runtime client finds the handler, which looks into an environment where nothing is deployed."""
    # As Lambda does: under a user of its own, that the image does not know.
    user, group = 993, 990
    api = RuntimeApi(user)
    cloud_of = {name: value for name, value in exports(cloud).items() if name.startswith("AWS_")}
    given = {**cloud_of, "AWS_LAMBDA_RUNTIME_API": api.address, "SCONES_ENV": "image", "HOME": "/tmp"}  # noqa: S108
    words = [f"{name}={value}" for name, value in given.items()]
    command = ("env", *words, "python", "-m", "awslambdaric", "scones.cli.scheduled.handler")
    with store.running(container, *command, user=f"{user}:{group}"), closing(api):
        asked = received(api)
        assert asked.kind == "next"
        event = event_reply("one", b"{}", time.time() + 900, "arn:aws:lambda:us-east-1:000000000000:function:monitor")
        asked.connection.sendall(event)
        answer = received(api)
    assert answer.kind == "response", answer.body
    assert json.loads(answer.body)["checked"] is False


def assert_pip_settings_stay_out(store: Store) -> None:
    """What was given to pip is neither in a file of the image nor in its history."""
    told = store.call("inspect", "--type", "image", IMAGE)
    assert [value for value in pip_settings().values() if len(value) > 4 and value in told] == []
    container = store.call("from", "--pull-never", IMAGE)
    conf = Path(store.call("mount", container)) / "etc" / "pip.conf"
    assert not conf.exists() or conf.read_text() == ""
    store.call("rm", container)


def files_of(root: Path) -> dict[str, tuple[float, int]]:
    """Every file that a program could have changed, but for /opt/ml and /tmp."""
    folders = [root / name for name in ("opt/scones", "opt/program", "usr", "var", "root", "home", "srv")]
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path): (path.stat().st_mtime, path.stat().st_size) for path in found}


def running_python(process: "subprocess.Popen[str]", module: str) -> Sequence[psutil.Process]:
    """The processes of *module*, the first one first."""
    found = [each for each in descendants(process) if module in each.cmdline() and "python" in each.name()]
    return sorted(found, key=lambda each: each.pid)


def no_new_privileges(pid: int) -> bool:
    """Whether the kernel lets the process gain none."""
    return "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()


def ask(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of one request to the server."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, {"Content-Type": "image/png"})
        reply = connection.getresponse()
        return reply.status, reply.read()


def wait_until_healthy(port: int, process: "subprocess.Popen[str]") -> None:
    """Ask until the answer is 200."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            if ask(port, "GET", "/ping")[0] == HTTPStatus.OK:
                return
        time.sleep(0.1)
    raise AssertionError(f"the server did not answer; its status is {process.poll()}")


def received(api: RuntimeApi) -> WorkerRequest:
    """The next request of the worker's."""
    deadline = time.time() + DEADLINE_SECONDS
    while (posted := api.receive(deadline)) is None:
        assert time.time() < deadline, "the worker did not connect"
    return posted
