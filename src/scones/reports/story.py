"""Story: everything that the demo's report tells, in plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from scones.deployment.pricing import Bill
from scones.domain.decision import Outcome
from scones.evaluation.business_value import CityDays
from scones.evaluation.metrics import ClassificationMetrics
from scones.reports.gallery import PhotoCard

Point = tuple[float, float]
"""Kilometres east and north."""


@dataclass(frozen=True, slots=True)
class Data:
    """Which photos were used; *kind* says whether they are photos at all."""

    name: str
    kind: Literal["photos", "rendered"]
    classes: tuple[str, ...]
    train: int
    test: int
    left_out: tuple[tuple[str, str], ...]
    """Name and reason of each file that was not used."""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of the workflow, in seconds since the first one started."""

    started: float
    stopped: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Channel:
    """One monitored channel: its medians in the baseline and in the batch, and its score."""

    name: str
    meaning: str
    before: float
    now: float
    score: float


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """One batch against the baseline; *channels* is sorted, the most changed first."""

    photos: int
    enough: bool
    alarm: bool
    score: float
    threshold: float
    chance: float
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """The drill: an unchanged batch, a changed one, and pairs of the same photo before and after."""

    false_alarm_rate: float
    clean: DriftCheck
    shifted: DriftCheck
    pairs: tuple[tuple[PhotoCard, PhotoCard], ...]
    said: tuple[str, ...] = ()
    """What the alert said, the subject first; nothing where there was none."""
    found_after: int | None = None
    """Photos of the changed batch until the watch over the stream rang."""


@dataclass(frozen=True, slots=True)
class Trip:
    """One assigned order; *vehicle* is 'unsure' where the photo did not tell."""

    vehicle: str
    courier: Point
    pickup: Point
    dropoff: Point


@dataclass(frozen=True, slots=True)
class VehicleLine:
    """What one kind of vehicle carries."""

    vehicle: str
    couriers: int
    orders: int
    mean_trip_km: float
    mean_minutes: float


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The plan as a map and a table; *left* holds each order that stays: where it waits, and why."""

    trips: tuple[Trip, ...]
    idle: tuple[tuple[str, Point], ...]
    left: tuple[tuple[Point, str], ...]
    totals: tuple[VehicleLine, ...]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """All of it. *answers* are the test photos; *steps* maps each step to its seconds, in order.

    *footer* says how to get the same again: versions, seed, data and model version.
    """

    created: datetime
    data: Data
    evaluation: ClassificationMetrics
    answers: tuple[PhotoCard, ...]
    runs: tuple[Run, ...]
    drift: Drift
    dispatch: Dispatch
    city: CityDays
    steps: Mapping[str, float]
    bill: Bill
    footer: Mapping[str, str]
