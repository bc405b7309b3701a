"""Dispatch: assign the open orders to the couriers just seen, each order once."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import groupby

from scones.aws.client import AwsError
from scones.aws.connection import Aws
from scones.aws.dynamodb import Tables
from scones.config.settings import Settings
from scones.dispatch.assignment import Assignment, DispatchPlan, Unassigned, assign
from scones.dispatch.order_book import (
    OLDEST_MINUTES,
    OPEN,
    Item,
    assign_order,
    courier_of,
    open_order,
    order_of,
    register_courier,
    use_capacity,
)
from scones.dispatch.orders import Courier, Order, Rules
from scones.dispatch.simulation import example_couriers, example_orders
from scones.domain.naming import PLAN_KEY, from_minutes
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.text import plural

# Couriers who are seen meanwhile get orders from the workflow; the rest is planned again.
_ROUNDS = 3
_EXAMPLE_COURIERS = 24
_MEANWHILE = "it was changed at the same moment; run dispatch again"


@dataclass(frozen=True, slots=True)
class DispatchResult(StepResult):
    """The executed plan, its couriers and orders, and its URI."""

    TABLE = "plan.assignments"
    FIGURE = ("couriers", "vehicle", "")

    couriers: tuple[Courier, ...]
    orders: tuple[Order, ...]
    plan: DispatchPlan
    uri: str


def dispatch(aws: Aws, settings: Settings, rules: Rules, report: Reporter) -> DispatchResult:
    """Assign the open orders now by *rules*, and store the plan in the bucket.

    Each courier's orders are written in one transaction, only if they are still open and the courier is unchanged:
    run twice, or beside the workflow, it assigns no order twice. Couriers without rules, seen when the workflow had
    other classes, get none.
    """
    couriers: dict[str, Courier] = {}
    orders: dict[str, Order] = {}
    given: list[Assignment] = []
    for _ in range(_ROUNDS):
        seen = {str(item["courier_id"]): item for item in aws.tables.couriers.scan()}
        fleet = _couriers(list(seen.values()), rules)
        book = [order_of(item) for item in aws.tables.orders.query({"status": OPEN}, "by_status")]
        couriers |= {courier.id: courier for courier in fleet if courier.id not in couriers}
        orders |= {order.id: order for order in book}
        plan = assign(fleet, book, rules)
        taken = _give(aws.tables, plan, seen, settings.clients)
        given += taken
        missed = [item for item in plan.assignments if item not in taken]
        if not missed:
            break
    left = (*plan.unassigned, *(Unassigned(item.order, _MEANWHILE) for item in missed))
    plan = DispatchPlan(tuple(given), left)
    uri = aws.bucket.put(PLAN_KEY, json.dumps(asdict(plan), indent=1).encode(), "application/json")
    report.tell(f"{len(given)} of {plural(len(orders), 'open order')} assigned")
    return DispatchResult(tuple(couriers.values()), tuple(orders.values()), plan, uri)


def place_orders(aws: Aws, count: int, seed: int) -> None:
    """Place *count* example orders now."""
    orders = example_orders(count, seed, time.time() / 60)
    aws.tables.orders.put_all([open_order(order) for order in orders])


def register_couriers(aws: Aws, decisions: Sequence[tuple[str, str, float]], seed: int) -> None:
    """Register example couriers, with the vehicles that were decided: (photo, label or "" if unsure, confidence).

    Where the workflow registers one of them later, that stays.
    """
    # The photos of a class follow each other: take couriers from the whole list.
    step = max(1, len(decisions) // _EXAMPLE_COURIERS)
    for courier in example_couriers(decisions[::step][:_EXAMPLE_COURIERS], seed):
        aws.tables.couriers.write(register_courier(courier, courier.id, from_minutes(time.time() / 60)))


def _couriers(items: Sequence[Item], rules: Rules) -> list[Courier]:
    """The couriers with rules, seen recently enough to know where they are."""
    now = time.time() / 60
    couriers = [courier_of(item) for item in items]
    lately = [item for item in couriers if item.free_minute >= now - OLDEST_MINUTES]
    return [replace(item, free_minute=now) for item in lately if rules.cover(item)]


def _give(tables: Tables, plan: DispatchPlan, seen: dict[str, Item], clients: int) -> list[Assignment]:
    """Write the plan, one transaction per courier; return the assignments that were made."""

    def write(mine: Sequence[Assignment]) -> Sequence[Assignment]:
        courier = seen[mine[0].courier.id]
        writes = [(tables.orders, assign_order(item.order.id, item.courier.id, item.bay)) for item in mine]
        try:
            refused = tables.transact([(tables.couriers, use_capacity(courier, len(mine))), *writes])
        except AwsError as error:
            if error.code != "TransactionCanceledException":
                raise
            return ()
        return () if refused else mine

    ranked = sorted(plan.assignments, key=lambda item: item.courier.id)
    groups = [list(group) for _, group in groupby(ranked, key=lambda item: item.courier.id)]
    with ThreadPoolExecutor(clients) as pool:
        return [item for mine in pool.map(write, groups) for item in mine]
