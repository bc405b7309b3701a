"""Foundation: the stack's first phase, without which nothing can be staged, trained or built."""

from scones.aws.connection import Aws
from scones.aws.stacks import Stack, Tell
from scones.release import CAPTURE_PARAMETER, foundation
from scones.settings import Settings


def lay(aws: Aws, settings: Settings, tell: Tell) -> None:
    """Bring the foundation up, unless it stands: what is put into its bucket first is kept and encrypted like the rest.

    Raises:
        StackFailed: with the first reason that CloudFormation gives.
    """
    if not aws.stack.founded(tell):
        aws.stack.deploy(foundation(), founding(aws, settings), tell)


def founding(aws: Aws, settings: Settings) -> dict[str, str]:
    """The stack's parameters for its name, and for what is kept, encrypted, deleted and told."""
    chosen = {
        "Env": aws.env,
        "AlarmSeconds": str(settings.alarm_seconds),
        "Kms": settings.kms,
        "PhotoDays": str(settings.photo_days),
        "EndpointHours": str(settings.endpoint_hours),
        "MonthlyDollars": str(settings.monthly_dollars),
    }
    return chosen | _kept(aws.stack.find())


def _kept(standing: Stack | None) -> dict[str, str]:
    """What stays as it is: what `deploy` chose, and a key, without which nobody could read what it encrypted."""
    found = standing.parameters if standing else {}
    kept = {CAPTURE_PARAMETER} | ({"Kms"} if found.get("Kms") == "yes" else set())
    return {name: value for name, value in found.items() if name in kept}
