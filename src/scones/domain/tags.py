"""Tags: the resource tags of an environment, and the inference ids that mark internal traffic."""

from typing import Final

ENV_TAG: Final = "scones:env"
"""The stack's name, on the stack and on every resource that CloudFormation creates for it."""
EXPIRES_TAG: Final = "scones:expires"
"""When the endpoint may be deleted: ISO 8601, in UTC."""

_EVALUATION = "scones-evaluation-"
_BATCH = "scones-batch-"
_PROBE = "scones-canary-"
_DIGITS = 16


def evaluation_id(sha256: str) -> str:
    """The inference id of a photo that an evaluation sends."""
    return _EVALUATION + sha256[:_DIGITS]


def probe_id(sha256: str) -> str:
    """The inference id of a photo that the monitor sends to check the endpoint's predictions."""
    return _PROBE + sha256[:_DIGITS]


def batch_id(digest: str) -> str:
    """The inference id of a batch: old photos in bulk are not today's traffic. SageMaker allows 64 characters."""
    return _BATCH + digest


def is_internal(inference_id: str | None) -> bool:
    """Whether an evaluation, a batch or the monitor sent the request, so that it does not count as traffic."""
    return (inference_id or "").startswith((_EVALUATION, _BATCH, _PROBE))
