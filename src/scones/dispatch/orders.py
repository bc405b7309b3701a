"""Couriers and orders. The standard library is enough here: the dispatch function carries this file."""

import math
from dataclasses import dataclass
from typing import NamedTuple

USUAL_CAPACITY = 2
"""How many orders a courier takes at a time, where nobody says otherwise."""


class Place(NamedTuple):
    """A place in the city, in kilometres east and north of its centre."""

    x_km: float
    y_km: float

    def distance_km(self, other: "Place") -> float:
        """Kilometres to *other*, as the crow flies."""
        return math.hypot(other.x_km - self.x_km, other.y_km - self.y_km)


@dataclass(frozen=True, slots=True)
class Courier:
    """A courier as the photo showed them: where they are, and how many orders they can take from *free_minute* on.

    Minutes count on one clock for couriers and orders alike: since 1970, or since midnight of an invented day.
    """

    id: str
    vehicle: str
    confidence: float
    x_km: float
    y_km: float
    capacity: int = USUAL_CAPACITY
    free_minute: float = 0.0

    @property
    def place(self) -> Place:
        """Where the courier is."""
        return Place(self.x_km, self.y_km)


@dataclass(frozen=True, slots=True)
class Order:
    """Something to carry from *pickup*, where it is ready at *ready_minute*, to *dropoff* by *due_minute*."""

    id: str
    pickup: Place
    dropoff: Place
    size_litres: float
    ready_minute: float
    due_minute: float

    @property
    def trip_km(self) -> float:
        """Kilometres from pick-up to drop-off, as the crow flies."""
        return self.pickup.distance_km(self.dropoff)
