"""Couriers, orders and the dispatch rules. Standard library only: the Dispatch function contains this file."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import NamedTuple

from scones.domain.errors import DispatchError
from scones.domain.vehicles import VehicleLimits, read_limits, without_limits

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

    The vehicle is empty where the workflow did not decide it: the photo was below the threshold. Minutes of couriers
    and orders count from the same moment: 1970, or midnight of a simulated day.
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


UNSURE_BAY = "C"
"""The loading bay of couriers whose vehicle is unsure: a person looks at it first."""


class MissingRules(DispatchError):
    """Classes of vehicles have no rules: write `[dispatch.CLASS]` into scones.toml and run `scones up`."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(without_limits(classes, {}))


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of each class of vehicle; couriers of an unsure vehicle get what suits all classes.

    A vehicle gets trips shorter than its *min_trip_km* only if no other that may ride such a trip can carry the load.
    *queue_minutes* is the delay of each further order of the same courier.
    *late_weight* is the cost of a minute of lateness, in minutes of riding.
    """

    vehicles: Mapping[str, VehicleLimits] = field(default_factory=lambda: read_limits(""))
    queue_minutes: float = 10
    late_weight: float = 2

    @classmethod
    def read(cls, limits: str) -> "Rules":
        """The rules with these *limits*, as the stack has them."""
        return cls(read_limits(limits))

    def require(self, classes: Iterable[str]) -> None:
        """Check that each of *classes* has rules.

        Raises:
            MissingRules: one has none.
        """
        if missing := [name for name in classes if name not in self.vehicles]:
            raise MissingRules(missing)

    def cover(self, courier: Courier) -> bool:
        """Whether the courier's vehicle has limits; an unsure one has those of all classes, if there are any."""
        return courier.vehicle in self.vehicles if courier.vehicle else bool(self.vehicles)

    def limits(self, courier: Courier) -> VehicleLimits:
        """The limits of the courier's vehicle; of an unsure one, the strictest of all classes and the lowest speed.

        Raises:
            MissingRules: the vehicle is of a class without rules.
        """
        if not courier.vehicle:
            return self.unsure()
        if courier.vehicle not in self.vehicles:
            raise MissingRules([courier.vehicle])
        return self.vehicles[courier.vehicle]

    def unsure(self) -> VehicleLimits:
        """The limits that suit all classes."""
        every = self.vehicles.values()
        return VehicleLimits(
            min_trip_km=max(one.min_trip_km for one in every),
            max_trip_km=min(one.max_trip_km for one in every),
            max_approach_km=min(one.max_approach_km for one in every),
            max_litres=min(one.max_litres for one in every),
            km_per_hour=min(one.km_per_hour for one in every),
            stop_minutes=max(one.stop_minutes for one in every),
            bay=UNSURE_BAY,
        )

    def suits(self, limits: VehicleLimits, order: Order) -> bool:
        """Whether *order* suits a vehicle with *limits*, regardless of its position."""
        if order.trip_km > limits.max_trip_km or order.size_litres > limits.max_litres:
            return False
        nearer = (one for one in self.vehicles.values() if one.min_trip_km <= order.trip_km <= one.max_trip_km)
        return limits.min_trip_km <= order.trip_km or order.size_litres > max(
            (one.max_litres for one in nearer), default=0
        )


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
