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
_HIDDEN = ("AWS_", "SM_", "SAGEMAKER_", "LAMBDA_", "PYTHONWARNINGS")


def clean_environment(hidden: tuple[str, ...]) -> dict[str, str]:
    """The environment of the cloud's processes, without the user's AWS account and proxies.

    Args:
        hidden: prefixes of further variables to leave out.
    """
    left_out = (*_HIDDEN, *hidden)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out) and not k.upper().endswith("_PROXY")}
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
