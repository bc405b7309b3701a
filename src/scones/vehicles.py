"""The domain's words: what a vehicle decision is."""

from collections.abc import Sequence
from dataclasses import dataclass

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
