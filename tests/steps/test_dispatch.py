"""Orders and couriers are in the tables, and no order is ever given twice."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from scones.aws.client import AwsError
from scones.dispatch.order_book import open_order, register_courier
from scones.dispatch.orders import Courier, Order, Place
from scones.domain.naming import from_minutes
from scones.pipeline import ORDERS, Pipeline
from tiny_model import plain_photo

LONG_AGO, NOW = 0.0, 10**8
"""Minutes since 1970: the start of it all, and some way off yet, so that no courier is ever too old."""


def order(identity: str, trip_km: float = 1) -> Order:
    """An order in the centre."""
    return Order(identity, Place(0, 0), Place(trip_km, 0), 10, NOW, NOW + 60)


def register(flow: Pipeline, identity: str, vehicle: str = "bicycle", capacity: int = 2, minute: float = NOW) -> None:
    """Put a courier in the centre on the map."""
    courier = Courier(identity, vehicle, 0.99, 0, 0, capacity)
    flow.aws.tables.couriers.write(register_courier(courier, identity, from_minutes(minute)))


def owners(flow: Pipeline) -> dict[str, object]:
    """Who has which order, as the table says."""
    return {str(item["order_id"]): item.get("courier_id") for item in flow.aws.tables.orders.scan()}


def test_the_couriers_just_seen_get_the_orders_and_the_plan_is_kept(own_flow: Pipeline) -> None:
    """Every order is in the plan once, assigned or not; sure bicycles ride shorter trips than sure motorcycles."""
    flow = own_flow
    samples = [flow.upload(f"{level}.png", plain_photo(level)) for level in (20, 30, 40, 50, 200, 210, 220, 230, 128)]
    flow._save("classify", flow.classify_samples(samples))
    dispatched = flow.dispatch(example=ORDERS)
    plan = dispatched.plan
    orders = [item.order.id for item in plan.assignments] + [item.order.id for item in plan.unassigned]
    assert sorted(orders) == sorted(order.id for order in dispatched.orders)
    assert len(orders) == ORDERS
    unsure = {courier.id for courier in dispatched.couriers if courier.confidence < flow.settings.threshold}
    assert len(unsure) == 1
    assert {item.courier.id for item in plan.assignments if not item.sure} <= unsure
    trips = {total.vehicle: total.mean_trip_km for total in plan.totals()}
    assert trips["bicycle"] < trips["motorcycle"]
    kept = json.loads(flow.aws.bucket.get(flow.aws.bucket.key(dispatched.uri)))
    assert len(kept["assignments"]) == len(plan.assignments)
    given = {item.order.id: item.courier.id for item in plan.assignments}
    assert {name: owner for name, owner in owners(flow).items() if owner} == given
    again = flow.dispatch()
    assert not set(given) & {item.order.id for item in again.plan.assignments}, "run twice, it gives nothing twice"


def test_nothing_to_do_is_no_error(own_flow: Pipeline) -> None:
    """Without orders, and without couriers, the plan is empty or says why."""
    assert own_flow.dispatch().plan.assignments == ()
    own_flow.aws.tables.orders.put_all([open_order(order("o"))])
    (left,) = own_flow.dispatch().plan.unassigned
    assert "no courier" in left.reason


def test_a_courier_seen_long_ago_is_not_sent(own_flow: Pipeline) -> None:
    """Half an hour later they are somewhere else."""
    register(own_flow, "gone", minute=LONG_AGO)
    own_flow.aws.tables.orders.put_all([open_order(order("o"))])
    assert own_flow.dispatch().couriers == ()


def test_two_dispatchers_at_once_give_each_order_once(own_flow: Pipeline) -> None:
    """Both plan the same orders for the same couriers, and the tables take each but once."""
    flow = own_flow
    for number in range(4):
        register(flow, f"c{number}", capacity=3)
    flow.aws.tables.orders.put_all([open_order(order(f"o{number:02}", 0.5 + number / 10)) for number in range(16)])
    with ThreadPoolExecutor(3) as pool:
        plans = [part.plan for part in pool.map(lambda _: flow.dispatch(), range(3))]
    given = [item.order.id for plan in plans for item in plan.assignments]
    assert len(given) == len(set(given)) == 12
    assert {name for name, owner in owners(flow).items() if owner} == set(given)
    assert [item["capacity"] for item in flow.aws.tables.couriers.scan()] == [0] * 4


def test_a_missing_table_is_named(own_flow: Pipeline) -> None:
    """What AWS says is passed on, and nothing is half done."""
    own_flow.aws.tables.orders.delete()
    with pytest.raises(AwsError, match="ResourceNotFoundException"):
        own_flow.dispatch()
