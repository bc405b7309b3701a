"""Dispatch: give the orders to the couriers whose vehicles were just seen."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from scones.aws.connection import Aws
from scones.dispatch.assignment import Plan, assign
from scones.dispatch.orders import Courier, Order
from scones.dispatch.rules import Rules
from scones.progress import Reporter


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The plan, with whom and what it was made from, and where it is kept."""

    couriers: tuple[Courier, ...]
    orders: tuple[Order, ...]
    plan: Plan
    uri: str


def dispatch(
    aws: Aws, couriers: Sequence[Courier], orders: Sequence[Order], rules: Rules, report: Reporter
) -> Dispatched:
    """Assign the orders, and keep the plan in the bucket; assigning again replaces it."""
    plan = assign(couriers, orders, rules)
    uri = aws.bucket.put("dispatch/plan.json", json.dumps(asdict(plan), indent=1).encode(), "application/json")
    report.tell(f"{len(plan.assignments)} of {len(orders)} orders given to {len(couriers)} couriers")
    return Dispatched(tuple(couriers), tuple(orders), plan, uri)
