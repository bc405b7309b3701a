"""The servers that are compared: how each is started, and what it costs the machine."""

import base64
import json
import os
import signal
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

PACKAGES = ("uvicorn[standard]", "granian", "fastapi", "flask", "gunicorn", "litserve", "bentoml")
SAME_VERSION = ("httptools", "numpy", "onnxruntime", "pillow", "uvloop")


@dataclass(frozen=True)
class Kind:
    """How to start a server, given `{port}` and `{workers}`, and how to ask it for one photo."""

    name: str
    command: str
    path: str = "/invocations"
    ping: str = "/ping"
    encode: Callable[[bytes], tuple[str, bytes]] = lambda photo: ("application/x-image", photo)

    def request(self, photo: bytes) -> bytes:
        """Write the request as it goes over the wire."""
        kind, body = self.encode(photo)
        head = [f"POST {self.path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}"]
        return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _in_json(photo: bytes) -> tuple[str, bytes]:
    return "application/json", json.dumps({"photo": base64.b64encode(photo).decode()}).encode()


OURS = "scones"
_UVICORN = "--port {port} --workers {workers} --no-access-log --log-level error"
_GUNICORN = "--bind 127.0.0.1:{port} --workers {workers} --worker-class gthread --threads 16 --log-level error"
KINDS = (
    Kind(OURS, "python -m scones.serving"),
    Kind("bare ASGI, uvicorn", f"uvicorn benchmarks.peers.bare_asgi:app {_UVICORN}"),
    Kind(
        "bare ASGI, granian",
        "granian benchmarks.peers.bare_asgi:app --interface asgi --port {port} --workers {workers} --no-ws",
    ),
    Kind("FastAPI, uvicorn", f"uvicorn benchmarks.peers.fastapi_app:app {_UVICORN}"),
    Kind("Flask, gunicorn", f"gunicorn benchmarks.peers.flask_app:app {_GUNICORN}"),
    Kind("LitServe", "python -m benchmarks.peers.litserve_app {port}", encode=_in_json),
    Kind(
        "BentoML, mounted ASGI",
        "bentoml serve benchmarks.peers.bentoml_app:Classifier --host 127.0.0.1 --port {port}",
        path="/app/invocations",
        ping="/readyz",
    ),
)


@dataclass(frozen=True)
class Place:
    """Where the peers' programs are, what every server finds in its environment, and where its output goes."""

    programs: Path
    environment: Mapping[str, str]
    log: Path


def prepare_peers(folder: Path) -> Path:
    """Make the peers' own virtual environment once; return its programs' folder."""
    programs = folder / "bin"
    ready = folder / ".ready"
    if not ready.exists():
        print("installing the peers, once", file=sys.stderr)
        venv.create(folder, with_pip=True)
        versions = {line.split("==")[0].lower(): line for line in _pip(Path(sys.executable).parent, "freeze").split()}
        same = [versions[name] for name in SAME_VERSION if name in versions]
        _pip(programs, "install", "--quiet", *PACKAGES, *same)
        ready.touch()
    return programs


def peer_versions(programs: Path) -> str:
    """Name the peers' versions in one line."""
    names = {package.split("[")[0] for package in PACKAGES}
    lines = [
        line.replace("==", " ") for line in _pip(programs, "freeze").split() if line.split("==")[0].lower() in names
    ]
    return ", ".join(sorted(lines))


def _pip(programs: Path, *arguments: str) -> str:
    command = [str(programs / "python"), "-m", "pip", *arguments, "--disable-pip-version-check"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Tree:
    """A server's processes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def cpu_seconds(self) -> float:
        """The processor time that all of them used so far."""
        return sum(sum(one.cpu_times()[:2]) for one in self._all())

    def pss_mb(self) -> float:
        """Their memory, shared pages divided among those that share them."""
        return sum(one.memory_full_info().pss for one in self._all()) / 1e6

    def pids(self) -> set[int]:
        """Their process ids."""
        return {one.pid for one in self._all()}

    def _all(self) -> list[psutil.Process]:
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]


@contextmanager
def running(kind: Kind, place: Place, port: int, workers: int) -> Iterator[Tree]:
    """Start a server, and end it with all its processes."""
    programs = Path(sys.executable).parent if kind.name == OURS else place.programs
    program, *arguments = kind.command.format(port=port, workers=workers).split()
    with place.log.open("ab") as file:
        process = subprocess.Popen(
            [str(programs / program), *arguments],
            env=os.environ | place.environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield Tree(process)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    members = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in psutil.wait_procs(members, timeout=2)[1]:
        member.kill()
