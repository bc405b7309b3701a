"""What SageMaker's code needs from this machine: programs to run, a place for objects, and one for logs."""

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ministack.app import call_service_handler_sync
from ministack.services import cloudwatch_logs

from scones_local.storage import ObjectStore


class Logs:
    """CloudWatch Logs from inside the gateway; called from worker threads only."""

    def __init__(self) -> None:
        self._streams: set[tuple[str, str]] = set()

    def write(self, group: str, stream: str, line: str) -> None:
        """Append one line; the group and the stream come into being with their first."""
        names = {"logGroupName": group, "logStreamName": stream}
        if (group, stream) not in self._streams:
            self._streams.add((group, stream))
            self._call("CreateLogGroup", {"logGroupName": group})
            self._call("CreateLogStream", names)
        event = {"timestamp": int(time.time() * 1000), "message": line or " "}
        self._call("PutLogEvents", {**names, "logEvents": [event]})

    def _call(self, operation: str, query: object) -> None:
        headers = {"x-amz-target": f"Logs_20140328.{operation}"}
        call_service_handler_sync(cloudwatch_logs.handle_request, "POST", "/", headers, json.dumps(query).encode(), {})


@dataclass(slots=True)
class Runner:
    """How containers are stood in for here."""

    train: tuple[str, ...]
    serve: tuple[str, ...]
    image_prefix: str
    environment: dict[str, str]
    store: ObjectStore
    logs: Logs

    def start(self, program: tuple[str, ...], folder: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start *program* in *folder*; its output and errors come through its `stdout`."""
        return subprocess.Popen(
            list(program),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**self.environment, "PYTHONUNBUFFERED": "1", **variables},
        )


def last_line(path: Path) -> str:
    """The last line with anything on it."""
    with contextlib.suppress(OSError):
        return next((line for line in reversed(path.read_text(errors="replace").splitlines()) if line.strip()), "")
    return ""
