"""Couriers and orders, and a small seeded city of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_CITY_SPREAD_KM = 2.2
_CITY_EDGE_KM = 9.0
# Most meals go round the corner and a few across the town: a lognormal with median 2.7 km.
_TRIP_LOG_MEDIAN, _TRIP_LOG_SPREAD = 1.0, 0.6
_ORDER_LITRES = (5.0, 60.0)
_CAPACITY_ORDERS = 2


class Place(NamedTuple):
    """A place in the city, in kilometres east and north of its centre."""

    x_km: float
    y_km: float


@dataclass(frozen=True, slots=True)
class Courier:
    """A courier as the photo showed them; *capacity* is how many orders they can take now."""

    id: str
    vehicle: str
    confidence: float
    x_km: float
    y_km: float
    capacity: int = _CAPACITY_ORDERS


@dataclass(frozen=True, slots=True)
class Order:
    """Something to carry from *pickup* to *dropoff*."""

    id: str
    pickup: Place
    dropoff: Place
    size_litres: float

    @property
    def trip_km(self) -> float:
        """Kilometres from pick-up to drop-off, as the crow flies."""
        return float(np.hypot(self.dropoff.x_km - self.pickup.x_km, self.dropoff.y_km - self.pickup.y_km))


def example_orders(count: int, seed: int) -> tuple[Order, ...]:
    """An order book: kitchens crowd the centre, most trips are short, some cross the city."""
    rng = np.random.default_rng(seed)
    pickups = rng.normal(0, _CITY_SPREAD_KM, (count, 2))
    headings = rng.uniform(0, 2 * np.pi, count)
    trips = rng.lognormal(_TRIP_LOG_MEDIAN, _TRIP_LOG_SPREAD, count)
    dropoffs = pickups + trips[:, None] * np.column_stack([np.cos(headings), np.sin(headings)])
    sizes = rng.uniform(*_ORDER_LITRES, count)
    return tuple(
        Order(f"order-{number:03d}", _place(pickup), _place(dropoff), round(float(size), 1))
        for number, (pickup, dropoff, size) in enumerate(zip(pickups, dropoffs, sizes, strict=True), start=1)
    )


def example_couriers(seen: Sequence[tuple[str, str, float]], seed: int) -> tuple[Courier, ...]:
    """Put couriers somewhere in the city: each *seen* with identity, vehicle and confidence, from their photo."""
    rng = np.random.default_rng(seed)
    places = rng.normal(0, _CITY_SPREAD_KM, (len(seen), 2))
    return tuple(
        Courier(identity, vehicle, confidence, *_place(place))
        for (identity, vehicle, confidence), place in zip(seen, places, strict=True)
    )


def _place(position: np.ndarray) -> Place:
    east, north = np.clip(position, -_CITY_EDGE_KM, _CITY_EDGE_KM)
    return Place(round(float(east), 3), round(float(north), 3))
