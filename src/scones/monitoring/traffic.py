"""Traffic: tell a captured question of a user from one of our own."""

from scones.monitoring.capture import Captured

_EVALUATION = "scones-evaluation-"
_DIGITS = 16


def evaluation_id(sha256: str) -> str:
    """Mark a test question to the endpoint, so that monitoring passes it over; SageMaker allows 64 characters."""
    return _EVALUATION + sha256[:_DIGITS]


def is_ours(captured: Captured) -> bool:
    """Whether the question came from an evaluation, and says nothing of the users' photos."""
    return (captured.inference_id or "").startswith(_EVALUATION)
