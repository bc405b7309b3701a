"""FilterInferences: name the vehicle; refuse a photo below the threshold or out of distribution."""

import json
import os
from typing import Any

from scones.domain.decision import Decision, Outcome, decide, outcome_of_confidence
from scones.domain.errors import WorkflowError
from scones.lambdas import logged

_CLASSES = tuple(os.environ["CLASSES"].split(","))
_THRESHOLD = float(os.environ["THRESHOLD"])


class NotRouted(WorkflowError):
    """Its message is JSON: the decision, all probabilities, the threshold and the classes."""

    def __init__(self, decision: Decision, event: dict[str, Any]) -> None:
        answer = {"inferences": event["inferences"], "unfamiliarity": event.get("unfamiliarity")}
        super().__init__(json.dumps({**_fields(decision), **answer}))


class THRESHOLD_CONFIDENCE_NOT_MET(NotRouted):  # noqa: N801 - the workflow's clients catch it by this name
    """The confidence is below the threshold; the photo waits for `scones review`."""


class UnfamiliarPhoto(NotRouted):
    """The photo is unlike the training photos, so its probabilities mean nothing; it waits for `scones review`."""


@logged
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take ClassifyImage's output; give it back with `label`, `confidence`, `threshold` and `classes`.

    Raises:
        THRESHOLD_CONFIDENCE_NOT_MET: its message is JSON that holds the decision and all probabilities.
        UnfamiliarPhoto: likewise; only models with an out-of-distribution detector raise it.
    """
    decision = decide(event["inferences"], _CLASSES)
    out_of_distribution = bool(event.get("unfamiliar"))
    outcome = outcome_of_confidence(decision.confidence, _THRESHOLD, out_of_distribution=out_of_distribution)
    if outcome is Outcome.OUT_OF_DISTRIBUTION:
        raise UnfamiliarPhoto(decision, event)
    if outcome is Outcome.BELOW_THRESHOLD:
        raise THRESHOLD_CONFIDENCE_NOT_MET(decision, event)
    return {**event, **_fields(decision)}


def _fields(decision: Decision) -> dict[str, Any]:
    terms = {"threshold": _THRESHOLD, "classes": list(_CLASSES)}
    return {"label": decision.label, "confidence": decision.confidence, **terms}
