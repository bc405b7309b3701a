"""FilterInferences: name the vehicle, or fail when the model is not sure enough."""

import json
import os
from typing import Any

from scones.errors import SconesError
from scones.vehicles import Decision, decide

_CLASSES = tuple(os.environ["CLASSES"].split(","))
_THRESHOLD = float(os.environ["THRESHOLD"])


class THRESHOLD_CONFIDENCE_NOT_MET(SconesError):  # noqa: N801 - the workflow's clients catch it by this name
    """The likeliest class is not likely enough to route an order by."""

    def __init__(self, decision: Decision, inferences: list[float]) -> None:
        unsure = {"label": decision.label, "confidence": decision.confidence, "threshold": _THRESHOLD}
        super().__init__(json.dumps({**unsure, "inferences": inferences}))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take ClassifyImage's output; give it back with `label` and `confidence`.

    Raises:
        THRESHOLD_CONFIDENCE_NOT_MET: its message is JSON that holds the decision and all probabilities.
    """
    decision = decide(event["inferences"], _CLASSES)
    if decision.confidence < _THRESHOLD:
        raise THRESHOLD_CONFIDENCE_NOT_MET(decision, event["inferences"])
    return {**event, "label": decision.label, "confidence": decision.confidence}
