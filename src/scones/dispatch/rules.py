"""The rules: which vehicle may take which order, and how fast it goes. The dispatch function carries this file."""

from dataclasses import dataclass
from typing import Literal

from scones.dispatch.orders import Courier, Order
from scones.errors import SconesError

Bay = Literal["A", "B", "C"]
"""Where a courier loads: A for bicycles, B for motorcycles, C where someone looks at the vehicle first."""


@dataclass(frozen=True, slots=True)
class Limits:
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

    bicycle: Limits = Limits(0, 5, 3, 40, 15, 1)
    motorcycle: Limits = Limits(2, 20, 8, 90, 30, 3)
    sure_confidence: float = 0.75
    queue_minutes: float = 10
    late_weight: float = 2

    def __post_init__(self) -> None:
        """Refuse rules under which no plan makes sense."""
        for name, limits in (("bicycle", self.bicycle), ("motorcycle", self.motorcycle)):
            if limits.min_trip_km > limits.max_trip_km or limits.km_per_hour <= 0:
                raise BadRules(f"the {name}'s limits contradict themselves: {limits}")

    def sure(self, courier: Courier) -> bool:
        """Whether the photo told the courier's vehicle, and the rules know that kind."""
        return courier.vehicle in {"bicycle", "motorcycle"} and courier.confidence >= self.sure_confidence

    def limits(self, courier: Courier) -> Limits:
        """What the courier may take: who is unsure keeps to both kinds' limits, and is timed as the slower."""
        if self.sure(courier):
            return self.bicycle if courier.vehicle == "bicycle" else self.motorcycle
        return self.unsure()

    def unsure(self) -> Limits:
        """The limits that suit both kinds."""
        one, other = self.bicycle, self.motorcycle
        return Limits(
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

    def suits(self, limits: Limits, order: Order) -> bool:
        """Whether *order* suits a vehicle with *limits*, wherever it is."""
        far_enough = limits.min_trip_km <= order.trip_km or order.size_litres > self.bicycle.max_litres
        return far_enough and order.trip_km <= limits.max_trip_km and order.size_litres <= limits.max_litres


class BadRules(SconesError):
    """Rules that contradict themselves."""
