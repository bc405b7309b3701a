"""What one courier is offered: only what suits, the near and the urgent first, never more than they hold."""

from dataclasses import replace

import pytest
from hypothesis import given

from dispatch.cities import any_courier, any_orders, courier, order
from scones.dispatch.assignment import assign
from scones.dispatch.orders import Courier, Order, Rules, choose_orders
from scones.domain.vehicles import USUAL_LIMITS, VehicleLimits

RULES = Rules()
BICYCLE = RULES.vehicles["bicycle"]
EVERY = Rules(USUAL_LIMITS)
APART = Rules(
    {"bicycle": VehicleLimits(3, 6, 9, 50, 10, 1, "A"), "motorcycle": VehicleLimits(8, 12, 9, 20, 10, 1, "B")}
)


def names(orders: tuple[Order, ...]) -> list[str]:
    """The identities, in the order of the offer."""
    return [item.id for item in orders]


def test_the_nearer_of_two_orders_comes_first() -> None:
    """All else alike, the shorter way to the pick-up wins."""
    assert names(choose_orders(courier("b"), [order("far", 2, east_km=2), order("near", 2, east_km=1)], RULES)) == [
        "near"
    ]


def test_riding_takes_the_time_of_its_speed() -> None:
    """Five kilometres at 15 an hour are 20 minutes."""
    assert BICYCLE.minutes(5) == 20


def test_a_courier_who_is_busy_until_a_meal_is_ready_does_not_wait_for_it() -> None:
    """Free at 30, four minutes away, and the meal is ready at 34: as good as one that was ready before."""
    late = replace(courier("b"), free_minute=30)
    cooking, ready = (replace(order(name, 2, east_km=1), ready_minute=at) for name, at in (("a", 34), ("b", 0)))
    assert names(choose_orders(late, [ready, cooking], RULES)) == ["a"]
    assert names(choose_orders(late, [ready, replace(cooking, ready_minute=35)], RULES)) == ["b"]


def test_the_more_urgent_of_two_orders_comes_first() -> None:
    """At the same pick-up, what must leave sooner is taken first."""
    book = [order("later", 2, due_minute=90), order("soon", 2, due_minute=30)]
    assert names(choose_orders(courier("b", capacity=2), book, RULES)) == ["soon", "later"]


def test_what_is_not_ready_waits_for_someone_else() -> None:
    """A kitchen that still cooks would keep the courier waiting."""
    cooking = Order("cooking", (ready := order("ready", 2)).pickup, ready.dropoff, 10, 40, ready.due_minute)
    assert names(choose_orders(courier("b"), [cooking, ready], RULES)) == ["ready"]


@pytest.mark.parametrize(("vehicle", "offered"), [("bicycle", ["near"]), ("motorcycle", ["far"])])
def test_bicycles_are_offered_near_trips_and_motorcycles_far_ones(vehicle: str, offered: list[str]) -> None:
    """One kilometre is no trip for a motorcycle, twelve are none for a bicycle."""
    book = [order("near", 1), order("far", 12)]
    assert names(choose_orders(courier("c", vehicle, capacity=5), book, RULES)) == offered


def test_a_load_that_just_fits_is_offered() -> None:
    """A larger one is not."""
    limit = BICYCLE.max_litres
    book = [order("fits", 2, litres=limit), order("not", 2, litres=limit + 0.1)]
    assert names(choose_orders(courier("b", capacity=5), book, RULES)) == ["fits"]


def test_an_unsure_courier_is_offered_only_what_suits_both() -> None:
    """Below the threshold only the overlap is left."""
    book = [order("near", 1), order("either", 3), order("far", 12)]
    assert names(choose_orders(courier("u", "", capacity=5), book, RULES)) == ["either"]


@pytest.mark.parametrize("rules", [RULES, EVERY, APART])
@given(any_courier, any_orders)
def test_an_offer_is_allowed_complete_and_the_same_in_any_order(rules: Rules, one: Courier, book: list[Order]) -> None:
    """The rules are those of `assign`: as many orders are taken, each of them allowed, none twice."""
    chosen = choose_orders(one, book, rules)
    assert chosen == choose_orders(one, book[::-1], rules)
    assert len(chosen) == len(set(names(chosen))) <= one.capacity
    assert len(chosen) == len(assign([one], book, rules).assignments)
    for item in chosen:
        assert assign([one], [item], rules).assignments


def test_the_default_rules_overlap_in_the_middle() -> None:
    """Bicycles take the near trips, motorcycles the far ones, and some suit both."""
    bicycle, motorcycle = RULES.vehicles.values()
    assert bicycle.min_trip_km < motorcycle.min_trip_km < bicycle.max_trip_km
    assert bicycle.max_trip_km < motorcycle.max_trip_km


def test_every_usual_class_shares_some_orders_with_every_other() -> None:
    """A courier whose vehicle is unsure still gets orders, whatever the classes are."""
    unsure = EVERY.unsure()
    assert EVERY.suits(unsure, order("o", 3, litres=20))
    assert unsure.bay == "C"


@pytest.mark.parametrize(
    ("vehicles", "trip_km", "litres", "takers"),
    [
        (("bicycle", "motorcycle"), 1, 30, {"bicycle"}),
        (("bicycle", "motorcycle"), 1, 60, {"motorcycle"}),
        (("bicycle", "cargo bike", "van"), 1, 60, {"cargo bike"}),
        (("bicycle", "cargo bike", "van"), 1, 200, {"van"}),
        (("motorcycle", "van"), 1, 10, {"motorcycle", "van"}),
        (("bicycle", "scooter", "car"), 10, 50, {"scooter", "car"}),
        (("bicycle", "scooter", "car"), 10, 70, {"car"}),
    ],
)
def test_a_short_trip_goes_to_the_lightest_vehicle_that_can_carry_it(
    vehicles: tuple[str, ...], trip_km: float, litres: float, takers: set[str]
) -> None:
    """A vehicle takes a trip below its shortest one only where no other class could."""
    rules = Rules({name: USUAL_LIMITS[name] for name in vehicles})
    found = {name for name, limits in rules.vehicles.items() if rules.suits(limits, order("o", trip_km, litres=litres))}
    assert found == takers
