"""The example city is the same for the same seed, and looks like a city."""

import numpy as np
import pytest

from scones.dispatch.orders import Order, Place
from scones.dispatch.simulation import example_couriers, example_orders


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


def test_nobody_is_an_empty_city() -> None:
    """No orders and no couriers are no error."""
    assert example_orders(0, 0) == ()
    assert example_couriers([], 0) == ()
