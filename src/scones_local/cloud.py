"""Start, find and stop a local cloud; everything that it writes lies in its state folder."""

import contextlib
import fcntl
import json
import os
import re
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

from scones_local.access import HEALTH, AccessKey, new_access_key
from scones_local.folders import (
    LOCK,
    SIGNATURE,
    FolderInUse,
    claim_folder,
    empty_folder,
    is_own_folder,
    is_signed,
    remove_folder,
    write_private,
)
from scones_local.processes import clean_environment

HOST = "127.0.0.1"
ACCOUNT = "000000000000"
RECORD = "cloud.json"
OPTIONS = "options.json"
CLIENT = str(Path(__file__).parent / "client")
"""The folder with which Python programs stay on the cloud whatever address their libraries give to boto3."""
SDK_CONFIG = "sagemaker-sdk.yaml"
"""Settings of the SageMaker SDK: it sends no telemetry."""
READY_SECONDS = 30.0
STOP_SECONDS = 15.0
MIN_FREE_BYTES = 64 << 20
"""With less free space on the disk a cloud could not even write its log."""

_supervisors: dict[int, tuple[subprocess.Popen[bytes], int]] = {}
"""The supervisors that this process started: pid -> (process, write end of the pipe that they watch)."""


class LocalCloudError(Exception):
    """The base of all errors that this package raises on purpose; each message is one line."""


class InvalidAccount(LocalCloudError):
    """The number of the account is not one of AWS."""

    def __init__(self, account: str) -> None:
        super().__init__(f"{account!r} is not the number of an AWS account: it must have 12 digits")


class CloudAlreadyRunning(LocalCloudError):
    """Another local cloud uses the same state folder."""

    def __init__(self, state: Path, pid: int) -> None:
        super().__init__(f"a local cloud already runs in {state} (pid {pid}); stop it, or use another folder")
        self.state = state
        self.pid = pid


class PortUnavailable(LocalCloudError):
    """The requested port cannot be used."""

    def __init__(self, port: int, reason: str) -> None:
        super().__init__(f"port {port} on {HOST} cannot be used ({reason}); choose another, or none for a free one")
        self.port = port


class StateFolderInUse(LocalCloudError):
    """The folder holds files that no local cloud wrote, or is a link, and a cloud removes its folders when it ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} holds other files, or is a link, and would be removed with the cloud; use a new or empty folder"
        )
        self.state = folder


class CloudNotReady(LocalCloudError):
    """The local cloud ended, or did not answer, while it started."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the local cloud did not start: {reason}")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs that run in place of container images, as argument lists.

    Args:
        image_prefix: images whose repository name begins with it are accepted, all others are refused. A Lambda
            function of such an image runs its handler in this Python, with everything that is installed in it.
        train: the program of a SageMaker training job.
        serve: the program of a SageMaker endpoint; it listens on 127.0.0.1 at the port SAGEMAKER_BIND_TO_PORT.
        image_classification: the program that trains in place of SageMaker's built-in algorithm of that name, for
            models that *serve* serves; without it, the algorithm's images are refused. It ends with 2 for wrong input.
        variables: environment variables for all programs; of this process's environment they get only what
            `processes.INHERITED` names.
    """

    image_prefix: str = ""
    train: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    image_classification: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def accept(self, image: str) -> bool:
        """Whether these programs run in place of *image*."""
        return bool(self.image_prefix) and repository_of(image).startswith(self.image_prefix)


def repository_of(image: str) -> str:
    """The repository name in an image's address: without registry, tag and digest."""
    registry, slash, rest = image.partition("/")
    name = rest if slash and ("." in registry or ":" in registry) else image
    return name.split("@")[0].split(":")[0]


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running local cloud; *pid* is its supervisor's. It answers only requests that are signed with *key*."""

    endpoint_url: str
    port: int
    state: Path
    pid: int
    key: AccessKey = field(repr=False)
    region: str = "us-east-1"
    account: str = ACCOUNT
    s3_folder: Path | None = None
    """Where S3 is written if it is to outlive a crash of the cloud; only `stop` removes it."""


def start(  # noqa: PLR0913 - all but the folder are options
    state: Path,
    *,
    port: int | None = None,
    programs: Programs | None = None,
    s3_folder: Path | None = None,
    key: AccessKey | None = None,
    account: str = ACCOUNT,
) -> Cloud:
    """Start a cloud in *state* and return once it answers.

    The cloud ends when this process does, however it ends; `detach` changes that. With *s3_folder*, S3 is written
    there, and a later cloud with the same folder finds it again. Without *programs*, all container images are refused.
    Without *key*, the access key is random. All ARNs have the number of *account*.

    Raises:
        InvalidAccount, CloudAlreadyRunning, PortUnavailable, StateFolderInUse, CloudNotReady
    """
    if not re.fullmatch("[0-9]{12}", account):
        raise InvalidAccount(account)
    programs, key = programs or Programs(), key or new_access_key()
    state, s3_folder = state.absolute(), s3_folder and s3_folder.absolute()
    try:
        if s3_folder:
            claim_folder(s3_folder)
        lock = _take_lock(state)
    except FolderInUse as error:
        raise StateFolderInUse(Path(str(error))) from None
    except OSError as error:
        raise CloudNotReady(f"{state}: {error.strerror}") from None
    try:
        _require_space(state)
        with _listen(port) as listener:
            number = int(listener.getsockname()[1])
            options = {"programs": asdict(programs), "s3_folder": str(s3_folder or ""), "key": key, "account": account}
            _write_json(state / OPTIONS, options)
            pid = _launch(state, lock, listener.fileno())
    except (LocalCloudError, OSError) as error:
        remove_folder(state)
        if isinstance(error, LocalCloudError):
            raise
        raise CloudNotReady(str(error)) from None
    finally:
        os.close(lock)
    cloud = Cloud(f"http://{HOST}:{number}", number, state, pid, key, account=account, s3_folder=s3_folder)
    try:
        _await_ready(cloud)
    except BaseException:  # Ctrl-C included: a half-started cloud must not stay
        stop(replace(cloud, s3_folder=None))
        raise
    return cloud


def stop(cloud: Cloud) -> None:
    """End *cloud* and all its processes, and remove its state; does nothing if it has already ended."""
    process, pipe = _supervisors.pop(cloud.pid, (None, None))
    forget(cloud.state)
    if process is not None or _lock_holder(cloud.state) == cloud.pid:
        with _opened(cloud.state / LOCK) as lock:
            with contextlib.suppress(ProcessLookupError):
                os.kill(cloud.pid, signal.SIGTERM)
            _await_end(process, lock)
        remove_folder(cloud.state)
    if cloud.s3_folder is not None:
        remove_folder(cloud.s3_folder)
    if pipe is not None:
        os.close(pipe)


def has_died(state: Path) -> bool:
    """Whether a detached cloud was started in *state* and has ended without `stop`."""
    # A cloud that is ending may hold its lock for a moment after its record is gone.
    return is_signed(_marker(state.absolute())) and find(state) is None


def forget(state: Path) -> None:
    """Remove the record of a detached cloud in *state*, after which `has_died` is false; reap clouds that died."""
    marker = _marker(state.absolute())
    if is_signed(marker):
        marker.unlink(missing_ok=True)
    for pid, (process, pipe) in list(_supervisors.items()):
        if process.poll() is not None:  # killed, with or without our doing
            del _supervisors[pid]
            os.close(pipe)


def find(state: Path) -> Cloud | None:
    """The cloud that runs in *state*, if there is one."""
    state = state.absolute()
    if _lock_holder(state) is None:
        return None
    try:
        record = json.loads((state / RECORD).read_text())
    except (OSError, ValueError):
        return None
    s3_folder = Path(record["s3_folder"]) if record["s3_folder"] else None
    return Cloud(**{**record, "state": Path(record["state"]), "key": AccessKey(*record["key"]), "s3_folder": s3_folder})


def detach(cloud: Cloud) -> None:
    """Let *cloud* outlive the process that started it; from then on only `stop` ends it."""
    _, pipe = _supervisors.get(cloud.pid, (None, None))
    if pipe is not None:
        os.write(pipe, b"k")
        _record_detached(cloud.state)


def exports(cloud: Cloud) -> dict[str, str]:
    """The environment that points boto3, the SageMaker SDK, the `aws` command and every child process at *cloud*."""
    found = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != CLIENT]
    return {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "AWS_ACCESS_KEY_ID": cloud.key.key_id,
        "AWS_SECRET_ACCESS_KEY": cloud.key.secret,
        "AWS_DEFAULT_REGION": cloud.region,
        "AWS_REGION": cloud.region,
        # StartSyncExecution would otherwise go to the host sync-127.0.0.1.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_EC2_METADATA_DISABLED": "true",
        # A profile of the user's must not send a local run to a real account.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
        "PYTHONPATH": os.pathsep.join([CLIENT, *found]),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(cloud.state / SDK_CONFIG),
    }


def _marker(state: Path) -> Path:
    """The file that records a detached cloud: beside its folder, which is removed however the cloud ends."""
    return state.with_name(f"{state.name}.up")


def _record_detached(state: Path) -> None:
    """Write the marker, unless a file of that name exists: it is ours already, or not ours to replace."""
    marker = _marker(state)
    if not (marker.exists() or marker.is_symlink()):
        write_private(marker, SIGNATURE)


def _take_lock(state: Path) -> int:
    """Lock the state folder and remove what a crashed cloud left in it; returns the lock's file descriptor."""
    while True:
        claim_folder(state)
        try:
            descriptor = os.open(state / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # a cloud that was just ending has removed it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if (holder := _lock_holder(state)) is not None:
                raise CloudAlreadyRunning(state, holder) from None
            continue
        with contextlib.suppress(FileNotFoundError):
            # A cloud that was just ending may have removed the file that we have locked.
            if os.path.samestat(os.fstat(descriptor), (state / LOCK).stat()):
                break
        os.close(descriptor)
    empty_folder(state)
    return descriptor


def _lock_holder(state: Path) -> int | None:
    """The pid in the lock file, if a running cloud of this user holds the lock."""
    if not is_own_folder(state):
        return None
    with contextlib.suppress(FileNotFoundError), (state / LOCK).open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read()[len(SIGNATURE) :] or 0)
    return None


def _require_space(state: Path) -> None:
    free = shutil.disk_usage(state).free
    if free < MIN_FREE_BYTES:
        needed = f"it needs at least {MIN_FREE_BYTES >> 20} MB: free some, or set state to another disk"
        raise CloudNotReady(f"the disk of {state} has only {free >> 20} MB free; {needed}")


def _listen(port: int | None) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port or 0))
        listener.listen(256)
    except (OSError, OverflowError) as error:
        listener.close()
        raise PortUnavailable(port or 0, getattr(error, "strerror", None) or str(error)) from None
    return listener


def _launch(state: Path, lock: int, listener: int) -> int:
    """Start the supervisor, in a session of its own so that Ctrl-C here does not reach it; returns its pid."""
    for name in ("log", "tmp"):
        (state / name).mkdir(mode=0o700)
    write_private(state / "log" / "cloud.log", b"")
    reader, writer = os.pipe()
    with (state / "log" / "cloud.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scones_local.supervisor", str(state), str(lock), str(listener), str(reader)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**clean_environment(), "TMPDIR": str(state / "tmp")},
            cwd=state,
            pass_fds=(lock, listener, reader),
            start_new_session=True,
        )
    os.close(reader)
    _supervisors[process.pid] = (process, writer)
    return process.pid


def _await_ready(cloud: Cloud) -> None:
    """Return once the gateway answers; the socket already listens, so one request waits for it.

    The log is opened first: when the gateway fails, the supervisor removes the folder before we could read it.
    """
    with (cloud.state / "log" / "cloud.log").open("rb") as log:
        try:
            with socket.create_connection((HOST, cloud.port), READY_SECONDS) as connection:
                request = f"GET {HEALTH} HTTP/1.1\r\nHost: {HOST}:{cloud.port}\r\nConnection: close\r\n\r\n"
                connection.sendall(request.encode())
                answered = connection.recv(1)
        except OSError as error:
            raise CloudNotReady(_last_line(log) or str(error)) from None
        if not answered:
            raise CloudNotReady(_last_line(log) or "it ended before it answered")
    _write_json(
        cloud.state / SDK_CONFIG,
        {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}},
    )
    _write_json(
        cloud.state / RECORD, {**asdict(cloud), "state": str(cloud.state), "s3_folder": str(cloud.s3_folder or "")}
    )


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a file that other processes may be reading: they see the whole of it, or none."""
    write_private(path, json.dumps(content).encode())


def _last_line(log: BinaryIO) -> str:
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
    """Wait until the supervisor and the gateway have ended: both hold the lock for as long as they run."""
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
