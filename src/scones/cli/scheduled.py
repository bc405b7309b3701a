"""Scheduled: `scones monitor` and the phases of `scones retrain` as Lambda functions; their image has the models."""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from scones.aws.client import waits_end
from scones.aws.connection import connect
from scones.config.settings import load
from scones.deployment.retrainings import Phase, Retraining, skip
from scones.domain.errors import MissingPrerequisite
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.retraining import begin_retraining, continue_retraining, propose_retraining, training_request
from scones.steps.monitor import ConcurrentRunError
from scones.steps.retrain import RetrainingRefused, fail, own_retraining

# Reading stops this long before the timeout; the rest is for the checks and for writing their results.
_RESERVE_SECONDS = 60.0
_MAX_REASON_CHARACTERS = 1000

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


def retrain(event: Mapping[str, Any], context: _LambdaContext) -> dict[str, Any]:
    """Do one step of `infra/retrain.asl.json`; its result tells which phase follows.

    A step that was done before does nothing. One that waits too long for AWS ends with WaitTimeout, and is repeated.
    """
    settings = load({})
    pipeline = Pipeline(connect(settings), settings, Silent())
    with waits_end(context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS):
        found = _STEPS[event["step"]](pipeline, event)
    _log.warning(json.dumps({"event": "retraining", **{k: v for k, v in found.items() if k != "training"}}))
    return found


def _begin(pipeline: Pipeline, event: Mapping[str, Any]) -> dict[str, Any]:
    reason = str(event["reason"])
    try:
        return _following(pipeline, begin_retraining(pipeline, reason, event["execution"]))
    except (MissingPrerequisite, RetrainingRefused) as why:
        skip(pipeline.aws, reason, str(why))
        return {"phase": Phase.ENDED, "why": str(why)}


def _continue(pipeline: Pipeline, event: Mapping[str, Any]) -> dict[str, Any]:
    found = own_retraining(pipeline.aws, event["execution"])
    return _following(pipeline, continue_retraining(pipeline, found) if found.phase == event["phase"] else found)


def _propose(pipeline: Pipeline, event: Mapping[str, Any]) -> dict[str, Any]:
    found = own_retraining(pipeline.aws, event["execution"])
    return _following(pipeline, propose_retraining(pipeline, found, event["token"]))


def _fail(pipeline: Pipeline, event: Mapping[str, Any]) -> dict[str, Any]:
    error = event["error"]
    cause = error.get("Cause", "")
    with suppress(ValueError, KeyError, TypeError):
        cause = json.loads(cause)["errorMessage"]
    why = f"{error.get('Error', '')}: {cause}"[:_MAX_REASON_CHARACTERS]
    found = fail(pipeline.aws, own_retraining(pipeline.aws, event["execution"]), why)
    return {"phase": found.phase, "error": f"Retraining{found.outcome.title().replace(' ', '')}", "why": found.why}


def _following(pipeline: Pipeline, found: Retraining) -> dict[str, Any]:
    training = training_request(pipeline, found) if found.phase is Phase.TRAIN else None
    return {"phase": found.phase, "why": found.why, **({"training": training} if training else {})}


_STEPS: Mapping[str, Callable[[Pipeline, Mapping[str, Any]], dict[str, Any]]] = {
    "begin": _begin,
    "continue": _continue,
    "propose": _propose,
    "fail": _fail,
}


def _log_and_return(summary: dict[str, Any]) -> dict[str, Any]:
    _log.warning(json.dumps({"event": "monitoring run", **summary}))
    return summary
