"""Couriers, orders and the rules that match them. Standard library only: the dispatch function carries this file."""

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


Bay = Literal["A", "B", "C"]
"""Where a courier loads: A for bicycles, B for motorcycles, C where someone looks at the vehicle first."""


@dataclass(frozen=True, slots=True)
class VehicleLimits:
    """What one kind of vehicle may take: trips from *min_trip_km* to *max_trip_km*, and how far it comes for them.

    *stop_minutes* is what picking up, or handing over, takes: a motorcycle has to be parked.
    """

    min_trip_km: float
    max_trip_km: float
    max_approach_km: float
    max_litres: float
    km_per_hour: float
    stop_minutes: float

    def minutes(self, kilometres: float) -> float:
        """How long it rides for *kilometres*."""
        return 60 * kilometres / self.km_per_hour


@dataclass(frozen=True, slots=True)
class Rules:
    """Bicycles near, motorcycles far; where their trips overlap, an unsure courier may ride too.

    The shortest trips are kept from motorcycles only while a bicycle could carry the load.
    *sure_confidence* is the confidence below which a courier's vehicle counts as unsure.
    *queue_minutes* is what a courier's next order waits for the one before it.
    *late_weight* is how many minutes of riding a minute late is worth.
    """

    bicycle: VehicleLimits = VehicleLimits(0, 5, 3, 40, 15, 1)
    motorcycle: VehicleLimits = VehicleLimits(2, 20, 8, 90, 30, 3)
    sure_confidence: float = 0.75
    queue_minutes: float = 10
    late_weight: float = 2

    def __post_init__(self) -> None:
        """Refuse rules under which no plan makes sense."""
        for name, limits in (("bicycle", self.bicycle), ("motorcycle", self.motorcycle)):
            if limits.min_trip_km > limits.max_trip_km or limits.km_per_hour <= 0:
                raise InvalidRules(f"the {name}'s limits contradict themselves: {limits}")

    def sure(self, courier: Courier) -> bool:
        """Whether the photo told the courier's vehicle, and the rules know that kind."""
        return courier.vehicle in {"bicycle", "motorcycle"} and courier.confidence >= self.sure_confidence

    def limits(self, courier: Courier) -> VehicleLimits:
        """What the courier may take: who is unsure keeps to both kinds' limits, and is timed as the slower."""
        if self.sure(courier):
            return self.bicycle if courier.vehicle == "bicycle" else self.motorcycle
        return self.unsure()

    def unsure(self) -> VehicleLimits:
        """The limits that suit both kinds."""
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
        """Where the courier loads."""
        if not self.sure(courier):
            return "C"
        return "A" if courier.vehicle == "bicycle" else "B"

    def suits(self, limits: VehicleLimits, order: Order) -> bool:
        """Whether *order* suits a vehicle with *limits*, wherever it is."""
        far_enough = limits.min_trip_km <= order.trip_km or order.size_litres > self.bicycle.max_litres
        return far_enough and order.trip_km <= limits.max_trip_km and order.size_litres <= limits.max_litres


class InvalidRules(DispatchError):
    """Rules that contradict themselves."""


def choose_orders(courier: Courier, open_orders: Iterable[Order], rules: Rules) -> tuple[Order, ...]:
    """Choose the orders that *courier* takes now, the best first, as many as they can hold; equal input, equal offer.

    An order comes first that is near, and that must soon be picked up to be in time: a minute nearer counts as much
    as a minute more urgent. The same orders are allowed as in `assign`.
    """
    limits = rules.limits(courier)

    def minutes_to_spare(order: Order) -> float:
        """Minutes from now until the order must have left its pick-up; an order that is late already has none."""
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
