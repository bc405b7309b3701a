"""Couriers, orders and the dispatch rules. Standard library only: the Dispatch function contains this file."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest
from typing import Literal, NamedTuple

from scones.domain.errors import DispatchError

USUAL_CAPACITY = 2
"""How many orders a courier takes at a time by default."""


class Place(NamedTuple):
    """A place in the city, in kilometres east and north of its centre."""

    x_km: float
    y_km: float

    def distance_km(self, other: "Place") -> float:
        """Kilometres to *other*, as the crow flies."""
        return math.hypot(other.x_km - self.x_km, other.y_km - self.y_km)


@dataclass(frozen=True, slots=True)
class Courier:
    """A courier at the time of their photo: position, vehicle, and the capacity from *free_minute* on.

    Minutes of couriers and orders count from the same moment: 1970, or midnight of a simulated day.
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
        """The courier's position."""
        return Place(self.x_km, self.y_km)


@dataclass(frozen=True, slots=True)
class Order:
    """A delivery from *pickup*, ready at *ready_minute*, to *dropoff*, due at *due_minute*."""

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


Bay = Literal["A", "B", "C"]
"""The loading bay: A for bicycles, B for motorcycles, C where a person checks the vehicle first."""


@dataclass(frozen=True, slots=True)
class VehicleLimits:
    """The limits of a vehicle type: trip length, distance to the pick-up, load and speed.

    *stop_minutes* is the duration of a pick-up or a hand-over: a motorcycle has to be parked.
    """

    min_trip_km: float
    max_trip_km: float
    max_approach_km: float
    max_litres: float
    km_per_hour: float
    stop_minutes: float

    def minutes(self, kilometres: float) -> float:
        """The riding time for *kilometres*."""
        return 60 * kilometres / self.km_per_hour


@dataclass(frozen=True, slots=True)
class Rules:
    """Bicycles get short trips, motorcycles long ones, and couriers of an unsure vehicle what suits both.

    Motorcycles get the shortest trips only if the load is too large for a bicycle.
    *sure_confidence* is the threshold below which a courier's vehicle is unsure.
    *queue_minutes* is the delay of each further order of the same courier.
    *late_weight* is the cost of a minute of lateness, in minutes of riding.
    """

    bicycle: VehicleLimits = VehicleLimits(0, 5, 3, 40, 15, 1)
    motorcycle: VehicleLimits = VehicleLimits(2, 20, 8, 90, 30, 3)
    sure_confidence: float = 0.75
    queue_minutes: float = 10
    late_weight: float = 2

    def __post_init__(self) -> None:
        """Validate the limits."""
        for name, limits in (("bicycle", self.bicycle), ("motorcycle", self.motorcycle)):
            if limits.min_trip_km > limits.max_trip_km or limits.km_per_hour <= 0:
                raise InvalidRules(f"the {name}'s limits contradict themselves: {limits}")

    def sure(self, courier: Courier) -> bool:
        """Whether the vehicle type is known: the confidence is at or above the threshold."""
        return courier.vehicle in {"bicycle", "motorcycle"} and courier.confidence >= self.sure_confidence

    def limits(self, courier: Courier) -> VehicleLimits:
        """The limits of the courier's vehicle; for an unsure one, the stricter of both types and the lower speed."""
        if self.sure(courier):
            return self.bicycle if courier.vehicle == "bicycle" else self.motorcycle
        return self.unsure()

    def unsure(self) -> VehicleLimits:
        """The limits that suit both vehicle types."""
        one, other = self.bicycle, self.motorcycle
        return VehicleLimits(
            min_trip_km=max(one.min_trip_km, other.min_trip_km),
            max_trip_km=min(one.max_trip_km, other.max_trip_km),
            max_approach_km=min(one.max_approach_km, other.max_approach_km),
            max_litres=min(one.max_litres, other.max_litres),
            km_per_hour=min(one.km_per_hour, other.km_per_hour),
            stop_minutes=max(one.stop_minutes, other.stop_minutes),
        )

    def bay(self, courier: Courier) -> Bay:
        """The courier's loading bay."""
        if not self.sure(courier):
            return "C"
        return "A" if courier.vehicle == "bicycle" else "B"

    def suits(self, limits: VehicleLimits, order: Order) -> bool:
        """Whether *order* suits a vehicle with *limits*, regardless of its position."""
        far_enough = limits.min_trip_km <= order.trip_km or order.size_litres > self.bicycle.max_litres
        return far_enough and order.trip_km <= limits.max_trip_km and order.size_litres <= limits.max_litres


class InvalidRules(DispatchError):
    """The rules contradict themselves."""


def choose_orders(courier: Courier, open_orders: Iterable[Order], rules: Rules) -> tuple[Order, ...]:
    """Choose open orders for *courier*, the best first, up to their capacity; deterministic.

    Near and urgent orders come first: a minute of distance counts as much as a minute of urgency. The same orders are
    allowed as in `assign`.
    """
    limits = rules.limits(courier)

    def minutes_to_spare(order: Order) -> float:
        """Minutes until the order must leave its pick-up to be in time; 0 if it is late already."""
        ride = limits.minutes(order.trip_km) + 2 * limits.stop_minutes
        return max(0.0, order.due_minute - ride - courier.free_minute)

    def rank(order: Order) -> tuple[float, str]:
        approach = limits.minutes(courier.place.distance_km(order.pickup))
        wait = max(0.0, order.ready_minute - courier.free_minute - approach)
        return approach + wait + minutes_to_spare(order), order.id

    allowed = (
        order
        for order in open_orders
        if rules.suits(limits, order) and courier.place.distance_km(order.pickup) <= limits.max_approach_km
    )
    return tuple(nsmallest(courier.capacity, allowed, key=rank))
