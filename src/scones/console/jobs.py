"""Jobs: work that takes longer than a request, one of a kind at a time, and the events that its page receives."""

import asyncio
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from scones.domain.errors import SconesError
from scones.domain.text import DEFAULT_ENV, printable, shown_env, with_env

_MAX_JOBS = 50
_MAX_LINES = 500
_POLL_SECONDS = 0.15
_SILENCE_SECONDS = 15.0


class Job:
    """One piece of work, and a Reporter for the step that does it; *url* is where its result is shown."""

    def __init__(self, verb: str, title: str) -> None:
        self.id = secrets.token_urlsafe(9)
        self.verb = verb
        self.title = title
        self.url = ""
        self.started = time.time()
        self.lines: list[str] = []
        self.bar: tuple[int, int, str] | None = None
        self.states: dict[str, str] = {}
        self.result: object = None
        self.error = ""
        self.ended = threading.Event()
        self.version = 0

    @property
    def status(self) -> str:
        """The status in one word."""
        if not self.ended.is_set():
            return "running"
        return "failed" if self.error else "done"

    def tell(self, line: str) -> None:
        """Add a line, unless it is there."""
        if (shown := printable(with_env(line))) not in self.lines:
            self.lines = [*self.lines, shown][-_MAX_LINES:]
        self.version += 1

    def progress(self, done: int, total: int, what: str, now: str = "") -> None:
        """Show a bar; a full one becomes a line."""
        self.bar = (done, total, printable(f"{what} {now}".strip())) if done < total else None
        if done >= total:
            self.tell(f"{what}: {total:,}")
        self.version += 1

    def countdown(self, left: float, seconds: int, what: str) -> None:
        """Show the seconds that are left as a bar."""
        self.bar = (round(seconds - left), seconds, printable(f"{what}, {left:.0f} s left")) if left > 0 else None
        self.version += 1

    def show(self, states: dict[str, str]) -> None:
        """Show what became of the states of a workflow so far."""
        if states != self.states:
            self.states = states
            self.version += 1

    def snapshot(self) -> dict[str, Any]:
        """What the page shows."""
        return {
            "status": self.status,
            "lines": self.lines,
            "bar": self.bar,
            "states": self.states,
            "error": self.error,
            "url": self.url,
            "seconds": round(time.time() - self.started),
        }


class Jobs:
    """The jobs of this console, newest last; those that ended long ago are forgotten."""

    def __init__(self, wrong: Callable[[BaseException], str], env: str = DEFAULT_ENV) -> None:
        self._wrong = wrong
        self._env = env
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    def find(self, job_id: str) -> Job | None:
        """Find a job; None if there is none of that id any more."""
        return self._jobs.get(job_id)

    def running(self) -> list[Job]:
        """The jobs that have not ended."""
        return [job for job in self._jobs.values() if not job.ended.is_set()]

    def recent(self) -> list[Job]:
        """The newest jobs, newest first."""
        return list(self._jobs.values())[::-1]

    def start(self, verb: str, title: str, work: Callable[[Job], object], *, alone: bool = True) -> Job:
        """Start *work* in a thread; if a job of that verb runs already, and must be *alone*, return that one.

        So a second click starts nothing.
        """
        with self._lock:
            if alone and (same := [job for job in self.running() if job.verb == verb]):
                return same[0]
            job = Job(verb, title)
            self._jobs[job.id] = job
            for old in [each for each in self._jobs.values() if each.ended.is_set()][:-_MAX_JOBS]:
                del self._jobs[old.id]
        threading.Thread(target=self._run, args=(job, work), name=f"console {verb}", daemon=True).start()
        return job

    def _run(self, job: Job, work: Callable[[Job], object]) -> None:
        shown_env.set(self._env)  # of this thread
        try:
            job.result = work(job)
        except SconesError as error:
            job.error = with_env("; ".join([printable(str(error)), *getattr(error, "__notes__", ())]))
        except Exception as error:  # noqa: BLE001 - a bug of one job is shown on its page, and logged with its trace
            job.error = self._wrong(error)
        finally:
            job.ended.set()
            job.version += 1

    async def events(self, job: Job) -> AsyncIterator[str]:
        """Yield the job's snapshots as server-sent events until it has ended, or the console stops."""
        seen, silent = -1, time.monotonic()
        while not self.stopping.is_set():
            version = job.version
            if version != seen:
                yield f"id: {version}\ndata: {json.dumps(job.snapshot())}\n\n"
                seen, silent = version, time.monotonic()
            if job.ended.is_set() and job.version == seen:
                yield "event: end\ndata: {}\n\n"
                return
            if time.monotonic() - silent > _SILENCE_SECONDS:
                yield ": still running\n\n"  # shows a connection that has gone
                silent = time.monotonic()
            await asyncio.sleep(_POLL_SECONDS)
