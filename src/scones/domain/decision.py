"""The domain's words: what a vehicle decision is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

VEHICLES = ("bicycle", "motorcycle")
"""The default classes, in the order of every list of probabilities."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The likeliest class of one photo, and its probability (0 to 1)."""

    label: str
    confidence: float


def decide(probabilities: Sequence[float], classes: Sequence[str]) -> Decision:
    """Name the likeliest class; the first wins a tie.

    Raises:
        ValueError: there are not as many probabilities as classes.
    """
    if len(probabilities) != len(classes):
        raise ValueError(f"{len(probabilities)} probabilities for {len(classes)} classes")
    confidence = max(probabilities)
    return Decision(classes[list(probabilities).index(confidence)], confidence)


class Ruling(StrEnum):
    """What becomes of a photo that the model has answered."""

    ROUTED = "routed"
    UNSURE = "unsure"
    """Its confidence is below the threshold."""
    UNFAMILIAR = "unfamiliar"
    """It is like none of the photos that the model knows, so its probabilities mean nothing."""
    UNREADABLE = "unreadable"
    """It is no photo, or a damaged one."""


RULING_OF_ERROR: Mapping[str, Ruling] = {
    "THRESHOLD_CONFIDENCE_NOT_MET": Ruling.UNSURE,
    "UnfamiliarPhoto": Ruling.UNFAMILIAR,
    "UnreadablePhoto": Ruling.UNREADABLE,
}
"""The names by which the state machine catches what is not routed; any other error is a failure."""
ERROR_OF_RULING: Mapping[Ruling, str] = {ruling: error for error, ruling in RULING_OF_ERROR.items()}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and what becomes of the photo."""

    decision: Decision
    ruling: Ruling


def judge(probabilities: Sequence[float], classes: Sequence[str], threshold: float, *, unfamiliar: bool) -> Verdict:
    """Decide about one photo, and rule; the filter function and `scones replay` both do it here.

    Raises:
        ValueError: there are not as many probabilities as classes.
    """
    decision = decide(probabilities, classes)
    return Verdict(decision, rule(decision.confidence, threshold, unfamiliar=unfamiliar))


def rule(confidence: float, threshold: float, *, unfamiliar: bool) -> Ruling:
    """Say what becomes of a photo whose likeliest class has this *confidence*."""
    if unfamiliar:
        return Ruling.UNFAMILIAR
    return Ruling.UNSURE if confidence < threshold else Ruling.ROUTED
