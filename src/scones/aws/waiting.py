"""Waiting: poll until something is so, the more patiently the longer it takes."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from scones.errors import SconesError

T = TypeVar("T")

_SHORTEST_SECONDS = 0.05
_LONGEST_SECONDS = 15.0
# Looking late then wastes at most a twentieth of the whole wait.
_SHARE_OF_WAIT = 0.05


class TookTooLong(SconesError):
    """What was waited for did not happen in time."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what} did not happen within {seconds:.0f} s; see: scones status")
        self.what = what


def pauses(what: str, seconds: float) -> Iterator[None]:
    """Yield before each look; sleep a twentieth of the wait so far between them, 0.05 s to 15 s.

    Raises:
        TookTooLong: *seconds* have passed.
    """
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
        yield
        time.sleep(min(max(_SHORTEST_SECONDS, waited * _SHARE_OF_WAIT), _LONGEST_SECONDS))
    raise TookTooLong(what, seconds)


def wait(what: str, look: Callable[[], T | None], seconds: float) -> T:
    """Call *look* until it returns something; raises TookTooLong."""
    for _ in pauses(what, seconds):
        found = look()
        if found is not None:
            return found
    raise AssertionError("pauses ends only by raising")
