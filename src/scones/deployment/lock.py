"""Lease: one command at a time changes an environment; an object in its bucket says which, renewed while it works.

No clock is compared with another: whoever finds the object looks whether it changes.
"""

import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from scones.aws.client import pauses
from scones.aws.connection import Aws
from scones.aws.s3 import Bucket
from scones.deployment.inventory import owns_bucket
from scones.domain.errors import SconesError
from scones.domain.progress import Reporter

KEY = "flow/lease.json"
_LONGEST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a holder renews its lease, and after how long a silence it is taken for dead."""

    beat_seconds: float = 5.0
    silent_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who changes the environment; *beats* counts, so that each renewal is another content."""

    id: str = ""
    caller: str = "somebody"
    machine: str = "another machine"
    verb: str = "?"
    since: str = "a time unknown"
    beats: int = 0

    def __str__(self) -> str:
        """Name them for a person."""
        return f"{self.caller} on {self.machine} runs `scones {self.verb}` since {self.since}"


class EnvironmentBusy(SconesError):
    """Another command changes the environment at this moment."""

    def __init__(self, env: str, holder: Holder) -> None:
        super().__init__(
            f"environment {env!r} is being changed: {holder}; wait for its end, or end it there, and run the same "
            "command again"
        )
        self.holder = holder


class LeaseLost(SconesError):
    """This command fell silent, and another took the environment over before this one ended."""

    def __init__(self, env: str, verb: str) -> None:
        super().__init__(
            f"`scones {verb}` was out of touch with AWS for so long that another command took environment {env!r} "
            "over; see what stands, and run it again if need be: scones status"
        )


@contextmanager
def held(aws: Aws, verb: str, report: Reporter, pace: Pace | None = None) -> Iterator[None]:
    """Hold the environment while *verb* changes it; before it has a bucket, there is nothing to hold.

    Raises:
        EnvironmentBusy: another command holds it, and is alive.
        LeaseLost: the work is done, but not alone.
    """
    if not owns_bucket(aws):
        yield
        return
    since = datetime.now(UTC).isoformat(timespec="seconds")
    lease = _Lease(aws.bucket, Holder(uuid.uuid4().hex, aws.caller, platform.node(), verb, since), pace or Pace())
    lease.take(aws.env, report)
    beating = threading.Thread(target=lease.keep, daemon=True)
    beating.start()
    try:
        yield
    finally:
        lease.ended.set()
        beating.join()
        # One that cannot be given back runs out by itself; what went wrong before is the better news.
        with suppress(SconesError):
            lease.give_back()
    if lease.lost:
        raise LeaseLost(aws.env, verb)


class _Lease:
    def __init__(self, bucket: Bucket, holder: Holder, pace: Pace) -> None:
        self._bucket = bucket
        self._holder = holder
        self._pace = pace
        self._tag = ""
        self.ended = threading.Event()
        self.lost = False

    def take(self, env: str, report: Reporter) -> None:
        """Take the lease where nobody has it, or where its holder is silent; raises EnvironmentBusy."""
        seen, first = "", 0.0
        for _ in pauses(f"{KEY} becoming free", _LONGEST_SECONDS):
            body, tag = self._bucket.find_version(KEY)
            if body is not None and not self._is_mine(body):
                if not seen:
                    report.tell(f"{_read(body)}: looking for {self._pace.silent_seconds:g} s whether it still does")
                    seen, first = tag, time.monotonic()
                if tag != seen:
                    raise EnvironmentBusy(env, _read(body))
                if time.monotonic() - first < self._pace.silent_seconds:
                    continue
            if self._write(tag):
                return

    def keep(self) -> None:
        """Renew the lease until it has ended or is lost."""
        while not self.lost and not self.ended.wait(self._pace.beat_seconds):
            # Out of touch for a moment; what is being done will say so itself if it lasts.
            with suppress(SconesError):
                self.lost = not self._renew()

    def give_back(self) -> None:
        """Delete the object, unless another has it; renewed just before, nobody takes it in between."""
        self.lost = self.lost or not self._renew()
        if not self.lost:
            self._bucket.remove([KEY])

    def _renew(self) -> bool:
        if self._write(self._tag):
            return True
        # A write that AWS took, and whose answer was lost on the way, is refused when it is sent again.
        body, tag = self._bucket.find_version(KEY)
        return body is not None and self._is_mine(body) and self._write(tag)

    def _write(self, tag: str) -> bool:
        self._holder = replace(self._holder, beats=self._holder.beats + 1)
        written = self._bucket.replace(KEY, msgspec.json.encode(self._holder), tag)
        self._tag = written or self._tag
        return written is not None

    def _is_mine(self, body: bytes) -> bool:
        return _read(body).id == self._holder.id


def _read(body: bytes) -> Holder:
    """Read who holds it; what another version wrote is somebody."""
    try:
        return msgspec.json.decode(body, type=Holder)
    except msgspec.DecodeError:
        return Holder()
