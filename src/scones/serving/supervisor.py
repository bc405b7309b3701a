"""The supervisor: forks the workers, replaces those that die or hang, and passes SIGTERM on."""

import gc
import logging
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import Final

from scones.domain.errors import SconesError

_log = logging.getLogger(__name__)

_YOUNG_SECONDS: Final = 2.0
_GIVE_UP_AFTER: Final = 5
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class WorkersKeepDying(SconesError):
    """New workers die as soon as they start; something is wrong that one more will not cure."""

    def __init__(self, deaths: int) -> None:
        super().__init__(
            f"{deaths} workers in a row died within {_YOUNG_SECONDS:.0f} s of their start; the lines above say why"
        )
        self.deaths = deaths


class Supervisor:
    """Keeps worker processes running.

    *work* is what each does, given its number and its lifeline: a pipe that ends when the supervisor does.
    *silent_seconds* tells how long a worker has shown no sign of life; *stopping* is called when the end begins.
    """

    def __init__(
        self,
        work: Callable[[int, int], None],
        silent_seconds: Callable[[int], float],
        stopping: Callable[[], None],
        *,
        drain_seconds: float,
        hang_seconds: float,
    ) -> None:
        self._work = work
        self._silent_seconds = silent_seconds
        self._stopping = stopping
        self._drain_seconds = drain_seconds
        self._hang_seconds = hang_seconds
        self._running: dict[int, tuple[int, float]] = {}
        self._stop_by: float | None = None
        self._young_deaths = 0
        self._lifeline, self._held = os.pipe()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)

    def run(self, workers: int) -> None:
        """Keep so many workers; return when all have gone after SIGTERM or SIGINT.

        Raises:
            WorkersKeepDying: five in a row died young; the others are stopped.
        """
        signal.set_wakeup_fd(self._waker)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        # What the workers inherit stays shared: the collector would touch, and so copy, every page of it.
        gc.collect()
        gc.freeze()
        for worker in range(workers):
            self._start(worker)
        while self._running:
            select.select([self._wake], [], [], 1.0)
            self._drop_wakes()
            self._reap()
            self._kill_overdue()
        if self._young_deaths >= _GIVE_UP_AFTER:
            raise WorkersKeepDying(self._young_deaths)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._stop()

    def _stop(self) -> None:
        if self._stop_by is None:
            # A moment more than a worker takes at most, so that none is killed while it closes in good order.
            self._stop_by = time.monotonic() + self._drain_seconds + 1.0
            self._stopping()
            for pid in self._running:
                os.kill(pid, signal.SIGTERM)

    def _start(self, worker: int) -> None:
        # A signal between the fork and the child's own handlers would run the supervisor's in the child.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self._stop_by is None:
            pid = os.fork()
            if pid == 0:
                self._become_worker(worker)
            self._running[pid] = (worker, time.monotonic())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _become_worker(self, worker: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Ctrl-C reaches the whole group; only the supervisor acts on it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for descriptor in (self._held, self._wake, self._waker):
                os.close(descriptor)
            self._work(worker, self._lifeline)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            # The supervisor's own way out must not run twice.
            os._exit(code)

    def _drop_wakes(self) -> None:
        try:
            while os.read(self._wake, 1024):
                pass
        except BlockingIOError:
            pass

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid not in self._running:
                # In a container this is process 1, which inherits strangers' orphans.
                continue
            worker, started = self._running.pop(pid)
            if self._stop_by is None:
                self._replace(worker, pid, status, time.monotonic() - started)

    def _replace(self, worker: int, pid: int, status: int, lived_seconds: float) -> None:
        code = os.waitstatus_to_exitcode(status)
        _log.warning("worker=%d pid=%d died code=%d lived_seconds=%.1f", worker, pid, code, lived_seconds)
        self._young_deaths = self._young_deaths + 1 if lived_seconds < _YOUNG_SECONDS else 0
        if self._young_deaths >= _GIVE_UP_AFTER:
            self._stop()
        else:
            self._start(worker)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for pid, (worker, started) in self._running.items():
            hangs = min(self._silent_seconds(worker), now - started) > self._hang_seconds
            if hangs:
                _log.error("worker=%d pid=%d hangs", worker, pid)
            if hangs or (self._stop_by is not None and now > self._stop_by):
                os.kill(pid, signal.SIGKILL)
