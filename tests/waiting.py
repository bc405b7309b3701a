"""Waiting for facts that come true when they may."""

import time
from collections.abc import Callable


def eventually(claim: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether *claim* comes true in time; a busy machine is given plenty."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
