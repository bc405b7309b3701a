"""The workflow's Lambda functions, one per file, without model code.

In the order of the workflow: `serialize`, `classify`, `filter`, `dispatch`; `classify_batch` is the function of batch
runs, `reap` deletes expired endpoints. `services` has their calls to S3 and the endpoint. Each call of the workflow's
functions logs one line of JSON, and every line about a photo has the name of its execution, by which the decision is
recorded.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

Handler = Callable[[dict[str, Any], object], dict[str, Any]]


def logged(handler: Handler) -> Handler:
    """Log each call of *handler*: its module's name, the execution, the photo, the seconds, and an error."""
    name = handler.__module__.rpartition(".")[2]

    @functools.wraps(handler)
    def run(event: dict[str, Any], context: object) -> dict[str, Any]:
        started, photo_id, error = time.perf_counter(), _photo_id(event), ""
        try:
            result = handler(event, context)
            photo_id = photo_id or _photo_id(result)
        except Exception as raised:
            error = type(raised).__name__
            raise
        finally:
            seconds = round(time.perf_counter() - started, 4)
            failed = {"error": error} if error else {}
            log(name, execution_of(event), photo_id=photo_id, seconds=seconds, **failed)
        return result

    return run


def log(event: str, execution: str, **fields: object) -> None:
    """Write one line of JSON, which CloudWatch Logs Insights reads as fields."""
    sys.stdout.write(json.dumps({"event": event, "execution": execution, **fields}) + "\n")
    sys.stdout.flush()


def execution_of(event: object) -> str:
    """The name of the execution that an event belongs to; empty for a direct call."""
    return str(event.get("execution", "")) if isinstance(event, dict) else ""


def _photo_id(event: object) -> str:
    """The photo's id, in the event itself or in the photo that it carries; empty before it is known."""
    photo = event.get("photo", event) if isinstance(event, dict) else None
    return str(photo.get("photo_id", "")) if isinstance(photo, dict) else ""
