"""Processes: a clean environment for them, and how to end whole groups and trees of them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH"),
    *("XDG_CACHE_HOME", "TORCH_HOME", "ORT_DISABLE_TELEMETRY", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VIRTUAL_ENV"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
)
"""The variables of the user's environment that the cloud's processes inherit, besides LC_...: none holds a secret."""


def clean_environment() -> dict[str, str]:
    """The environment of the cloud's processes: what INHERITED names, and no proxy for this machine."""
    kept = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("LC_")}
    return {**kept, "NO_PROXY": "127.0.0.1,localhost"}


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs, so that all can be ended (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_group(group: int, patience_seconds: float) -> None:
    """End every process of *group*: TERM first, KILL what is left after *patience_seconds*."""
    for sign, patience in ((signal.SIGTERM, patience_seconds), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, sign)
        deadline = time.monotonic() + patience
        while _group_runs(group) and time.monotonic() < deadline:
            _reap()
            time.sleep(0.01)
    deadline = time.monotonic() + patience_seconds
    while (left := _children()) and time.monotonic() < deadline:
        kill_all(left)  # processes that had left the group and became our children when their parent ended
        _reap()
        time.sleep(0.01)


def _group_runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _children() -> list[int]:
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    with contextlib.suppress(OSError):
        return [int(pid) for pid in listing.read_text().split()]
    return []


def end_tree(process: subprocess.Popen[bytes], patience_seconds: float) -> None:
    """End *process* and what it started: TERM to the process, and KILL for whatever is left of the tree."""
    family = descendants(process.pid)
    process.terminate()
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    kill_all(family)


def kill_all(pids: list[int]) -> None:
    """KILL each; those that have already ended are ignored."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """The children of *pid*, theirs, and so on (Linux only; empty elsewhere)."""
    with contextlib.suppress(OSError):
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [*direct, *(grandchild for child in direct for grandchild in descendants(child))]
    return []
