"""Tags: the resource tags of an environment, and the inference ids that mark internal traffic."""

from typing import Final

ENV_TAG: Final = "scones:env"
"""A stack carries it with its own name, and CloudFormation passes it on to whatever it makes."""
EXPIRES_TAG: Final = "scones:expires"
"""When an endpoint may be deleted by whoever looks after forgotten ones: ISO 8601, in UTC."""


_EVALUATION = "scones-evaluation-"
_BATCH = "scones-batch-"
_CANARY = "scones-canary-"
_DIGITS = 16


def evaluation_id(sha256: str) -> str:
    """Mark a test question to the endpoint, so that monitoring passes it over; SageMaker allows 64 characters."""
    return _EVALUATION + sha256[:_DIGITS]


def canary_id(sha256: str) -> str:
    """Mark a photo that the monitor sends to see whether the endpoint still answers as it should."""
    return _CANARY + sha256[:_DIGITS]


def is_ours(inference_id: str | None) -> bool:
    """Whether the question came from an evaluation, a batch or a canary, and says nothing of what users send now."""
    return (inference_id or "").startswith((_EVALUATION, _BATCH, _CANARY))
