"""Worth: what simulated days in a city say of the classifier, in plain values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """One way to see the couriers, and how the days went; *spread* is the deviation of *on_time* from day to day."""

    name: str
    accuracy: float
    threshold: float
    unsure: float
    on_time: float
    spread: float
    minutes_late: float
    km_per_order: float
    cancelled: float


@dataclass(frozen=True, slots=True)
class CityDays:
    """*rows* are what is compared, best knowledge first; *measured* is the model, *imagined* other classifiers."""

    couriers: int
    orders: int
    days: int
    perfect: Seen
    blind: Seen
    reviewed: Seen | None
    measured: tuple[Seen, ...]
    imagined: tuple[Seen, ...]

    @property
    def rows(self) -> tuple[Seen, ...]:
        """What is compared in a table, best knowledge first."""
        return (self.perfect, *([self.reviewed] if self.reviewed else []), *self.measured, self.blind)
