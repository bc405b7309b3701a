"""The rules: which vehicle may take which order, and how fast it goes."""

from dataclasses import dataclass
from typing import Literal

from scones.errors import SconesError

Bay = Literal["A", "B", "C"]
"""Where a courier loads: A for bicycles, B for motorcycles, C where someone looks at the vehicle first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one kind of vehicle may take: trips from *min_trip_km* to *max_trip_km*, and how far it comes for them."""

    min_trip_km: float
    max_trip_km: float
    max_approach_km: float
    max_litres: float
    km_per_hour: float


@dataclass(frozen=True, slots=True)
class Rules:
    """Bicycles near, motorcycles far; where their trips overlap, an unsure courier may ride too.

    The shortest trips are kept from motorcycles only while a bicycle could carry the load.
    *sure_confidence* is the confidence below which a courier's vehicle counts as unsure.
    *queue_minutes* is what a courier's next order waits for the one before it.
    """

    bicycle: Limits = Limits(0, 5, 3, 40, 15)
    motorcycle: Limits = Limits(2, 20, 8, 90, 30)
    sure_confidence: float = 0.75
    queue_minutes: float = 10

    def __post_init__(self) -> None:
        """Refuse rules under which no plan makes sense."""
        for name, limits in (("bicycle", self.bicycle), ("motorcycle", self.motorcycle)):
            if limits.min_trip_km > limits.max_trip_km or limits.km_per_hour <= 0:
                raise BadRules(f"the {name}'s limits contradict themselves: {limits}")


class BadRules(SconesError):
    """Rules that contradict themselves."""
