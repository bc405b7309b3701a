"""Another user of the machine is not the cloud's user, and the user's other secrets are not the cloud's."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from access_keys import KEY
from aws_calls import a_bucket
from scones_local import cloud
from scones_local.cloud import Cloud
from scones_local.lambda_workers import RuntimeApi, WorkerGone, WorkerRequest, WorkerSilent, is_opened_by

OTHER_USER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Cloud]:
    """A durable cloud below folders that any user could enter."""
    running = cloud.start(tmp_path / "state", s3_folder=tmp_path / "s3")
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest" in folder.name:
            folder.chmod(0o755)
    yield running
    cloud.stop(running)


def as_other_user(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program as another user; -S, since that user may not read the packages here."""
    command = ["/usr/bin/env", "python3", "-S", "-c", program, *arguments]
    return subprocess.run(
        command,
        user=OTHER_USER,
        group=OTHER_USER,
        extra_groups=[],
        cwd="/",
        check=False,
        capture_output=True,
        text=True,
    )


def client(running: Cloud, service: str) -> Any:
    """A client with the cloud's own key."""
    keys = {"aws_access_key_id": running.key.key_id, "aws_secret_access_key": running.key.secret}
    return boto3.client(service, endpoint_url=running.endpoint_url, region_name=running.region, **keys)


def test_two_clouds_have_different_keys(private: Cloud, running: Cloud) -> None:
    """Each has a random key, which its exports and its record name, and its representation does not."""
    assert private.key != running.key == KEY
    assert len(private.key.key_id) >= 32
    assert len(private.key.secret) >= 32
    assert cloud.exports(private)["AWS_SECRET_ACCESS_KEY"] == private.key.secret
    assert cloud.find(private.state) == private
    assert private.key.secret not in repr(private)
    assert private.key.key_id not in repr(private)


def test_all_files_are_private(private: Cloud, function: Any) -> None:
    """Folders 0700 and files 0600 after functions and S3 have written theirs; nothing is for others."""
    type(function)(client(private, "lambda"))(say="hello")
    a_bucket(client(private, "s3"))
    assert private.s3_folder
    seen = 0
    for top in (private.state, private.s3_folder):
        for path in (top, *top.rglob("*")):
            if path.is_symlink() or not path.exists():
                continue
            seen += 1
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode & 0o077 == 0, f"{path}: {mode:o}"
    assert seen > 20


def test_no_command_line_contains_the_key(private: Cloud) -> None:
    """Every user may read the arguments of every process."""
    processes = [psutil.Process(private.pid), *psutil.Process(private.pid).children(recursive=True)]
    words = " ".join(word for process in processes for word in process.cmdline())
    assert str(private.state) in words
    assert private.key.secret not in words
    assert private.key.key_id not in words


@as_root
def test_another_user_reads_nothing_and_calls_nothing(private: Cloud) -> None:
    """Neither the record, the options, the log nor the objects; and the gateway refuses it."""
    s3 = client(private, "s3")
    s3.create_bucket(Bucket="hidden")
    s3.put_object(Bucket="hidden", Key="photo", Body=b"pixels")
    program = """
import os, sys, urllib.request, urllib.error
state, s3, url = sys.argv[1:]
tried = [state, s3, *(state + name for name in ("/cloud.json", "/options.json", "/log/cloud.log", "/lock")),
         s3 + "/000000000000/hidden/photo"]
for path in tried:
    try:
        print("read", os.listdir(path) if os.path.isdir(path) else open(path).read())
    except OSError:
        pass
for request in (urllib.request.Request(url, headers={"X-Amz-Target": "AWSStepFunctions.ListStateMachines"}, data=b"{}"),
                urllib.request.Request(url + "/hidden/photo"),
                urllib.request.Request(url, headers={"Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/"
                    "us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0", "X-Amz-Date": "20260101T000000Z"})):
    try:
        print("answered", urllib.request.urlopen(request).status)
    except urllib.error.HTTPError as error:
        assert error.code == 403, error
print("end")
"""
    found = as_other_user(program, str(private.state), str(private.s3_folder), private.endpoint_url)
    assert (found.stdout, found.stderr) == ("end\n", "")


def test_a_stranger_on_the_runtime_api_neither_gets_events_nor_ends_the_worker() -> None:
    """A connection that closes, one of a page and, as root, one of another user are closed without effect."""
    api = RuntimeApi()
    port = int(api.address.split(":")[1])

    def connect(*lines: str) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", port))
        if lines:
            made.sendall("\r\n".join((*lines, "", "")).encode())
        return made

    def wait(seconds: float) -> WorkerRequest:
        deadline = time.time() + seconds
        while (asked := api.receive(deadline)) is None:
            pass
        return asked

    get = "GET /2018-06-01/runtime/invocation/next HTTP/1.1"
    connect().close()
    page = connect(get, f"Host: {api.address}", "Sec-Fetch-Site: cross-site")
    rebound = connect(get, f"Host: example.org:{port}")
    with pytest.raises(WorkerSilent):
        wait(0.5)
    for stranger in (page, rebound):
        with stranger:
            assert stranger.recv(1) == b""
    if os.geteuid() == 0:
        program = (
            "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.settimeout(20)\n"
            f"s.sendall(b'{get}\\r\\nHost: {api.address}\\r\\n\\r\\n'); print(s.recv(1))"
        )
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.append(as_other_user(program, str(port)).stdout))
        thread.start()
        while thread.is_alive():
            try:
                assert api.receive(time.time() + 0.2) is None
            except WorkerSilent:
                continue
        assert said != ["b'H'\n"]
    worker = connect(get, f"Host: {api.address}")
    assert wait(10).kind == "next"
    worker.close()
    with pytest.raises(WorkerGone):
        wait(10)
    api.close()


def test_the_user_of_a_connection_is_known() -> None:
    """A connection that does not exist has no user."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert is_opened_by(os.geteuid(), client.getsockname()[1], port)
        assert not is_opened_by(os.geteuid(), 1, port)


def test_the_clouds_processes_inherit_named_variables_only(tmp_path: Path, function: Any) -> None:
    """Whatever secrets are in the user's environment: not the supervisor, the gateway, functions or training."""
    program = """
import json, os, pathlib, sys
from scones_local import cloud
running = cloud.start(pathlib.Path(sys.argv[1]))
print(json.dumps([running.pid, *running.key]), flush=True)
sys.stdin.readline()
cloud.stop(running)
"""
    secrets = dict.fromkeys(("GITHUB_TOKEN", "SSH_AUTH_SOCK", "MY_PASSWORD", "AWS_PROFILE", "DATABASE_URL"), "a secret")
    secrets |= {"HTTPS_PROXY": "http://user:secret@proxy", "SCONES_ENV": "x", "PYTHONSTARTUP": "x", "LD_PRELOAD": ""}
    environment = {**os.environ, **secrets, "LC_TIME": "C"}  # noqa: TID251 - the example's own environment
    command = [sys.executable, "-c", program, str(tmp_path / "state")]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as owner:
        assert owner.stdout
        pid, *_ = json.loads(owner.stdout.readline())
        running = cloud.find(tmp_path / "state")
        assert running
        names = set(type(function)(client(running, "lambda"))(environment=True)[0])
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        assert len(processes) >= 3
        for process in processes:
            inherited = process.environ()
            assert not secrets.keys() & inherited.keys()
            assert "a secret" not in inherited.values()
        assert not secrets.keys() & names
        assert processes[0].environ()["LC_TIME"] == "C"
        owner.communicate("\n", timeout=60)


def test_programs_get_the_clouds_key(function: Any) -> None:
    """A function calls the cloud as boto3 does by itself."""
    source = "import boto3\ndef handler(event, context): return boto3.client('sts').get_caller_identity()['Account']"
    function.client.update_function_code(FunctionName=function.name, ZipFile=function.archive(source))
    assert function() == ("000000000000", None)
