"""Decision: the class and outcome of one photo, and the size limits of the event that carries it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

STATE_LIMIT_BYTES = 262_144
"""Step Functions' limit for the input and output of a state."""
INLINE_LIMIT_BYTES = 64 * 1024
"""The largest photo that travels in the state; base64 adds a third, so this leaves room for all the rest."""
INLINE_TEXT_BYTES = 96 * 1024
"""The longest base64 text of such a photo as JSON, with line ends or as a data URL."""
EVENT_LIMIT_BYTES = 8 * 1024
"""The largest event without its photo, as JSON."""
PHOTO_LIMIT_BYTES = 6 * 1024 * 1024
"""The largest photo that the endpoint accepts."""
MAX_NAME_CHARACTERS = 128
"""The maximum length of the name of a courier, a class or a model's version."""
MAX_CLASSES = 64
"""The maximum number of probabilities in an answer."""
MAX_CLASSES_BYTES = 2500
"""The maximum length of all classes, joined by commas: SageMaker's limit for a hyperparameter; a function's variables
may have 4 KB together."""
MAX_ORDERS = 20
"""The largest capacity that a courier may claim: all of a photo's writes must fit one transaction."""
MAX_REASON_CHARACTERS = 1000
"""The maximum length of the reason of a refusal."""


VEHICLES = ("bicycle", "motorcycle")
"""The default classes, in the order of every list of probabilities."""


NOT_A_VEHICLE = "other"
"""The label of a photo that shows none of the classes."""


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


class Outcome(StrEnum):
    """What became of a photo: classified, refused for one of three reasons, or failed.

    The DynamoDB records, the batch results, `--json` and the reports use these values.
    """

    CLASSIFIED = "classified"
    """The confidence is at or above the threshold, so the decision is used."""
    BELOW_THRESHOLD = "below_threshold"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    """The photo is unlike the training photos, so its probabilities mean nothing."""
    UNREADABLE = "unreadable"
    """It is not an image, or a damaged or too large one."""
    FAILED = "failed"
    """The photo got no answer: an error of the endpoint, of S3 or of the workflow."""

    @classmethod
    def _missing_(cls, value: object) -> "Outcome | None":
        """Read the values that version 0.1.0 wrote to DynamoDB and S3."""
        return {
            "routed": cls.CLASSIFIED,
            "succeeded": cls.CLASSIFIED,
            "unsure": cls.BELOW_THRESHOLD,
            "unfamiliar": cls.OUT_OF_DISTRIBUTION,
        }.get(str(value))


def outcome_of_confidence(confidence: float, threshold: float, *, out_of_distribution: bool) -> Outcome:
    """The outcome of a photo whose likeliest class has this *confidence*; a confidence at the threshold is enough."""
    if out_of_distribution:
        return Outcome.OUT_OF_DISTRIBUTION
    return Outcome.BELOW_THRESHOLD if confidence < threshold else Outcome.CLASSIFIED


ERROR_OF_OUTCOME: Mapping[Outcome, str] = {
    Outcome.BELOW_THRESHOLD: "THRESHOLD_CONFIDENCE_NOT_MET",
    Outcome.OUT_OF_DISTRIBUTION: "UnfamiliarPhoto",
    Outcome.UNREADABLE: "UnreadablePhoto",
}
"""The error with which the state machine refuses a photo; a Catch may name it."""
_OUTCOME_OF_ERROR = {error: outcome for outcome, error in ERROR_OF_OUTCOME.items()}


def outcome_of_error(error: str) -> Outcome:
    """The outcome of an execution that ended with *error*; empty where it succeeded."""
    return _OUTCOME_OF_ERROR.get(error, Outcome.FAILED) if error else Outcome.CLASSIFIED


def error_message(cause: str) -> str:
    """The message of a Lambda function's error: *cause* is JSON that holds it; any other text is returned as it is."""
    try:
        found = json.loads(cause)
    except ValueError:
        return cause
    return str(found.get("errorMessage", cause)) if isinstance(found, dict) else cause


def read_refusal(cause: str) -> dict[str, Any]:
    """The fields of a refused photo: its message is JSON, with the decision or with the reason; else empty."""
    try:
        found = json.loads(error_message(cause))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
