"""Cost matrix: for each order and courier, whether the pair is allowed, its duration and its cost."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from scones.dispatch.orders import Courier, Order, Rules, VehicleLimits

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

_COLUMNS = attrgetter(*(field.name for field in fields(VehicleLimits)))
# Leaving an order unassigned costs more if it must leave within the hour.
_URGENT_MINUTES = 60


@dataclass(frozen=True, slots=True)
class CourierColumns:
    """Couriers as columns: *place* [couriers, 2] in km, *limits* [couriers, fields of Limits], *free_minute*."""

    place: Floats
    limits: Floats
    free_minute: Floats

    @classmethod
    def of(cls, couriers: Sequence[Courier], rules: Rules) -> "CourierColumns":
        """The couriers with the limits that the rules give them."""
        return cls(
            place=np.array([(item.x_km, item.y_km) for item in couriers], dtype=np.float64).reshape(-1, 2),
            limits=limits_of([rules.limits(item) for item in couriers]),
            free_minute=np.array([item.free_minute for item in couriers], dtype=np.float64),
        )


@dataclass(frozen=True, slots=True)
class OrderColumns:
    """Orders as columns: *pickup* [orders, 2] in km, and one number each of the rest."""

    pickup: Floats
    trip_km: Floats
    litres: Floats
    ready_minute: Floats
    due_minute: Floats

    @classmethod
    def of(cls, orders: Sequence[Order]) -> "OrderColumns":
        """The orders, in their order."""
        rows = [(*item.pickup, item.trip_km, item.size_litres, item.ready_minute, item.due_minute) for item in orders]
        table = np.array(rows, dtype=np.float64).reshape(-1, 6)
        return cls(table[:, :2], *table[:, 2:].T)

    def __getitem__(self, chosen: Ints) -> "OrderColumns":
        """Some of the orders."""
        return OrderColumns(
            self.pickup[chosen],
            self.trip_km[chosen],
            self.litres[chosen],
            self.ready_minute[chosen],
            self.due_minute[chosen],
        )


@dataclass(frozen=True, slots=True)
class CostMatrix:
    """Orders by couriers: the vehicle suits, the pair is allowed, km to the pick-up, minutes to hand-over, cost."""

    suits: Mask
    allowed: Mask
    approach_km: Floats
    minutes: Floats
    cost: Floats


def limits_of(limits: Sequence[VehicleLimits]) -> Floats:
    """One row of numbers per limits."""
    return np.array([_COLUMNS(item) for item in limits], dtype=np.float64).reshape(-1, 6)


def suitable(limits: Floats, book: OrderColumns, rules: Rules) -> Mask:
    """Which orders suit which limits [orders, rows of *limits*], regardless of position; the same as `Rules.suits`."""
    low, high, _, load, _, _ = limits.T
    trip_km, litres = book.trip_km[:, None], book.litres[:, None]
    suits: Mask = ((low <= trip_km) | (litres > rules.bicycle.max_litres)) & (trip_km <= high) & (litres <= load)
    return suits


def cost_matrix(fleet: CourierColumns, book: OrderColumns, rules: Rules) -> CostMatrix:
    """The cost of each pair under *rules*; a minute late costs `late_weight` minutes of riding."""
    _, _, reach, _, speed, stop = fleet.limits.T
    trip_km, suits = book.trip_km[:, None], suitable(fleet.limits, book, rules)
    east = book.pickup[:, None, 0] - fleet.place[:, 0]
    north = book.pickup[:, None, 1] - fleet.place[:, 1]
    approach_km = np.hypot(east, north)
    allowed = suits & (approach_km <= reach)
    arrived = fleet.free_minute + approach_km * (60 / speed)
    delivered = np.maximum(arrived, book.ready_minute[:, None]) + (trip_km * (60 / speed) + 2 * stop)
    minutes = delivered - fleet.free_minute
    spare = book.due_minute[:, None] - delivered
    cost = minutes + rules.late_weight * np.maximum(0, -spare) - _urgency(np.where(allowed, spare, -np.inf))
    return CostMatrix(suits, allowed, approach_km, minutes, cost)


def _urgency(spare: Floats) -> Floats:
    """The cost of leaving each order unassigned [orders, 1]: it rises as the time to its deadline falls."""
    best: Floats = spare.max(axis=1, initial=-np.inf, keepdims=True)
    return np.asarray(np.clip(_URGENT_MINUTES - best, 0, 2 * _URGENT_MINUTES))
