"""Deployment lock: one command at a time changes an environment.

The lock is an object in the environment's bucket with an expiry. S3 stores it only if nothing else was stored
meanwhile, and S3's own clock tells its age: the clocks of two machines are never compared.
"""

import os
import platform
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from scones.aws.connection import Aws
from scones.deployment.cleanup import owns_bucket
from scones.domain.errors import DeploymentError, SconesError
from scones.domain.naming import LOCK_KEY
from scones.domain.progress import Reporter


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The command that holds the lock for *seconds* after S3 stored it; the times are for people to read."""

    id: str = ""
    command: str = "?"
    caller: str = "an unknown user"
    machine: str = ""
    pid: int = 0
    since: str = "an unknown time"
    until: str = "an unknown time"
    seconds: float = 3600.0

    def __str__(self) -> str:
        """Say what runs where, for a message."""
        host = self.machine.partition(" ")[0] or "an unknown host"
        return f"`scones {self.command}`, run by {self.caller} on {host} (process {self.pid}) since {self.since}"

    def has_ended(self) -> bool:
        """Whether the command ran on this machine and its process is gone: it was killed."""
        if self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except OSError as error:
            return isinstance(error, ProcessLookupError)
        return False


class EnvironmentBusy(DeploymentError):
    """Another command is changing the environment."""

    def __init__(self, env: str, holder: LockHolder, uri: str) -> None:
        super().__init__(
            f"environment {env!r} is locked by {holder}; run the same command again when that one has ended; if it "
            f"crashed, its lock expires at {holder.until}, or delete {uri}"
        )
        self.holder = holder


class LockLost(DeploymentError):
    """The lock expired, and another command took it before this one ended."""

    def __init__(self, env: str, command: str) -> None:
        super().__init__(
            f"`scones {command}` took so long that its lock on environment {env!r} expired and another command took "
            "it; see the state of the environment with scones status, and run the command again if it is not complete"
        )


@contextmanager
def deployment_lock(aws: Aws, command: str, seconds: float, report: Reporter) -> Iterator[Callable[[], None]]:
    """Hold the environment's lock while *command* changes it; without a bucket there is nothing to lock.

    The lock expires after *seconds*, which should be the longest that the command may take; calling what is yielded
    starts this time over, and raises LockLost if another command has taken the lock.

    Raises:
        EnvironmentBusy: another command holds the lock.
        LockLost: the command has ended, but another one took the lock before that.
    """
    if not owns_bucket(aws):
        yield lambda: None
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lock = _Lock(aws, LockHolder(uuid.uuid4().hex, command, aws.caller, _machine(), os.getpid(), now, "", seconds))
    lock.acquire(report)
    try:
        yield lock.extend
    except BaseException:
        with suppress(SconesError):  # the command's own error says more
            lock.release()
        raise
    lock.release()


class _Lock:
    def __init__(self, aws: Aws, holder: LockHolder) -> None:
        self._bucket = aws.bucket
        self._env = aws.env
        self._holder = holder
        self._tag = ""

    def acquire(self, report: Reporter) -> None:
        while not self._store():
            other, self._tag = self._other()
            if other:
                age = self._bucket.age_seconds(LOCK_KEY)
                if age is not None and age < other.seconds and not other.has_ended():
                    raise EnvironmentBusy(self._env, other, self._bucket.uri(LOCK_KEY))
                report.tell(f"removing the lock of {other}: it expired, or its process is gone")

    def extend(self) -> None:
        while not self._store():
            other, tag = self._other()
            if other:
                raise LockLost(self._env, self._holder.command)
            self._tag = tag

    def release(self) -> None:
        self.extend()  # so that no other command can take the lock before it is deleted
        self._bucket.remove([LOCK_KEY])

    def _store(self) -> bool:
        """Store the lock unless another was stored since it was last read."""
        until = datetime.now(UTC) + timedelta(seconds=self._holder.seconds)
        body = msgspec.json.encode(replace(self._holder, until=until.isoformat(timespec="seconds")))
        tag = self._bucket.replace(LOCK_KEY, body, self._tag)
        self._tag = tag or self._tag
        return tag is not None

    def _other(self) -> tuple[LockHolder | None, str]:
        """Read the other holder: None if the lock is free, or ours, which S3 stored though its reply was lost."""
        body, tag = self._bucket.find_version(LOCK_KEY)
        try:
            found = msgspec.json.decode(body, type=LockHolder) if body is not None else self._holder
        except msgspec.DecodeError:  # another version of Scones stored it
            found = LockHolder()
        return None if found.id == self._holder.id else found, tag


def _machine() -> str:
    """Name this host and whatever its process ids are unique in: the boot and the container, or the hardware."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        place = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        place = f"{uuid.getnode():x}"
    return f"{platform.node()} {place}"
