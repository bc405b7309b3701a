"""Isolation: what one Lambda environment writes or starts, no other one sees, and it ends with its environment."""

import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from access_keys import KEY
from aws_calls import ROLE, a_bucket, fresh, machine, task
from scones_local import cloud, isolation
from scones_local.lambda_workers import FunctionVersion, LambdaCall, LambdaWorker
from scones_local.lambdas import can_isolate
from scones_local.processes import clean_environment
from waiting import eventually

OPTIONS = {"isolated": True, "tmp_mb": 512, "keep": [], "path": [], "bytecode": "", "layers": ""}
linux_only = pytest.mark.skipif(not can_isolate(), reason="this machine refuses namespaces to this user")

WRITES = """
import os, socket, tempfile
def handler(event, context):
    name = event["name"] or os.path.join(tempfile.gettempdir(), "image.png")
    try:
        with open(name, "a") as file:
            file.write(event["text"])
    except OSError as error:
        return os.strerror(error.errno)
    if "gate" in event:
        socket.create_connection(("127.0.0.1", event["gate"])).recv(1)
    return open(name).read()
"""


def set_code(function: Any, source: str, **configuration: Any) -> None:
    """Give the function other code."""
    function.client.update_function_code(FunctionName=function.name, ZipFile=function.archive(source))
    if configuration:
        function.client.update_function_configuration(FunctionName=function.name, **configuration)


@linux_only
@pytest.mark.parametrize("name", ["/tmp/image.png", "", "/tmp/./image.png", "/tmp/../tmp/image.png"])
def test_a_file_below_tmp_is_of_one_environment(function: Any, gate: Any, name: str) -> None:
    """Three calls at once write the same file, and each reads what it wrote; this machine's /tmp has no such file."""
    set_code(function, WRITES)
    with ThreadPoolExecutor(3) as pool:
        replies = [pool.submit(function, name=name, text=text, gate=gate.port) for text in "abc"]
        gate.await_calls(3)
        gate.open()
    assert [reply.result() for reply in replies] == [(text, None) for text in "abc"]
    assert not Path("/tmp/image.png").exists()


@linux_only
@pytest.mark.parametrize(
    "name", ["image.png", "/var/tmp/image.png", "/dev/shm/image.png", "/opt/image.png", "/image.png"]
)
def test_nothing_but_tmp_can_be_written(function: Any, name: str) -> None:
    """As on AWS, a file elsewhere is refused, so that no other environment can read it."""
    set_code(function, WRITES)
    assert function(name=name, text="a") == ("Read-only file system", None)


@linux_only
def test_tmp_stays_for_the_next_call_and_ends_with_the_environment(function: Any) -> None:
    """A warm environment finds its file again, as on AWS; a new one does not."""
    set_code(function, WRITES)
    assert function(name="/tmp/a", text="1") == ("1", None)
    assert function(name="/tmp/a", text="2") == ("12", None)
    set_code(function, WRITES + "\n")
    assert function(name="/tmp/a", text="3") == ("3", None)


@linux_only
def test_a_cloud_below_tmp_may_be_reached_by_a_link(tmp_path: Path, clients: Any) -> None:
    """Its functions start, and read their own code and layers."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    running = cloud.start(tmp_path / "link" / "state", key=KEY)
    try:
        made = type(clients)(running).new_function()
        assert made()[1] is None
    finally:
        cloud.stop(running)


FILLS = {
    "one large file": "f = open('/tmp/a', 'wb'); [f.write(b'0' * (1 << 20)) for _ in range(size + 1)]",
    "many files": "[open(f'/tmp/{n}', 'wb').write(b'0' * (1 << 20)) for n in range(size + 1)]",
    "many empty files": "[open(f'/tmp/{n}', 'wb').close() for n in range(100_000)]",
    "a sparse file's end": "f = open('/tmp/a', 'wb'); f.seek(size << 20); f.write(b'0'); f.flush()",
}


@linux_only
@pytest.mark.parametrize("filling", FILLS.values(), ids=FILLS)
def test_a_full_tmp_is_an_error_of_the_function(function: Any, filling: str) -> None:
    """EphemeralStorage bounds /tmp: the function gets the error, and nothing else does."""
    source = f"def handler(event, context):\n    size = 513\n    {filling}\n"
    set_code(function, source, EphemeralStorage={"Size": 513})
    body, error = function()
    assert (error, body["errorType"]) == ("Unhandled", "OSError")
    assert any(words in body["errorMessage"] for words in ("No space left", "File too large"))


@linux_only
def test_ephemeral_storage_sets_the_size_of_tmp(function: Any) -> None:
    """512 MB unless the function is configured otherwise."""
    source = "import shutil\ndef handler(event, context): return shutil.disk_usage('/tmp').total >> 20\n"
    set_code(function, source)
    assert function() == (512, None)
    set_code(function, source, EphemeralStorage={"Size": 1024})
    assert function() == (1024, None)


def test_a_function_that_prints_without_end_is_bounded(function: Any) -> None:
    """It is ended at its limit, and the last part of what it printed is kept."""
    set_code(function, "def handler(event, context):\n    while True: print('x' * 1000)\n", Timeout=2)
    reply = function.client.invoke(FunctionName=function.name, Payload=b"{}", LogType="Tail")
    assert reply["FunctionError"] == "Unhandled"
    assert 1000 < len(base64.b64decode(reply["LogResult"])) <= 4096


STARTS = {
    "a child": "subprocess.Popen([sys.executable, '-S', '-c', code])",
    "a child in a session of its own": "subprocess.Popen([sys.executable, '-S', '-c', code], start_new_session=True)",
    "a daemon": "os.fork() or (os.setsid(), os.fork() or os.execv(sys.executable, line), os._exit(0))",
    "a child that ignores signals": "subprocess.Popen(['sh', '-c', f\"trap '' TERM INT HUP; exec sleep 987{mark}\"])",
}
ENDS = {
    "a timeout": "time.sleep(99)",
    "a crash": "os._exit(3)",
    "a kill": "os.kill(os.getpid(), 9)",
    "a change": "None",
}


@linux_only
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("start", STARTS)
def test_the_processes_of_an_environment_end_with_it(function: Any, start: str, end: str) -> None:
    """However they were started, and however the environment ends."""
    mark = os.urandom(3).hex()
    code = f"import time; time.sleep(100)  # {mark}"
    source = f"""
import os, subprocess, sys, time
mark, code = {int(mark, 16)}, {code!r}
line = [sys.executable, "-S", "-c", code]
def handler(event, context):
    {STARTS[start]}
    time.sleep(0.3)
    {ENDS[end]}
"""
    set_code(function, source, Timeout=2)
    function()
    if end == "a change":
        assert eventually(lambda: running(mark) > 0)
        function.client.delete_function(FunctionName=function.name)
    assert eventually(lambda: running(mark) == 0)


def running(mark: str) -> int:
    """How many processes have *mark*, in either spelling, in their arguments."""
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return sum(mark in line or f"987{int(mark, 16)}" in line for line in lines)


@linux_only
def test_a_function_that_forks_without_end_is_ended(function: Any) -> None:
    """Beyond the quota of processes it fails or is ended, and the cloud goes on."""
    mark = os.urandom(3).hex()
    source = """
import os, time
def handler(event, context):
    while True:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
"""
    set_code(function, source.replace("handler", f"handler_{mark}"), Handler=f"answer.handler_{mark}", Timeout=20)
    body, error = function()
    assert error == "Unhandled"
    assert body["errorType"] in ("Runtime.ExitError", "BlockingIOError")
    function.client.delete_function(FunctionName=function.name)
    assert eventually(lambda: running(mark) == 0)


def test_a_function_that_never_ends_is_ended_at_its_limit(function: Any) -> None:
    """Also with a thread, a child and a signal handler that hold on."""
    source = """
import os, signal, threading, time
def wait():
    while True: time.sleep(1)
def handler(event, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=wait).start()
    os.fork()
    wait()
"""
    set_code(function, source, Timeout=1)
    body, error = function()
    assert (error, body["errorType"]) == ("Unhandled", "Sandbox.Timedout")


@pytest.mark.parametrize("shared", [False, pytest.param(True, marks=linux_only)])
def test_a_worker_without_namespaces_has_a_temporary_folder_of_its_own(tmp_path: Path, shared: bool) -> None:
    """Where namespaces are refused, TMPDIR is private, its size is checked, and it ends with the worker."""
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "answer.py").write_text(WRITES)
    version = FunctionVersion("f", "arn", "answer.handler", None, {}, tmp_mb=1)
    environment = {**clean_environment(), "_HANDLER": "answer.handler", "AWS_LAMBDA_FUNCTION_NAME": "f"}
    launch = {**OPTIONS, "isolated": shared, "tmp_mb": 1, "keep": [str(tmp_path), *below_tmp()]}
    worker = LambdaWorker(version, tmp_path, environment, launch)
    try:
        asked = {"name": "", "text": "a"}
        assert worker.invoke(LambdaCall(json.dumps(asked).encode(), "1")).body == b'"a"'
        asked["text"] = "b" * (2 << 20)
        assert b"File too large" in worker.invoke(LambdaCall(json.dumps(asked).encode(), "2")).body
    finally:
        worker.close()
    assert [path.name for path in tmp_path.iterdir()] == ["task"]


def below_tmp() -> list[str]:
    """The folders of this Python below /tmp."""
    return [path for path in {sys.prefix, *sys.path} if path.startswith("/tmp/") and Path(path).is_dir()]


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; the other tests run as this one")
def test_an_ordinary_user_may_isolate_too() -> None:
    """By a namespace of its own for users; the files are still the user's."""
    allowed = subprocess.run(["/bin/sh", "-c", f"test -x {sys.executable}"], user=65534, group=65534, check=False)
    python = sys.executable if allowed.returncode == 0 else "/usr/bin/python3"
    command = [python, "-P", "-S", "-c", Path(isolation.__file__).read_text(), json.dumps(OPTIONS), ""]
    done = subprocess.run(command, user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


COURSE = """
import base64, json, boto3
s3, runtime = boto3.client("s3"), boto3.Session().client("runtime.sagemaker")
def serialize(event, context):
    s3.download_file(event["s3_bucket"], event["s3_key"], "/tmp/image.png")
    with open("/tmp/image.png", "rb") as file:
        image = base64.b64encode(file.read())
    return {"statusCode": 200, "body": {"image_data": image, "s3_key": event["s3_key"], "inferences": []}}
def classify(event, context):
    image = base64.b64decode(event["body"]["image_data"])
    with open("/tmp/image.png", "wb") as file:
        file.write(image)
    with open("/tmp/image.png", "rb") as file:
        event["inferences"] = file.read().decode()
    return {"statusCode": 200, "body": json.dumps(event)}
def check(event, context):
    event = json.loads(event["body"])
    return {"statusCode": 200, "body": [event["body"]["s3_key"], event["inferences"]]}
"""


@pytest.mark.slow
@linux_only
def test_sixteen_clients_of_the_courses_workflow_get_their_own_photos(clients: Any, function: Any) -> None:
    """Three functions that all write /tmp/image.png, and 500 photos: 500 right."""
    bucket, states, steps = a_bucket(clients.s3), {}, ("serialize", "classify", "check")
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        name = fresh(step)
        arn = function.client.create_function(
            FunctionName=name,
            Runtime="python3.9",
            Role=ROLE,
            Handler=f"answer.{step}",
            Timeout=60,
            Code={"ZipFile": function.archive(COURSE)},
        )["FunctionArn"]
        states[step] = task(arn, **({"Next": following} if following else {"End": True}))
    chain = machine(clients, {"StartAt": "serialize", "States": states})
    for number in range(500):
        clients.s3.put_object(Bucket=bucket, Key=f"{number}.png", Body=f"photo {number}".encode())

    def classified(number: int) -> Any:
        asked = json.dumps({"s3_bucket": bucket, "s3_key": f"{number}.png"})
        reply = clients.stepfunctions.start_sync_execution(stateMachineArn=chain, input=asked)
        return json.loads(reply.get("output", "{}")).get("body", reply.get("cause"))

    clients.stepfunctions  # noqa: B018 - made before the threads start
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(classified, range(500)))
    assert found == [[f"{number}.png", f"photo {number}"] for number in range(500)]
