"""Fleets: the server processes of an endpoint, and the traffic between two fleets during an update.

Each server is one process, restarted after a crash and reached over kept connections. Limits of serverless variants:
https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
"""

import contextlib
import http.client
import shutil
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from scones_local.processes import end_tree
from scones_local.sagemaker.containers import ContainerRunner
from scones_local.wire import Json, ServiceError

PING_SECONDS = 0.05
STARTUP_SECONDS = 120.0
INVOKE_SECONDS = 60.0
DRAIN_SECONDS = 10.0
MAX_RESTART_SECONDS = 5.0
MAX_LOG_BYTES = 5_000_000
MAX_BODY_BYTES = 6_291_456
MAX_SERVERLESS_BODY_BYTES = 4_194_304
TRIES = 2
"""A request that crashes its server must not be sent to every other instance."""

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers in lower case, body."""


class ServerFailed(Exception):
    """The server did not become healthy; the message ends with its last log line."""


class ServerDown(Exception):
    """The server cannot be reached at the moment."""


class ModelServer:
    """A running serving program on a port of its own."""

    def __init__(
        self, runner: ContainerRunner, folder: Path, variables: dict[str, str], startup_seconds: float
    ) -> None:
        self._runner = runner
        self._folder = folder
        self._variables = variables
        self._startup_seconds = startup_seconds
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._log = folder / "server.log"
        self.port = 0
        self.busy = 0
        self.requests = 0
        self._launch()

    def await_healthy(self) -> None:
        """Return once `/ping` answers 200; from then on the process is restarted when it ends.

        Raises:
            ServerFailed: it ended, or took too long.
        """
        deadline = time.monotonic() + self._startup_seconds
        while not self._ping():
            if self._process.poll() is not None or self._ending.is_set() or time.monotonic() > deadline:
                self._reader.join(1.0)
                text = (
                    f"The primary container did not pass the ping health check. Its last log line: {self._last_line()}"
                )
                self.close()
                raise ServerFailed(text)
            time.sleep(PING_SECONDS)
        threading.Thread(target=self._watch, daemon=True).start()

    def request(self, body: bytes, headers: dict[str, str]) -> Answer:
        """POST /invocations; a kept connection that the server has closed is replaced once.

        Raises:
            ServerDown: no connection could be made, or the answer did not come in time.
        """
        with self._lock:
            connection = self._idle.pop() if self._idle else None
            self.busy += 1
            self.requests += 1
        try:
            return self._ask(connection, body, headers)
        finally:
            with self._lock:
                self.busy -= 1

    def close(self) -> None:
        """End the process, which may finish its current requests, and remove its folder."""
        self._ending.set()
        end_tree(self._process, DRAIN_SECONDS)
        self._reader.join(1.0)
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, connection: http.client.HTTPConnection | None, body: bytes, headers: dict[str, str]) -> Answer:
        if connection is not None:
            try:
                return self._exchange(connection, body, headers)
            except (ConnectionError, http.client.HTTPException):
                connection.close()
        fresh = http.client.HTTPConnection("127.0.0.1", self.port, timeout=INVOKE_SECONDS)
        try:
            return self._exchange(fresh, body, headers)
        except (OSError, http.client.HTTPException) as error:
            fresh.close()
            raise ServerDown(str(error) or type(error).__name__) from None

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> Answer:
        connection.request("POST", "/invocations", body, headers)
        reply = connection.getresponse()
        data = reply.read()
        found = {name.lower(): value for name, value in reply.getheaders()}
        if reply.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return reply.status, found, data

    def _launch(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        variables = {**self._variables, "SAGEMAKER_BIND_TO_PORT": str(self.port)}
        self._process = self._runner.start(self._runner.programs.serve, self._folder, variables)
        self._reader = threading.Thread(target=self._keep_log, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _keep_log(self, stdout: IO[bytes]) -> None:
        """Copy the server's output to its log, which is emptied when it has grown large."""
        with stdout, self._log.open("ab") as log:
            for line in stdout:
                if log.tell() > MAX_LOG_BYTES:
                    log.truncate(0)
                log.write(line)
                log.flush()

    def _last_line(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").splitlines()
            return next((line for line in reversed(lines) if line.strip()), "(none)")
        return "(none)"

    def _ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _watch(self) -> None:
        """Restart the process whenever it ends by itself, after a pause that grows."""
        pause = 0.1
        while not self._ending.is_set():
            self._process.wait()
            if self._ending.wait(pause):
                return
            pause = min(pause * 2, MAX_RESTART_SECONDS)
            with self._lock:
                self._idle.clear()
            self._launch()


@dataclass(slots=True, eq=False)
class ServerFleet:
    """The servers of one endpoint configuration, with its variant and its data capture."""

    config_name: str
    variant: Json
    capture: Json
    servers: list[ModelServer]

    def request(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send a request to the least busy server, and to one other if that cannot be reached.

        Raises:
            ServerDown: neither can be reached.
        """
        *others, last = sorted(self.servers, key=lambda server: (server.busy, server.requests))[:TRIES]
        for server in others:
            try:
                return server.request(body, headers)
            except ServerDown:
                continue
        return last.request(body, headers)

    def check_request(self, body: bytes) -> None:
        """Refuse a request beyond the variant's limits.

        Raises:
            ServiceError: the body is too large, or a serverless variant already has its limit of requests.
        """
        serverless = self.variant.get("ServerlessConfig")
        limit = MAX_BODY_BYTES if serverless is None else MAX_SERVERLESS_BODY_BYTES
        if len(body) > limit:
            raise ServiceError("413", f"HTTP content length exceeded {limit} bytes.", status=413)
        if serverless and sum(server.busy for server in self.servers) >= serverless["MaxConcurrency"]:
            raise ServiceError("ThrottlingException", "Rate exceeded", status=429)

    def close(self) -> None:
        """End all servers at the same time; each may finish its current requests."""
        threads = [threading.Thread(target=server.close) for server in self.servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@dataclass(slots=True)
class EndpointFleets:
    """The fleets of an endpoint: the blue one, and during an update a green one with a share of the traffic."""

    blue: ServerFleet
    green: ServerFleet | None = None
    share: float = 0.0
    _requests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def request(self, body: bytes, headers: dict[str, str]) -> tuple[ServerFleet, Answer]:
        """Send a request to the fleet whose turn it is; if that was retired in between, to the other.

        Raises:
            ServerDown: the fleet cannot be reached.
        """
        fleet = self.choose()
        try:
            return fleet, fleet.request(body, headers)
        except ServerDown:
            if fleet in self.fleets():
                raise
            return self.blue, self.blue.request(body, headers)

    def choose(self) -> ServerFleet:
        """The fleet whose turn it is: of any run of n requests, green gets n times its share, give or take one."""
        with self._lock:
            self._requests += 1
            turn = int(self._requests * self.share) > int((self._requests - 1) * self.share)
            return self.green if turn and self.green is not None else self.blue

    def fleets(self) -> list[ServerFleet]:
        """Both fleets, or the only one."""
        return [self.blue] if self.green is None else [self.blue, self.green]

    def shift(self, green: ServerFleet | None, share: float) -> None:
        """Send *green* this share of the traffic."""
        with self._lock:
            self.green, self.share = green, share

    def finish(self) -> ServerFleet:
        """Make green the fleet in service; returns the old one, which gets no more traffic."""
        with self._lock:
            old = self.blue
            self.blue, self.green, self.share = self.green or old, None, 0.0
            return old
