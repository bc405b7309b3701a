"""Lambda functions: warm execution environments, one process each, as many as there are calls at once."""

import contextlib
import io
import json
import math
import os
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from re import match, sub

from scones_local.runtime_api import ACCEPTED, Event, Posted, RuntimeApi, WorkerGone, WorkerSilent
from scones_local.wire import Json

INIT_SECONDS = 10.0
WAIT_FOR_WORKER_SECONDS = 60.0
LARGEST_REPLY_BYTES = 6 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Definition:
    """A function as the processes need to know it; *code* is None where an image holds it, which is this package."""

    name: str
    arn: str
    handler: str
    code: bytes | None
    variables: dict[str, str]
    timeout_seconds: float = 3.0
    memory_mb: int = 128
    version: str = "$LATEST"


class CallerGone(Exception):
    """The caller waits no longer; the call goes on by itself, as Lambda's does."""


@dataclass(slots=True)
class Call:
    """One invocation on its way: until when the environment must be ready, and, once it has begun, must have ended.

    All times are in seconds since 1970.
    """

    body: bytes
    request_id: str
    ready_by: float | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an invocation gave: the body as JSON, whether it is an error, and what the function printed."""

    body: bytes
    failed: bool
    log: str


class Function:
    """The execution environments of one version of one function."""

    def __init__(self, definition: Definition, folder: Path, python_path: Path, environment: dict[str, str]) -> None:
        self.definition = definition
        self._folder = folder
        self._environment = {**environment, **_reserved(definition, folder), **definition.variables}
        if definition.code is not None:
            self._environment["PYTHONPATH"] = str(python_path)
        self._idle: list[Worker] = []
        self._slots = threading.Semaphore(max(2, 2 * (os.cpu_count() or 1)))
        self._lock = threading.Lock()
        self._closed = False
        _unpack(definition.code, folder / "task")

    def invoke(self, call: Call, ended: Callable[[Outcome], None], until: float = math.inf) -> Outcome:
        """Run the handler once, in an idle environment or a new one; *ended* is told how, whoever waits for it.

        Raises:
            CallerGone: it is *until*, in seconds since 1970.
        """
        if not self._slots.acquire(timeout=max(0.0, min(WAIT_FOR_WORKER_SECONDS, until - time.time()))):
            if time.time() >= until:
                raise CallerGone
            return _error("", "TooManyRequestsException", f"Rate Exceeded: all environments of {self.definition.name}")
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        return self._run(worker, call, ended, until)

    def _run(self, worker: "Worker | None", call: Call, ended: Callable[[Outcome], None], until: float) -> Outcome:
        """Run a call in the slot that was taken for it, and give the slot back when it is over."""
        try:
            worker = worker or Worker(self.definition, self._folder, self._environment)
            outcome = worker.invoke(call, until)
            with self._lock:
                reusable = worker.usable and not self._closed
                if reusable:
                    self._idle.append(worker)
            if not reusable:
                worker.close()
        except CallerGone:
            # Only now a thread of its own: handing every call to one would cost more than the call's own bookkeeping.
            threading.Thread(target=self._run, args=(worker, call, ended, math.inf), daemon=True).start()
            raise
        except BaseException:
            self._slots.release()
            raise
        self._slots.release()
        ended(outcome)
        return outcome

    def close(self) -> None:
        """End the idle environments now, and each busy one after its call."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()


@dataclass(slots=True)
class Worker:
    """One execution environment: a process, and the Runtime API that it talks to."""

    definition: Definition
    folder: Path
    environment: dict[str, str]
    usable: bool = True
    _api: RuntimeApi = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)
    _log: io.FileIO = field(init=False)
    _next: Posted | None = field(init=False, default=None)
    _answered: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        """Start the process; it is not waited for here."""
        self._api = RuntimeApi()
        path = self.folder / f"{uuid.uuid4().hex}.log"
        with path.open("wb") as sink:
            # -S: a function sees what Lambda's Python offers, and not what is installed here; an image brings its own.
            isolated = [] if self.definition.code is None else ["-S"]
            self._process = subprocess.Popen(
                [sys.executable, *isolated, "-m", "awslambdaric", self.definition.handler],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=self.folder / "task",
                env={**self.environment, "AWS_LAMBDA_RUNTIME_API": self._api.address},
            )
        self._log = io.FileIO(path)
        path.unlink()

    def invoke(self, call: Call, until: float = math.inf) -> Outcome:
        """Run the handler once; an environment that failed to start, crashed or timed out is not usable again.

        Raises:
            CallerGone: it is *until*; invoked again with the same *call*, the environment goes on with it.
        """
        limit = self.definition.timeout_seconds
        try:
            if call.deadline is None:
                call.ready_by = call.ready_by or time.time() + (limit if self._answered else max(limit, INIT_SECONDS))
                failure = self._await_next(call.ready_by, until)
                if failure is not None:
                    return self._broken(failure)
                call.deadline = time.time() + limit
                event = Event(call.request_id, call.body, call.deadline, self.definition.arn)
                assert self._next is not None  # noqa: S101 - _await_next promised it
                self._next.connection.sendall(event.reply())
                self._next = None
            return self._await_answer(call.deadline, until)
        except WorkerSilent:
            return self._broken(
                _message(call.request_id, "Sandbox.Timedout", f"Error: Task timed out after {limit:.2f} seconds")
            )
        except (WorkerGone, OSError):
            return self._broken(_message(call.request_id, "Runtime.ExitError", self._exit_words()))

    def close(self) -> None:
        """End the process."""
        self.usable = False
        self._process.kill()
        self._process.wait()
        self._api.close()
        self._log.close()

    def _await_next(self, deadline: float, until: float) -> bytes | None:
        """Wait until the worker asks for an event; returns the error with which its start failed, if it did."""
        while self._next is None:
            posted = self._receive(deadline, until)
            if posted is None:
                continue
            if posted.kind == "init":
                posted.connection.sendall(ACCEPTED)
                return posted.body
            self._next = posted
        return None

    def _await_answer(self, deadline: float, until: float) -> Outcome:
        while (posted := self._receive(deadline, until)) is None:
            pass
        posted.connection.sendall(ACCEPTED)
        self._answered = True
        if len(posted.body) > LARGEST_REPLY_BYTES:
            return _error(self._printed(), "Function.ResponseSizeTooLarge", "Response payload size exceeded 6 MB")
        return Outcome(posted.body, posted.kind == "error", self._printed())

    def _receive(self, deadline: float, until: float) -> Posted | None:
        try:
            posted = self._api.receive(min(deadline, until))
        except WorkerSilent:
            if until < deadline:
                raise CallerGone from None
            raise
        if posted is None and self._process.poll() is not None:
            raise WorkerGone
        return posted

    def _broken(self, body: bytes) -> Outcome:
        self.usable = False
        return Outcome(body, failed=True, log=self._printed())

    def _exit_words(self) -> str:
        if self._process.poll() is None and not _ends(self._process):
            self._process.kill()
        code = self._process.wait()
        if code == 0:
            return "Error: Runtime exited without providing a reason"
        how = f"exit status {code}" if code > 0 else f"signal: {-code}"
        return f"Error: Runtime exited with error: {how}"

    def _printed(self) -> str:
        return (self._log.read() or b"").decode(errors="replace")


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Give a worker that hung up the moment it needs to exit with its own status."""
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        return False
    return True


def _message(request_id: str, kind: str, text: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": f"RequestId: {request_id} {text}"}).encode()


def _error(log: str, kind: str, text: str) -> Outcome:
    return Outcome(json.dumps({"errorType": kind, "errorMessage": text}).encode(), failed=True, log=log)


def _reserved(definition: Definition, folder: Path) -> dict[str, str]:
    """The variables that every function finds.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return {
        "_HANDLER": definition.handler,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": str(folder / "task"),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "AWS_LAMBDA_FUNCTION_NAME": definition.name,
        "AWS_LAMBDA_FUNCTION_VERSION": definition.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(definition.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{definition.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[{definition.version}]{uuid.uuid4().hex}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }


def _unpack(archive: bytes | None, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if archive is None:
        return
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        opened.extractall(folder)  # zipfile drops absolute names and ".."


def runtime_packages(folder: Path) -> Path:
    """A folder with links to what Lambda's Python carries besides the standard library: boto3 and the client."""
    folder.mkdir(parents=True)
    for name in _requirements({"boto3", "awslambdaric"}):
        for file in distribution(name).files or []:
            top = file.parts[0]
            if not top.startswith("..") and not top.endswith(".dist-info"):
                with contextlib.suppress(FileExistsError):
                    (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return folder


def _requirements(names: set[str]) -> set[str]:
    found: set[str] = set()
    while names - found:
        name = (names - found).pop()
        found.add(name)
        for line in distribution(name).requires or []:
            if "extra ==" not in line and (found_name := match(r"[A-Za-z0-9._-]+", line)):
                names.add(sub(r"[-_.]+", "-", found_name[0]).lower())
    return found


def definition_of(config: Json, code: bytes | None) -> Definition:
    """Read what Lambda's API calls a FunctionConfiguration; an image's handler is its command."""
    image = (config.get("ImageConfigResponse") or {}).get("ImageConfig") or {}
    return Definition(
        name=config["FunctionName"],
        arn=config["FunctionArn"],
        handler=config["Handler"] or next(iter(image.get("Command") or ()), ""),
        code=code,
        variables=dict((config.get("Environment") or {}).get("Variables") or {}),
        timeout_seconds=float(config.get("Timeout") or 3),
        memory_mb=int(config.get("MemorySize") or 128),
        version=config.get("Version") or "$LATEST",
    )
