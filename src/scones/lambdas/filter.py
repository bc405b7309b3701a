"""FilterInferences: name the vehicle, or fail when the model is not sure enough, or has never seen the like."""

import json
import os
from typing import Any

from scones.domain.decision import Ruling, Verdict, judge
from scones.domain.errors import SconesError

_CLASSES = tuple(os.environ["CLASSES"].split(","))
_THRESHOLD = float(os.environ["THRESHOLD"])


class NotRouted(SconesError):
    """Its message is JSON: the decision, all probabilities, and what they were held against."""

    def __init__(self, verdict: Verdict, event: dict[str, Any]) -> None:
        told = {"inferences": event["inferences"], "unfamiliarity": event.get("unfamiliarity")}
        super().__init__(json.dumps({**_told(verdict), **told}))


class THRESHOLD_CONFIDENCE_NOT_MET(NotRouted):  # noqa: N801 - the workflow's clients catch it by this name
    """The likeliest class is not likely enough to route an order by."""


class UnfamiliarPhoto(NotRouted):
    """The photo is like none of those that the model has learnt from, so its probabilities mean nothing."""


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take ClassifyImage's output; give it back with `label`, `confidence`, `threshold` and `classes`.

    Raises:
        THRESHOLD_CONFIDENCE_NOT_MET: its message is JSON that holds the decision and all probabilities.
        UnfamiliarPhoto: likewise; only models with a guard tell.
    """
    verdict = judge(event["inferences"], _CLASSES, _THRESHOLD, unfamiliar=bool(event.get("unfamiliar")))
    if verdict.ruling is Ruling.UNFAMILIAR:
        raise UnfamiliarPhoto(verdict, event)
    if verdict.ruling is Ruling.UNSURE:
        raise THRESHOLD_CONFIDENCE_NOT_MET(verdict, event)
    return {**event, **_told(verdict)}


def _told(verdict: Verdict) -> dict[str, Any]:
    decision = verdict.decision
    held_against = {"threshold": _THRESHOLD, "classes": list(_CLASSES)}
    return {"label": decision.label, "confidence": decision.confidence, **held_against}
