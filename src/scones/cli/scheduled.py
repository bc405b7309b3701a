"""Scheduled: what `scones monitor` does, as the function that EventBridge calls; its image carries the model code."""

import json
import logging
from typing import Any, Protocol

from scones.aws.connection import connect
from scones.config.loading import load
from scones.domain.errors import MissingPrerequisite
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.monitor import ConcurrentRunError

# What is left when the reading stops: for the checks, and for what is written down.
_RESERVE_SECONDS = 60.0

_log = logging.getLogger(__name__)


class _Context(Protocol):
    """What Lambda tells a function of its invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """How long it may still run."""


def handler(_event: object, context: _Context) -> dict[str, Any]:
    """Look once, and say in a few figures what was found; the settings come from the function's environment.

    It does nothing before the first deployment, and where another run has just ended.
    """
    settings = load({})
    flow = Pipeline(connect(settings), settings, Silent())
    seconds = max(0.0, context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS)
    try:
        result = flow.monitor(seconds=seconds)
    except (MissingPrerequisite, ConcurrentRunError) as reason:
        return _told({"looked": False, "reason": str(reason)})
    return _told(
        {
            "looked": True,
            "photos": result.photos,
            "alarms": [alarm.kind for alarm in result.alarms],
            "refused": dict(result.refused),
            "complete": result.complete,
        }
    )


def _told(found: dict[str, Any]) -> dict[str, Any]:
    _log.warning(json.dumps({"event": "look", **found}))
    return found
