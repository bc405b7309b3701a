"""Waiting: poll until something is so, quickly at first and ever more patiently."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from scones.errors import SconesError

T = TypeVar("T")

_FIRST_SECONDS = 0.05
_LONGEST_SECONDS = 15.0
_GROWTH = 1.3


class TookTooLong(SconesError):
    """What was waited for did not happen in time."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what} did not happen within {seconds:.0f} s; see: scones status")
        self.what = what


def pauses(what: str, seconds: float) -> Iterator[None]:
    """Yield before each look, sleeping between them from 0.05 s up to 15 s.

    Raises:
        TookTooLong: *seconds* have passed.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_SECONDS
    while time.monotonic() < deadline:
        yield
        time.sleep(pause)
        pause = min(pause * _GROWTH, _LONGEST_SECONDS)
    raise TookTooLong(what, seconds)


def wait(what: str, look: Callable[[], T | None], seconds: float) -> T:
    """Call *look* until it returns something; raises TookTooLong."""
    for _ in pauses(what, seconds):
        found = look()
        if found is not None:
            return found
    raise AssertionError("pauses ends only by raising")
