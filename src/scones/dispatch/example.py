"""Example: a small seeded city of orders and couriers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scones.dispatch.orders import Courier, Order, Place

CITY_SPREAD_KM = 2.2
"""How far from the centre kitchens and couriers lie: the deviation of a normal distribution, east and north."""
_CITY_EDGE_KM = 9.0
# Most meals go round the corner and a few across the town: a lognormal with median 2.7 km.
_TRIP_LOG_MEDIAN, _TRIP_LOG_SPREAD = 1.0, 0.6
_ORDER_LITRES = (5.0, 60.0)
_READY_MINUTES = (0.0, 20.0)
# What customers are promised, from the moment the kitchen is done: longer trips may take longer.
_PROMISE_MINUTES, _PROMISE_MINUTES_PER_KM = 20.0, 2.5

Floats = NDArray[np.float64]


def example_orders(count: int, seed: int, placed_minute: float = 0.0) -> tuple[Order, ...]:
    """An order book: kitchens crowd the centre, most trips are short, some cross the city.

    Books of different minutes have different names for their orders.
    """
    rng = np.random.default_rng(seed)
    return orders_placed(np.full(count, placed_minute), rng)


def orders_placed(placed_minutes: Floats, rng: np.random.Generator) -> tuple[Order, ...]:
    """One order for each of *placed_minutes*; each is ready some minutes later, and due when its length allows."""
    count = len(placed_minutes)
    pickups = rng.normal(0, CITY_SPREAD_KM, (count, 2))
    headings = rng.uniform(0, 2 * np.pi, count)
    trips = rng.lognormal(_TRIP_LOG_MEDIAN, _TRIP_LOG_SPREAD, count)
    dropoffs = pickups + trips[:, None] * np.column_stack([np.cos(headings), np.sin(headings)])
    sizes = rng.uniform(*_ORDER_LITRES, count)
    ready = placed_minutes + rng.uniform(*_READY_MINUTES, count)
    return tuple(
        _order(number, (_place(pickup), _place(dropoff)), size, minute)
        for number, (pickup, dropoff, size, minute) in enumerate(
            zip(pickups, dropoffs, sizes.tolist(), ready.tolist(), strict=True), start=1
        )
    )


def example_couriers(
    seen: Sequence[tuple[str, str, float]], seed: int, free_minute: float = 0.0
) -> tuple[Courier, ...]:
    """Put couriers somewhere in the city: each *seen* with identity, vehicle and confidence, from their photo."""
    rng = np.random.default_rng(seed)
    places = rng.normal(0, CITY_SPREAD_KM, (len(seen), 2))
    return tuple(
        Courier(identity, vehicle, confidence, *_place(place), free_minute=free_minute)
        for (identity, vehicle, confidence), place in zip(seen, places, strict=True)
    )


def _order(number: int, way: tuple[Place, Place], litres: float, ready_minute: float) -> Order:
    promise = _PROMISE_MINUTES + _PROMISE_MINUTES_PER_KM * way[0].distance_km(way[1])
    return Order(
        f"order-{number:03d}", *way, round(litres, 1), round(ready_minute, 1), round(ready_minute + promise, 1)
    )


def _place(position: Floats) -> Place:
    east, north = np.clip(position, -_CITY_EDGE_KM, _CITY_EDGE_KM)
    return Place(round(float(east), 3), round(float(north), 3))
