"""Lambda's execution environments: a warm process each, which runs AWS's own runtime client.

The thread that invokes a function also serves the Runtime API to its worker, so no other thread is involved. The worker
asks for the next event; that request stays unanswered until there is an event, and the response or the error then
comes over the same connection. Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import errno
import io
import json
import math
import os
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from scones_local import isolation
from scones_local.processes import descendants, kill_all
from scones_local.wire import Json

ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TICK_SECONDS = 0.05
INIT_SECONDS = 10.0
EXIT_SECONDS = 1.0
PAGE_HEADERS = {b"origin", b"sec-fetch-site"}
"""Headers that browsers add to the requests of web pages."""
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
MAX_REPLY_BYTES = 6 * 1024 * 1024
MAX_LOG_BYTES = 1 << 20
"""How much of what one call printed is kept."""


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """One version of a function; *code* is None where an image holds it: the handler then runs in this Python."""

    name: str
    arn: str
    handler: str
    code: bytes | None
    variables: dict[str, str]
    timeout_seconds: float = 3.0
    memory_mb: int = 128
    version: str = "$LATEST"
    tmp_mb: int = 512
    layers: tuple[bytes, ...] = ()


@dataclass(slots=True)
class LambdaCall:
    """One invocation; its times are in seconds since 1970, None before they are known.

    Args:
        ready_by: when the environment must have started.
        deadline: when the handler, once it runs, must have ended.
    """

    body: bytes
    request_id: str
    ready_by: float | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of an invocation: the body as JSON, whether it is an error, and what the function printed."""

    body: bytes
    failed: bool
    log: str


class CallerGone(Exception):
    """The caller no longer waits; the call goes on, as Lambda's does."""


class WorkerSilent(Exception):
    """The worker sent nothing before the deadline."""


class WorkerGone(Exception):
    """The worker closed its connection or ended."""


def error_body(kind: str, text: str) -> bytes:
    """An error as Lambda replies it."""
    return json.dumps({"errorType": kind, "errorMessage": text}).encode()


@dataclass(frozen=True, slots=True)
class WorkerRequest:
    """One request of a worker's: `next`, `response`, `error` or `init`."""

    kind: str
    body: bytes
    connection: socket.socket


class RuntimeApi:
    """Lambda's Runtime API for one worker: a listening socket of its own, and the connections made to it.

    A connection of another user than *user* (a uid; by default this process's), of a web page or a port scanner is
    closed, and has no effect on the worker.
    """

    def __init__(self, user: int | None = None) -> None:
        self._user = os.geteuid() if user is None else user
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._buffers: dict[socket.socket, bytearray] = {}
        self._known: set[socket.socket] = set()
        """The connections that the worker has used."""
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def receive(self, deadline: float) -> WorkerRequest | None:
        """The worker's next request; None after a short while without one.

        Raises:
            WorkerSilent: *deadline* (seconds since 1970) has passed.
            WorkerGone: the worker closed a connection.
        """
        left = deadline - time.time()
        if left <= 0:
            raise WorkerSilent
        for key, _ in self._selector.select(min(left, TICK_SECONDS)):
            if key.fileobj is self._listener:
                connection, peer = self._listener.accept()
                if not is_opened_by(self._user, peer[1], self._listener.getsockname()[1]):
                    connection.close()
                    continue
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(connection, selectors.EVENT_READ)
                self._buffers[connection] = bytearray()
            elif isinstance(key.fileobj, socket.socket) and (request := self._read(key.fileobj)):
                return request
        return None

    def close(self) -> None:
        """Close all connections."""
        for connection in (*self._buffers, self._listener):
            connection.close()
        self._selector.close()

    def _read(self, connection: socket.socket) -> WorkerRequest | None:
        buffer = self._buffers[connection]
        try:
            chunk = connection.recv(1 << 20)
        except ConnectionError:
            chunk = b""
        if not chunk:
            was_known = connection in self._known
            self._drop(connection)
            if was_known:
                raise WorkerGone
            return None
        buffer += chunk
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        request, *fields = bytes(buffer[:end]).split(b"\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (f.partition(b":") for f in fields)}
        if headers.get(b"host") != self.address.encode() or headers.keys() & PAGE_HEADERS:
            self._drop(connection)
            return None
        self._known.add(connection)
        if headers.get(b"expect", b"").lower() == b"100-continue" and len(buffer) == end + 4:
            connection.sendall(CONTINUE)
        body = _complete_body(buffer, end + 4, headers)
        if body is None:
            return None
        buffer.clear()
        path = request.split(b" ")[1].decode()
        kind = "init" if path.endswith("/init/error") else path.rsplit("/", 1)[-1]
        return WorkerRequest(kind, body, connection)

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._buffers[connection]
        self._known.discard(connection)
        connection.close()


def is_opened_by(user: int, client_port: int, server_port: int) -> bool:
    """Whether a process of *user* opened the connection between two ports of 127.0.0.1; true where Linux is not.

    Source: https://man7.org/linux/man-pages/man7/sock_diag.7.html
    """
    here = socket.inet_aton("127.0.0.1")
    ends = struct.pack("!HH16s16sI8s", client_port, server_port, here, here, 0, b"\xff" * 8)
    query = struct.pack("=BBHI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ends
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(EXIT_SECONDS)
            kernel.send(struct.pack("=IHHII", 16 + len(query), SOCK_DIAG_BY_FAMILY, 1, 0, 0) + query)
            reply = kernel.recv(4096)
    except (OSError, AttributeError):
        return True
    if struct.unpack_from("=H", reply, 4)[0] != SOCK_DIAG_BY_FAMILY:
        return int(struct.unpack_from("=i", reply, 16)[0]) != -errno.ENOENT  # other errors: it cannot be known here
    return int(struct.unpack_from("=I", reply, 80)[0]) == user


def _complete_body(buffer: bytearray, start: int, headers: dict[bytes, bytes]) -> bytes | None:
    """The body, or None while part of it is missing."""
    if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        end = start + int(headers.get(b"content-length", b"0"))
        return bytes(buffer[start:end]) if len(buffer) >= end else None
    parts: list[bytes] = []
    while (line := buffer.find(b"\r\n", start)) >= 0:
        size = int(bytes(buffer[start:line]).partition(b";")[0], 16)
        begin, start = line + 2, line + 2 + size + 2
        if len(buffer) < start:
            return None
        if size == 0:
            return b"".join(parts)
        parts.append(bytes(buffer[begin : begin + size]))
    return None


def event_reply(request_id: str, body: bytes, deadline: float, function_arn: str) -> bytes:
    """The HTTP answer to a worker's `next`; *deadline* is in seconds since 1970."""
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Lambda-Runtime-Aws-Request-Id: {request_id}\r\n"
        f"Lambda-Runtime-Deadline-Ms: {int(deadline * 1000)}\r\n"
        f"Lambda-Runtime-Invoked-Function-Arn: {function_arn}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class LambdaWorker:
    """One execution environment: a process, and the Runtime API that it uses.

    Its /tmp is private if *launch*, the options of `isolation`, says so; else only the folder that TMPDIR names is.
    """

    def __init__(self, function: FunctionVersion, folder: Path, environment: dict[str, str], launch: Json) -> None:
        """Start the process, without waiting for it."""
        self.usable = True
        self._tmp = None if launch["isolated"] else folder / f"{uuid.uuid4().hex}.tmp"
        if self._tmp:
            self._tmp.mkdir()
            environment = {**environment, "TMPDIR": str(self._tmp)}
        self._function = function
        self._api = RuntimeApi()
        self._next: WorkerRequest | None = None
        self._answered = False
        self._read_to = 0
        path = folder / f"{uuid.uuid4().hex}.log"
        with path.open("ab") as sink:
            # -S: a function finds what Lambda's Python has, and not what is installed here; an image brings its own.
            bare = [] if function.code is None else ["-S"]
            self._process = subprocess.Popen(
                [sys.executable, "-P", *bare, isolation.__file__, json.dumps(launch), function.handler],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=folder / "task",
                env={**environment, "AWS_LAMBDA_RUNTIME_API": self._api.address},
            )
        self._log = io.FileIO(path, "r+")
        path.unlink()

    def invoke(self, call: LambdaCall, until: float = math.inf) -> CallResult:
        """Run the handler once; an environment that failed to start, crashed or timed out is not usable again.

        Raises:
            CallerGone: *until* has passed; invoked again with the same *call*, the environment goes on with it.
        """
        limit = self._function.timeout_seconds
        try:
            if call.deadline is None:
                call.ready_by = call.ready_by or time.time() + (limit if self._answered else max(limit, INIT_SECONDS))
                failure = self._start_event(call, until)
                if failure is not None:
                    return self._broken(failure)
            return self._await_result(call.deadline or 0.0, until)
        except WorkerSilent:
            text = f"RequestId: {call.request_id} Error: Task timed out after {limit:.2f} seconds"
            return self._broken(error_body("Sandbox.Timedout", text))
        except (WorkerGone, OSError):
            text = f"RequestId: {call.request_id} {self._exit_message()}"
            return self._broken(error_body("Runtime.ExitError", text))

    def close(self) -> None:
        """End the process, those that it started, and its /tmp."""
        self.usable = False
        family = descendants(self._process.pid) if self._tmp else []  # else they end with the process
        self._process.kill()
        self._process.wait()
        kill_all(family)
        if self._tmp:
            shutil.rmtree(self._tmp, ignore_errors=True)
        self._api.close()
        self._log.close()

    def _start_event(self, call: LambdaCall, until: float) -> bytes | None:
        """Send the event once the worker asks for one; returns the error if the worker failed to start."""
        while self._next is None:
            request = self._receive(call.ready_by or 0.0, until)
            if request is None:
                continue
            if request.kind == "init":
                request.connection.sendall(ACCEPTED)
                return request.body
            self._next = request
        call.deadline = time.time() + self._function.timeout_seconds
        self._next.connection.sendall(event_reply(call.request_id, call.body, call.deadline, self._function.arn))
        self._next = None
        return None

    def _await_result(self, deadline: float, until: float) -> CallResult:
        while (request := self._receive(deadline, until)) is None:
            pass
        request.connection.sendall(ACCEPTED)
        self._answered = True
        self.usable = self._tmp is None or _size_of(self._tmp) <= self._function.tmp_mb << 20
        if len(request.body) > MAX_REPLY_BYTES:
            body = error_body("Function.ResponseSizeTooLarge", "Response payload size exceeded 6 MB")
            return CallResult(body, failed=True, log=self._printed())
        return CallResult(request.body, request.kind == "error", self._printed())

    def _receive(self, deadline: float, until: float) -> WorkerRequest | None:
        try:
            request = self._api.receive(min(deadline, until))
        except WorkerSilent:
            if until < deadline:
                raise CallerGone from None
            raise
        if request is None and self._process.poll() is not None:
            raise WorkerGone
        return request

    def _broken(self, body: bytes) -> CallResult:
        self.usable = False
        return CallResult(body, failed=True, log=self._printed())

    def _exit_message(self) -> str:
        try:
            # A worker that closed its connection needs a moment to exit with its own status.
            code = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code == 0:
            return "Error: Runtime exited without providing a reason"
        how = f"exit status {code}" if code > 0 else f"signal: {-code}"
        return f"Error: Runtime exited with error: {how}"

    def _printed(self) -> str:
        """What was printed since the last time, of very much the end; the file of a warm environment stays small."""
        end = self._log.seek(0, io.SEEK_END)
        self._log.seek(max(self._read_to, end - MAX_LOG_BYTES))
        text = (self._log.read(MAX_LOG_BYTES) or b"").decode(errors="replace")
        self._read_to = end
        if end > MAX_LOG_BYTES:
            self._log.truncate(0)
            self._read_to = 0
        return text


def _size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
