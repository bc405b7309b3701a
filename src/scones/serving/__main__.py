"""`python -m scones.serving`: what SageMaker runs as `serve`."""

import logging
import os
import sys

from scones.domain.errors import SconesError
from scones.domain.text import printable
from scones.serving.options import read_options


def main() -> int:
    """Serve until SIGTERM; return 0 then, and 1 with one clear line if serving is impossible."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # numpy's linear algebra would start a thread per core as it loads; nothing here uses it, and forks want none.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from scones.serving.server import serve  # noqa: PLC0415 - after the line above

    try:
        serve(read_options(os.environ))
    except SconesError as error:
        sys.stderr.write(f"serve: {printable(str(error))}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
