"""No order twice, none lost, no capacity passed, and the rules kept."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from dispatch.cities import any_couriers, any_orders, courier, order
from scones.dispatch.assignment import DispatchPlan, Floats, InvalidOrderBook, Mask, assign, match
from scones.dispatch.orders import Courier, MissingRules, Order, Rules
from scones.dispatch.simulation import example_couriers, example_orders
from scones.domain.vehicles import USUAL_LIMITS, vehicle_limits

RULES = Rules()
BICYCLE = RULES.vehicles["bicycle"]


def pairs(plan: DispatchPlan) -> dict[str, str]:
    """Which courier has which order."""
    return {item.order.id: item.courier.id for item in plan.assignments}


def test_bicycles_go_near_and_motorcycles_far() -> None:
    """Where both could ride, the longer trip goes to the faster vehicle."""
    plan = assign([courier("b"), courier("m", "motorcycle")], [order("far", 4.5), order("near", 2.5)], RULES)
    assert pairs(plan) == {"far": "m", "near": "b"}
    assert {item.courier.id: item.bay for item in plan.assignments} == {"b": "A", "m": "B"}


def test_a_bicycle_never_rides_too_far() -> None:
    """A trip beyond the limit stays, with the reason."""
    plan = assign([courier("b")], [order("far", 12)], RULES)
    assert pairs(plan) == {}
    assert "12.0 km" in plan.unassigned[0].reason


def test_a_motorcycle_never_takes_the_shortest_trips() -> None:
    """Round the corner is for bicycles."""
    assert pairs(assign([courier("m", "motorcycle")], [order("near", 1)], RULES)) == {}


@pytest.mark.parametrize(("trip_km", "taken"), [(1, False), (3, True), (8, False)])
def test_an_unsure_courier_takes_only_what_suits_both(trip_km: float, taken: bool) -> None:
    """The photo was below the threshold, so only the overlap is allowed."""
    plan = assign([courier("u", "")], [order("o", trip_km)], RULES)
    assert bool(plan.assignments) == taken
    assert all(item.bay == "C" and not item.sure for item in plan.assignments)


def test_a_vehicle_that_the_workflow_decided_is_known_whatever_its_confidence() -> None:
    """The workflow compares with the threshold, and nothing else does: below it, a courier has no vehicle."""
    assert assign([courier("b", "bicycle", 0.51)], [order("o", 1)], RULES).assignments[0].sure


def test_a_courier_of_a_class_without_rules_is_refused_by_name() -> None:
    """Rules of another class would send them too far, or with too much."""
    with pytest.raises(MissingRules, match=r"class 'hovercraft' has no dispatch rules.*\[dispatch.hovercraft\]"):
        assign([courier("h", "hovercraft")], [order("o", 1)], RULES)


@pytest.mark.parametrize(("trip_km", "litres"), [(70, 1), (1, 2600), (30, 500)])
def test_an_order_that_no_class_may_carry_is_named(trip_km: float, litres: float) -> None:
    """More couriers would not help: the rules allow no vehicle to take it."""
    rules = Rules(vehicle_limits(tuple(USUAL_LIMITS), {"van": {"max_trip_km": 20}}))
    (left,) = assign([courier("v", "van")], [order("o", trip_km, litres)], rules).unassigned
    assert left.reason == f"the rules of no class allow {trip_km:.1f} km with {litres:.0f} litres"


def test_a_motorcycle_carries_what_no_bicycle_can() -> None:
    """Round the corner too, when the load is too large for a bicycle."""
    plan = assign([courier("b"), courier("m", "motorcycle")], [order("heavy", 1, litres=60)], RULES)
    assert pairs(plan) == {"heavy": "m"}


def test_a_load_too_large_stays() -> None:
    """Sixty litres do not go on a bicycle."""
    assert "60 litres" in assign([courier("b")], [order("o", 1, litres=60)], RULES).unassigned[0].reason


def test_a_courier_too_far_away_is_not_sent() -> None:
    """The way to the pick-up has a limit too."""
    plan = assign([courier("b")], [order("o", 1, east_km=9)], RULES)
    assert "too far" in plan.unassigned[0].reason


def test_what_is_more_than_the_couriers_hold_stays() -> None:
    """Three orders for two places leave one, because all are full."""
    plan = assign([courier("b", capacity=2)], [order(f"o{n}", 1 + n / 10) for n in range(3)], RULES)
    assert len(plan.assignments) == 2
    assert "full" in plan.unassigned[0].reason


def test_work_is_spread_before_it_is_stacked() -> None:
    """A second order waits for the first, so two couriers take one each."""
    plan = assign([courier("a", capacity=2), courier("b", capacity=2)], [order("x", 1), order("y", 1)], RULES)
    assert set(pairs(plan).values()) == {"a", "b"}


def test_as_many_orders_as_possible_move() -> None:
    """The cheap pairing that would leave an order lying is not taken."""
    both = Courier("both", "motorcycle", 0.99, 0, 0, 1)
    plan = assign([both, courier("b")], [order("either", 3), order("far", 12)], RULES)
    assert pairs(plan) == {"either": "b", "far": "both"}


def test_arrivals_by_hand() -> None:
    """Eight minutes to the pick-up two kilometres away, eight to the drop-off, a minute at each; the second queues."""
    near = [order("first", 2, east_km=2), order("second", 2, east_km=2)]
    plan = assign([courier("b", capacity=2)], near, RULES)
    assert sorted(item.minutes for item in plan.assignments) == [18, 18 + RULES.queue_minutes]
    with_one = assign([courier("b")], [order("heavy", 1, litres=BICYCLE.max_litres)], RULES)
    assert pairs(with_one) == {"heavy": "b"}
    # A load that just fits on a bicycle is not too large for one.
    assert pairs(assign([courier("m", "motorcycle")], [order("o", 1, litres=BICYCLE.max_litres)], RULES)) == {}


def test_totals_name_each_kind_and_the_unsure() -> None:
    """Figures by vehicle, unsure couriers apart."""
    plan = assign([courier("b"), courier("u", "")], [order("x", 1), order("y", 3)], RULES)
    assert [(t.vehicle, t.couriers, t.orders, t.mean_trip_km) for t in plan.totals()] == [
        ("bicycle", 1, 1, 1.0),
        ("unsure", 1, 1, 3.0),
    ]


@pytest.mark.parametrize(
    ("couriers", "orders", "message"),
    [
        ([courier("a"), courier("a")], [], "courier 'a' appears twice"),
        ([], [order("o", 1), order("o", 2)], "order 'o' appears twice"),
        ([courier("a", capacity=-1)], [], "negative capacity"),
    ],
)
def test_a_muddled_order_book_is_refused(couriers: list[Courier], orders: list[Order], message: str) -> None:
    """Who is named twice would be sent twice."""
    with pytest.raises(InvalidOrderBook, match=message):
        assign(couriers, orders, RULES)


@given(any_couriers, any_orders)
def test_every_order_is_there_exactly_once(couriers: list[Courier], orders: list[Order]) -> None:
    """Assigned and unassigned together are all orders; none holds more than they can; each leftover has a reason."""
    plan = assign(couriers, orders, RULES)
    seen = [item.order.id for item in plan.assignments] + [item.order.id for item in plan.unassigned]
    assert sorted(seen) == sorted(item.id for item in orders)
    held = Counter(item.courier.id for item in plan.assignments)
    assert all(held[item.id] <= item.capacity for item in couriers)
    assert all(item.reason for item in plan.unassigned)


@given(any_couriers, any_orders)
def test_every_assignment_keeps_the_rules(couriers: list[Courier], orders: list[Order]) -> None:
    """Distance, approach, load and doubt are respected in every pair."""
    for item in assign(couriers, orders, RULES).assignments:
        known = RULES.vehicles
        kinds = [known[item.courier.vehicle]] if item.sure else list(known.values())
        assert item.sure == (item.courier.vehicle in known)
        for limits in kinds:
            assert item.trip_km <= limits.max_trip_km
            assert limits.min_trip_km <= item.trip_km or item.order.size_litres > BICYCLE.max_litres
            assert item.approach_km <= limits.max_approach_km
            assert item.order.size_litres <= limits.max_litres


@given(any_couriers, any_orders)
def test_who_is_called_full_is_full(couriers: list[Courier], orders: list[Order]) -> None:
    """An order stays for want of room only when every courier who may take it has none left."""
    plan = assign(couriers, orders, RULES)
    held = Counter(item.courier.id for item in plan.assignments)
    for left in plan.unassigned:
        free = [item for item in couriers if held[item.id] < item.capacity]
        assert not assign(free, [left.order], RULES).assignments


def test_two_hundred_couriers_are_assigned_at_once() -> None:
    """The demo's size is solved, most orders move, and motorcycles ride farther than bicycles."""
    seen = [(f"p{n}", ("bicycle", "motorcycle")[n % 2] if n % 10 > 3 else "", 0.9) for n in range(200)]
    plan = assign(example_couriers(seen, 0), example_orders(120, 0), RULES)
    trip = {total.vehicle: total.mean_trip_km for total in plan.totals()}
    assert len(plan.assignments) > 100
    assert trip["motorcycle"] > trip["bicycle"]


NEVER = 1e6


def optimum(cost: Floats, allowed: Mask) -> tuple[int, float]:
    """How many pairs the exact solver makes, and at what cost."""
    rows, columns = linear_sum_assignment(np.where(allowed, cost, NEVER))
    made = allowed[rows, columns]
    return int(made.sum()), float(cost[rows, columns][made].sum())


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 12))
def test_among_few_the_matching_is_the_exact_one(seed: int, orders: int, couriers: int) -> None:
    """As many pairs as the exact solver makes, at the same cost."""
    rng = np.random.default_rng(seed)
    cost, allowed = rng.uniform(-50, 50, (orders, couriers)), rng.random((orders, couriers)) < 0.4
    rows, columns, turns = match(cost, allowed, np.ones(couriers, dtype=np.intp), 0)
    assert allowed[rows, columns].all()
    assert len(set(columns.tolist())) == len(columns)
    assert not turns.any()
    pairs, least = optimum(cost, allowed)
    assert len(rows) == pairs
    assert np.isclose(cost[rows, columns].sum(), least)


def test_among_many_the_matching_is_near_the_exact_one() -> None:
    """A hundred and fifty couriers in a plane: as many orders, at most 5% dearer."""
    rng = np.random.default_rng(0)
    kitchens, couriers = rng.normal(0, 2, (400, 1, 2)), rng.normal(0, 2, (150, 2))
    cost = np.linalg.norm(kitchens - couriers, axis=2) + 1
    allowed = (cost < 4) & (rng.random(cost.shape) < 0.5)
    rows, columns, _ = match(cost, allowed, np.ones(150, dtype=np.intp), 0)
    pairs, least = optimum(cost, allowed)
    assert len(rows) == pairs
    assert cost[rows, columns].sum() <= 1.05 * least


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_as_many_orders_move_as_can(seed: int) -> None:
    """However few pairs are weighed, none that could move stays."""
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0, 50, (40, 30)) + np.arange(30)
    allowed = rng.random((40, 30)) < 0.06
    rows, columns, _ = match(cost, allowed, np.ones(30, dtype=np.intp), 0)
    assert len(set(columns.tolist())) == len(rows) == optimum(cost, allowed)[0]


def test_a_courier_s_second_place_costs_more_than_their_first() -> None:
    """With room for two each, two orders go to two couriers."""
    rows, columns, turns = match(np.ones((2, 2)), np.ones((2, 2), dtype=bool), np.array([2, 2]), 10)
    assert sorted(columns.tolist()) == [0, 1]
    assert rows.tolist() == [0, 1]
    assert turns.tolist() == [0, 0]
