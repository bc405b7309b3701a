"""Status: what of this environment stands right now."""

from dataclasses import dataclass

from scones.aws.connection import Aws
from scones.aws.inventory import inventory


@dataclass(frozen=True, slots=True)
class Status:
    """The stack's and the endpoint's own words, and everything that stands; empty words where there is none."""

    env: str
    account: str
    region: str
    stack: str
    endpoint: str
    endpoint_config: str
    standing: tuple[str, ...]


def status(aws: Aws) -> Status:
    """Look, and change nothing."""
    stack = aws.stack.find()
    endpoint = aws.sagemaker.find_endpoint(aws.name)
    return Status(
        env=aws.env,
        account=aws.account,
        region=aws.region,
        stack=stack.status if stack else "",
        endpoint=endpoint.status if endpoint else "",
        endpoint_config=endpoint.config if endpoint else "",
        standing=inventory(aws),
    )
