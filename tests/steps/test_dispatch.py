import json

from scones.flow import ORDERS, Flow
from tiny_model import plain_photo


def test_the_couriers_just_seen_get_the_orders_and_the_plan_is_kept(flow: Flow) -> None:
    """Every order is in the plan once, assigned or not; sure bicycles ride shorter trips than sure motorcycles."""
    samples = [flow.upload(f"{level}.png", plain_photo(level)) for level in (20, 30, 40, 50, 200, 210, 220, 230, 128)]
    flow._remember("classify", flow.classify_samples(samples))
    dispatched = flow.dispatch()
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
