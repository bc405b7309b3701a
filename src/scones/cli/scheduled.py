"""Scheduled: `scones monitor` as the Lambda function that EventBridge calls; its image contains the model code."""

import json
import logging
from typing import Any, Protocol

from scones.aws.connection import connect
from scones.config.settings import load
from scones.domain.errors import MissingPrerequisite
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.monitor import ConcurrentRunError

# Reading stops this long before the timeout; the rest is for the checks and for writing their results.
_RESERVE_SECONDS = 60.0

_log = logging.getLogger(__name__)


class _LambdaContext(Protocol):
    """The part of Lambda's context object that is used."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the time until the timeout."""


def handler(_event: object, context: _LambdaContext) -> dict[str, Any]:
    """Run the monitor once and return a summary; the settings come from the function's environment.

    It does nothing before the first deployment, and where another run has just ended.
    """
    settings = load({})
    pipeline = Pipeline(connect(settings), settings, Silent())
    seconds = max(0.0, context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS)
    try:
        result = pipeline.monitor(seconds=seconds)
    except (MissingPrerequisite, ConcurrentRunError) as reason:
        return _log_and_return({"checked": False, "reason": str(reason)})
    return _log_and_return(
        {
            "checked": True,
            "photos": result.photos,
            "alarms": [alarm.kind for alarm in result.alarms],
            "refused": dict(result.refused),
            "complete": result.complete,
        }
    )


def _log_and_return(summary: dict[str, Any]) -> dict[str, Any]:
    _log.warning(json.dumps({"event": "monitoring run", **summary}))
    return summary
