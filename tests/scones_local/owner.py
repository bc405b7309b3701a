"""A process that owns a local cloud: it starts one, says so, and waits to be ended.

Usage: python owner.py STATE [keep]
"""

import signal
import sys
import time
from pathlib import Path

from scones_local import cloud

if __name__ == "__main__":
    # A shell that starts the tests in the background has them ignore Ctrl-C, and we would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    program = (sys.executable, str(Path(__file__).parent / "stand_in_train.py"))
    started = cloud.start(Path(sys.argv[1]), programs=cloud.Programs("scones", train=program))
    if sys.argv[2:] == ["keep"]:
        cloud.detach(started)
    sys.stdout.write(f"{started.pid} {started.port}\n")
    sys.stdout.flush()
    time.sleep(60)
