"""One endpoint's server process: watched over, restarted after a crash, spoken to over kept connections."""

import http.client
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import IO

from scones_local.processes import end_tree
from scones_local.sagemaker.programs import Runner, last_line

PING_SECONDS = 0.05
STARTUP_SECONDS = 120.0
INVOKE_SECONDS = 60.0
DRAIN_SECONDS = 10.0
SLOWEST_RESTART_SECONDS = 5.0
LOG_BYTES = 5_000_000

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers in small letters, body."""


class ServerFailed(Exception):
    """The server did not become healthy; the text ends with its last log line."""


class ServerDown(Exception):
    """The server cannot be reached at the moment."""


class Server:
    """A running serving program on a port of its own."""

    def __init__(self, runner: Runner, folder: Path, variables: dict[str, str], startup_seconds: float) -> None:
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
        self.asked = 0
        self._launch()

    def await_healthy(self) -> None:
        """Return once `/ping` answers 200, then watch over the process.

        Raises:
            ServerFailed: it ended, or took too long.
        """
        deadline = time.monotonic() + self._startup_seconds
        while not self._ping():
            if self._process.poll() is not None or self._ending.is_set() or time.monotonic() > deadline:
                self._reader.join(1.0)
                words = last_line(self._log) or "(none)"
                self.close()
                raise ServerFailed(
                    f"The primary container did not pass the ping health check. Its last log line: {words}"
                )
            time.sleep(PING_SECONDS)
        threading.Thread(target=self._watch, daemon=True).start()

    def request(self, body: bytes, headers: dict[str, str]) -> Answer:
        """POST /invocations; a connection that the server has closed meanwhile is replaced once.

        Raises:
            ServerDown: no connection could be made, or the answer did not come in time.
        """
        with self._lock:
            connection = self._idle.pop() if self._idle else None
            self.busy += 1
            self.asked += 1
        try:
            return self._ask(connection, body, headers)
        finally:
            with self._lock:
                self.busy -= 1

    def close(self) -> None:
        """End the process, which may finish what it has begun, and remove its folder."""
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
        variables = {**self._variables, "SAGEMAKER_BIND_TO_PORT": str(self.port), "SCONES_BIND_HOST": "127.0.0.1"}
        self._process = self._runner.start(self._runner.serve, self._folder, variables)
        self._reader = threading.Thread(target=self._keep_log, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _keep_log(self, stdout: IO[bytes]) -> None:
        """Copy the server's output to its log, which starts anew when it has grown large."""
        with stdout, self._log.open("ab") as log:
            for line in stdout:
                if log.tell() > LOG_BYTES:
                    log.truncate(0)
                log.write(line)
                log.flush()

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
        """Restart the process whenever it ends unasked, ever more slowly."""
        pause = 0.1
        while not self._ending.is_set():
            self._process.wait()
            if self._ending.wait(pause):
                return
            pause = min(pause * 2, SLOWEST_RESTART_SECONDS)
            with self._lock:
                self._idle.clear()
            self._launch()
