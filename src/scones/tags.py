"""Tags: what the environment's resources carry, so that each is known for its own."""

from typing import Final

ENV_TAG: Final = "scones:env"
"""A stack carries it with its own name, and CloudFormation passes it on to whatever it makes."""
EXPIRES_TAG: Final = "scones:expires"
"""When an endpoint may be deleted by whoever looks after forgotten ones: ISO 8601, in UTC."""
