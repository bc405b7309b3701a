"""The supervisor: a process that ends the whole cloud and removes its state, however the owner or the gateway ends.

Usage: python -m scones_local.supervisor STATE LOCK LISTENER OWNER (three inherited file descriptors).
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from scones_local.folders import SIGNATURE, remove_folder
from scones_local.processes import adopt_orphans, end_group

PATIENCE_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """Run the gateway until it ends, the owner ends, or a signal comes; then end all processes and remove the state."""
    state, lock, listener, owner = Path(arguments[0]), *map(int, arguments[1:4])
    adopt_orphans()
    wake, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    os.umask(0o077)  # all files of the cloud and of its programs are private
    os.pwrite(lock, f"{os.getpid()}\n".encode(), len(SIGNATURE))
    gateway = _start_gateway(state, lock, listener)
    os.close(listener)
    _watch(gateway, owner, wake)
    end_group(gateway.pid, PATIENCE_SECONDS)
    remove_folder(state)
    return 0


def _start_gateway(state: Path, lock: int, listener: int) -> subprocess.Popen[bytes]:
    """The gateway leads a group of its own: the supervisor can end it and then clean up.

    Its standard input is a pipe that only the supervisor can close: the gateway ends itself when that happens.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "scones_local.gateway", str(state), str(listener)],
        stdin=subprocess.PIPE,
        cwd=state,
        pass_fds=(lock, listener),
        start_new_session=True,
    )


def _watch(gateway: subprocess.Popen[bytes], owner: int, wake: int) -> None:
    """Return when the gateway ended, its owner ended, or a signal came."""
    watched = [owner, wake]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if owner in ready:
            if os.read(owner, 1) == b"":
                return
            watched.remove(owner)  # detached: from now on only a signal or the gateway's end counts
        if wake in ready:
            numbers = os.read(wake, 64)
            if gateway.poll() is not None or set(numbers) - {signal.SIGCHLD}:
                return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
