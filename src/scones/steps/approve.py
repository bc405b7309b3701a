"""Approve: let a registered model out, or reject it, and keep the reason."""

from scones.aws.connection import Aws
from scones.aws.registry import Approval, Package
from scones.domain.progress import Reporter


def approve(aws: Aws, number: int, approval: Approval, reason: str, report: Reporter) -> Package:
    """Decide on the model of that *number*; deciding anew replaces what was decided before.

    Raises:
        NoSuchModel: there is none of that number.
    """
    package = aws.registry.decide(aws.registry.get(number), approval, reason)
    report.tell(f"model {package.number} is {approval.lower()}: {reason}")
    return package
