"""Start, find and stop a local cloud; its state folder holds everything it ever writes."""

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from scones.domain.errors import SconesError
from scones_local.processes import clean_environment

HOST = "127.0.0.1"
LOCK = "lock"
RECORD = "cloud.json"
READY_SECONDS = 30.0
STOP_SECONDS = 15.0
LEAST_FREE_BYTES = 64 << 20
"""With less disk a cloud could not even say what it lacks."""

_supervisors: dict[int, tuple[subprocess.Popen[bytes], int]] = {}
"""The supervisors that this process started: pid -> (process, write end of the pipe that they watch)."""


class CloudAlreadyRunning(SconesError):
    """Another local cloud stands on the same state folder."""

    def __init__(self, state: Path, pid: int) -> None:
        super().__init__(f"a local cloud already runs in {state} (pid {pid}); stop it, or use another folder")
        self.state = state
        self.pid = pid


class PortTaken(SconesError):
    """The wanted port is somebody else's."""

    def __init__(self, port: int, reason: str) -> None:
        super().__init__(f"port {port} on {HOST} cannot be used ({reason}); choose another, or none for a free one")
        self.port = port


class StateFolderNotOurs(SconesError):
    """The state folder holds files that no local cloud wrote, and a cloud removes its folder when it ends."""

    def __init__(self, state: Path) -> None:
        super().__init__(f"{state} holds other files and would be removed with the cloud; use a new or empty folder")
        self.state = state


class CloudDied(SconesError):
    """A cloud that was to stay has ended, not by `stop`: whoever worked on it must not be sent to AWS unasked."""

    def __init__(self, state: Path) -> None:
        env = state.name
        super().__init__(
            f"the local cloud of environment {env!r} has died, with all that was not durable; to start another, run: "
            f"scones local up --env {env}; to be on AWS from now on, run: scones local down --env {env}"
        )
        self.state = state


class CloudNotReady(SconesError):
    """The local cloud ended, or did not answer, while it started."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the local cloud did not start: {reason}")


@dataclass(frozen=True, slots=True)
class Programs:
    """What SageMaker's containers run here: argument lists, Python first.

    `image_prefix` is how the repository name of an acceptable image begins.
    """

    train: tuple[str, ...] = (sys.executable, "-m", "scones.runtime.train")
    serve: tuple[str, ...] = (sys.executable, "-m", "scones.runtime.serve")
    image_prefix: str = "scones"


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running local cloud; *pid* is its supervisor's."""

    endpoint_url: str
    port: int
    state: Path
    pid: int
    region: str = "us-east-1"
    account: str = "000000000000"
    programs: Programs = field(default_factory=Programs)
    kept: Path | None = None
    """Where S3 lies that outlives the cloud's death; only `stop` removes it."""


def start(
    state: Path,
    *,
    port: int | None = None,
    owned: bool = True,
    programs: Programs | None = None,
    kept: Path | None = None,
) -> Cloud:
    """Start a cloud in *state* and return once it answers.

    An owned cloud ends when this process does, however it dies; `keep` changes that. What lies in S3 is written to
    *kept*, where that is given, and found there again by a later cloud.

    Raises:
        CloudAlreadyRunning, PortTaken, StateFolderNotOurs, CloudNotReady
    """
    programs = programs or Programs()
    state, kept = state.absolute(), kept and kept.absolute()
    environment = _environment(state, programs, kept)
    try:
        lock = _take_lock(state)
    except OSError as error:
        raise CloudNotReady(f"{state}: {error.strerror}") from None
    try:
        _require_space(state)
        with _listen(port) as listener:
            number = int(listener.getsockname()[1])
            pid = _launch(state, lock, listener.fileno(), owned, environment)
    except (PortTaken, CloudNotReady, OSError) as error:
        shutil.rmtree(state, ignore_errors=True)
        if isinstance(error, SconesError):
            raise
        raise CloudNotReady(str(error)) from None
    finally:
        os.close(lock)
    cloud = Cloud(f"http://{HOST}:{number}", number, state, pid, programs=programs, kept=kept)
    try:
        _await_ready(cloud)
    except BaseException:  # Ctrl-C included: a half-started cloud must not stay
        stop(replace(cloud, kept=None))
        raise
    if not owned:
        _promise(state).touch()
    return cloud


def stop(cloud: Cloud) -> None:
    """End *cloud* and all its processes, and remove its state; nothing happens when it is already gone."""
    forget(cloud.state)
    process, pipe = _supervisors.pop(cloud.pid, (None, None))
    if process is not None or _lock_holder(cloud.state) == cloud.pid:
        with _opened(cloud.state / LOCK) as lock:
            with contextlib.suppress(ProcessLookupError):
                os.kill(cloud.pid, signal.SIGTERM)
            _await_end(process, lock)
        shutil.rmtree(cloud.state, ignore_errors=True)
    if cloud.kept is not None:
        shutil.rmtree(cloud.kept, ignore_errors=True)
    if pipe is not None:
        os.close(pipe)


def forget(state: Path) -> None:
    """Remember no more that a cloud was to stay in *state*."""
    _promise(state.absolute()).unlink(missing_ok=True)


def refuse_dead(state: Path) -> None:
    """Raise CloudDied where a cloud was to stay in *state* and none runs there any more."""
    if _promise(state.absolute()).exists() and _lock_holder(state) is None:
        raise CloudDied(state)


def standing(state: Path) -> Cloud | None:
    """The cloud that runs in *state*, if one does."""
    state = state.absolute()
    if _lock_holder(state) is None:
        return None
    try:
        record = json.loads((state / RECORD).read_text())
    except (OSError, ValueError):
        return None
    found = record.pop("programs")
    programs = Programs(tuple(found["train"]), tuple(found["serve"]), found["image_prefix"])
    kept = record.pop("kept")
    return Cloud(
        **{**record, "state": Path(record["state"]), "programs": programs, "kept": Path(kept) if kept else None}
    )


def keep(cloud: Cloud) -> None:
    """Let *cloud* outlive the process that started it; only `stop` ends it then."""
    _, pipe = _supervisors.get(cloud.pid, (None, None))
    if pipe is not None:
        os.write(pipe, b"k")
        _promise(cloud.state).touch()


def exports(cloud: Cloud) -> dict[str, str]:
    """The environment that points boto3, the `aws` command and every child process at *cloud*."""
    return {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": cloud.region,
        "AWS_REGION": cloud.region,
        # StartSyncExecution would otherwise go to the host sync-127.0.0.1.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_EC2_METADATA_DISABLED": "true",
        # A profile of the user's must not send a local run to a real account.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
    }


def _promise(state: Path) -> Path:
    """The file that says that a cloud is to stay: beside its folder, which goes with it however it ends."""
    return state.with_name(f"{state.name}.up")


def _take_lock(state: Path) -> int:
    """Lock the state folder, emptied of what a crashed cloud left; returns the lock's file descriptor."""
    while True:
        _refuse_foreign(state)
        state.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(state / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if (holder := _lock_holder(state)) is not None:
                raise CloudAlreadyRunning(state, holder) from None
            continue
        with contextlib.suppress(FileNotFoundError):
            # A cloud that was just ending may have removed the very file that we hold.
            if os.path.samestat(os.fstat(descriptor), (state / LOCK).stat()):
                break
        os.close(descriptor)
    for left in state.iterdir():
        if left.name != LOCK:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    return descriptor


def _refuse_foreign(state: Path) -> None:
    if not state.exists():
        return
    if not state.is_dir() or ({entry.name for entry in state.iterdir()} and not (state / LOCK).exists()):
        raise StateFolderNotOurs(state)


def _lock_holder(state: Path) -> int | None:
    """The pid in the lock file, if a living cloud holds it."""
    try:
        with (state / LOCK).open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
    except FileNotFoundError:
        pass
    return None


def _require_space(state: Path) -> None:
    free = shutil.disk_usage(state).free
    if free < LEAST_FREE_BYTES:
        needed = f"it needs {LEAST_FREE_BYTES >> 20} MB at least: free some, or set state to another disk"
        raise CloudNotReady(f"the disk of {state} is full but for {free >> 20} MB; {needed}")


def _listen(port: int | None) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port or 0))
        listener.listen(256)
    except (OSError, OverflowError) as error:
        listener.close()
        raise PortTaken(port or 0, getattr(error, "strerror", None) or str(error)) from None
    return listener


def _launch(state: Path, lock: int, listener: int, owned: bool, environment: Mapping[str, str]) -> int:
    """Start the supervisor, in a session of its own so that Ctrl-C here does not reach it."""
    for name in ("log", "tmp"):
        (state / name).mkdir()
    reader, writer = os.pipe()
    with (state / "log" / "cloud.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scones_local.supervisor", str(state), str(lock), str(listener), str(reader)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=state,
            pass_fds=(lock, listener, reader),
            start_new_session=True,
        )
    os.close(reader)
    _supervisors[process.pid] = (process, writer)
    if not owned:
        os.write(writer, b"k")
    return process.pid


def _environment(state: Path, programs: Programs, kept: Path | None) -> Mapping[str, str]:
    ours = {"SCONES_LOCAL_PROGRAMS": json.dumps(asdict(programs)), "SCONES_LOCAL_KEPT": str(kept or "")}
    return {**clean_environment(), "TMPDIR": str(state / "tmp"), **ours}


def _await_ready(cloud: Cloud) -> None:
    """Return once the gateway answers; the socket already listens, so one request waits for it.

    The log is opened first: when the gateway fails, the supervisor removes the folder before we could look.
    """
    log = (cloud.state / "log" / "cloud.log").open("rb")
    connection = http.client.HTTPConnection(HOST, cloud.port, timeout=READY_SECONDS)
    try:
        connection.request("GET", "/_ministack/health")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise CloudNotReady(_last_words(log) or str(error)) from None
    finally:
        connection.close()
        log.close()
    record = {**asdict(cloud), "state": str(cloud.state), "kept": str(cloud.kept or "")}
    draft = cloud.state / "cloud.draft"
    draft.write_text(json.dumps(record))
    draft.replace(cloud.state / RECORD)


def _last_words(log: BinaryIO) -> str:
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | None]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        yield file


def _await_end(process: subprocess.Popen[bytes] | None, lock: BinaryIO | None) -> None:
    """Wait until neither the supervisor nor the gateway is left: both hold the lock for as long as they live."""
    if process is not None:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # the gateway sees its pipe close and ends by itself
            process.wait()
    deadline = time.monotonic() + STOP_SECONDS
    while lock is not None and time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        time.sleep(0.01)
