"""A simulated day: what a wrong belief costs, in minutes."""

from dataclasses import replace

import numpy as np
import pytest

from scones.dispatch.assignment import OrderColumns
from scones.dispatch.orders import Courier, Order, Place, Rules
from scones.dispatch.simulation import (
    BICYCLE,
    BLIND,
    MOTORCYCLE,
    SHIFTS,
    UNSURE,
    City,
    Day,
    DayResult,
    example_couriers,
    example_orders,
    play,
)

RULES = Rules()
SMALL = City(couriers=24, orders=420)
NOON, MUCH_LATER = 720, 1300


def one_order(*, motorcycle: bool, trip_km: float, litres: float = 10, due_minute: float = MUCH_LATER) -> Day:
    """A day with one courier in the centre, and one order placed there at noon."""
    column = [np.array([value]) for value in (trip_km, litres, NOON, due_minute)]
    return Day(
        motorcycle=np.array([motorcycle]),
        stand=np.zeros((1, 2)),
        book=OrderColumns(np.zeros((1, 2)), *column),
        dropoff=np.array([[trip_km, 0]]),
        placed_minute=np.array([float(NOON)]),
    )


def outcome(day: Day, belief: int) -> DayResult:
    """The day, with everybody believed to be *belief*."""
    return play(day, np.full((SHIFTS, len(day.motorcycle)), belief), RULES)


def test_a_bicycle_sent_far_is_late() -> None:
    """Ten kilometres take it 40 minutes and two stops, not the 20 that the dispatcher counted on."""
    day = one_order(motorcycle=False, trip_km=10, due_minute=NOON + 30)
    assert outcome(day, MOTORCYCLE).minutes_late == pytest.approx(12)
    assert outcome(replace(day, motorcycle=np.array([True])), MOTORCYCLE).on_time == 1


def test_a_load_too_large_for_a_bicycle_takes_it_two_rides() -> None:
    """There, back, and there again: three ways of four minutes, and a stop at each end of them."""
    day = one_order(motorcycle=False, trip_km=1, litres=60, due_minute=NOON)
    assert outcome(day, MOTORCYCLE).minutes_late == pytest.approx(3 * 4 + 4 * 1)


def test_a_motorcycle_sent_round_the_corner_loses_its_time_in_parking() -> None:
    """Half a kilometre takes it seven minutes, and a bicycle four."""
    day = one_order(motorcycle=True, trip_km=0.5, due_minute=NOON)
    assert outcome(day, BICYCLE).minutes_late == pytest.approx(7)
    assert outcome(replace(day, motorcycle=np.array([False])), BICYCLE).minutes_late == pytest.approx(4)


def test_an_order_that_suits_no_known_courier_is_cancelled_an_hour_late() -> None:
    """While the only courier is unsure, ten kilometres suit no courier."""
    found = outcome(one_order(motorcycle=True, trip_km=10, due_minute=NOON + 30), UNSURE)
    assert (found.on_time, found.cancelled, found.minutes_late) == (0, 1, 60)


def test_the_same_seed_brings_the_same_day() -> None:
    """A day can be played again, to the last kilometre; another seed brings another."""
    first, again, other = (outcome(Day.of(SMALL, seed), BLIND) for seed in (1, 1, 2))
    assert first == again != other


def test_known_days_have_the_same_results_in_every_version() -> None:
    """The figures in the docs are of such days."""
    day = Day.of(SMALL, 1)
    truth = np.tile(day.motorcycle.astype(np.intp), (SHIFTS, 1))
    blind, perfect = outcome(day, BLIND), play(day, truth, RULES)
    assert (blind.on_time, blind.minutes_late, blind.km_per_order, blind.cancelled) == pytest.approx(
        (0.728571, 8.429133, 7.356992, 0.04047619), rel=1e-4
    )
    assert (perfect.on_time, perfect.minutes_late, perfect.km_per_order) == pytest.approx(
        (0.797619, 4.974930, 6.779884), rel=1e-4
    )


def test_a_day_without_a_delivery_has_no_kilometres_an_order() -> None:
    """Nor does it divide by zero; two kilometres for one order are two."""
    assert outcome(one_order(motorcycle=True, trip_km=10), UNSURE).km_per_order == 0
    assert outcome(one_order(motorcycle=False, trip_km=2), BICYCLE).km_per_order == pytest.approx(4)


def test_known_seeds_have_the_same_orders_and_couriers_in_every_version() -> None:
    """Tutorials show them; numbers are rounded to what a person reads."""
    expected = Order("order-001", Place(0.76, 1.808), Place(1.528, 2.786), 22.2, 8.5, 31.6)
    assert example_orders(1, 1) == (expected,)
    assert example_couriers([("a", "bicycle", 0.9)], 1) == (Courier("a", "bicycle", 0.9, 0.76, 1.808),)


def test_orders_come_at_lunch_and_at_dinner() -> None:
    """The two busiest hours are around half past twelve and around seven."""
    placed = Day.of(City(orders=4000), 0).placed_minute
    hours = np.bincount((placed // 60).astype(int), minlength=24)
    assert {int(hours[:16].argmax()), 16 + int(hours[16:].argmax())} <= {12, 13, 18, 19}
    assert hours[15] < hours[12] / 2


def test_knowing_the_vehicles_is_worth_orders_on_time() -> None:
    """Perfect knowledge beats blindness, and blindness beats being wrong about everybody."""
    day = Day.of(SMALL, 0)
    truth = np.tile(day.motorcycle.astype(np.intp), (SHIFTS, 1))
    perfect, wrong = play(day, truth, RULES), play(day, 1 - truth, RULES)
    assert perfect.on_time > outcome(day, BLIND).on_time > wrong.on_time
    assert perfect.minutes_late < wrong.minutes_late


def test_a_trip_is_measured_as_the_crow_flies() -> None:
    """Three east and four north are five."""
    assert Order("o", Place(0, 0), Place(3, 4), 1, 0, 60).trip_km == pytest.approx(5)


def test_the_same_seed_gives_the_same_orders() -> None:
    """An example can be repeated, and another seed gives another."""
    assert example_orders(20, 1) == example_orders(20, 1) != example_orders(20, 2)


def test_orders_have_their_own_names_and_mostly_short_trips() -> None:
    """Names are unique; trips have a median of a few kilometres and a long tail."""
    orders = example_orders(500, 0)
    trips = [order.trip_km for order in orders]
    assert len({order.id for order in orders}) == 500
    assert 2 < np.median(trips) < 3.5
    assert max(trips) > 8


def test_couriers_are_those_whose_photos_were_decided() -> None:
    """Identity, vehicle and confidence come from the decision; only the place is drawn."""
    (courier,) = example_couriers([("photo-1", "bicycle", 0.9)], seed=0)
    assert (courier.id, courier.vehicle, courier.confidence) == ("photo-1", "bicycle", 0.9)


def test_a_city_may_have_no_couriers() -> None:
    """No orders and no couriers are no error."""
    assert example_orders(0, 0) == ()
    assert example_couriers([], 0) == ()
