"""Assignment: give each order to at most one courier, as many orders as possible, in the fewest minutes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from scones.dispatch.orders import Courier, Order
from scones.dispatch.rules import Bay, Limits, Rules
from scones.errors import SconesError

# Dearer than any plan's minutes, so the solver leaves an order out only when it must.
_FORBIDDEN_MINUTES = 1e6

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class BadOrderBook(SconesError):
    """The same courier or order is named twice, or a capacity is negative."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One order on its way; *sure* says whether the courier's vehicle is known."""

    order: Order
    courier: Courier
    sure: bool
    bay: Bay
    approach_km: float
    trip_km: float
    minutes: float


@dataclass(frozen=True, slots=True)
class Unassigned:
    """An order that stays, and why."""

    order: Order
    reason: str


@dataclass(frozen=True, slots=True)
class VehicleTotals:
    """What one kind of vehicle carries in a plan; *vehicle* is 'unsure' for couriers below the threshold."""

    vehicle: str
    couriers: int
    orders: int
    mean_trip_km: float
    mean_minutes: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Every order, exactly once: assigned or not."""

    assignments: tuple[Assignment, ...]
    unassigned: tuple[Unassigned, ...]

    def totals(self) -> tuple[VehicleTotals, ...]:
        """The plan's figures by kind of vehicle, in alphabetical order, unsure couriers last."""
        groups: dict[str, list[Assignment]] = {}
        for item in self.assignments:
            groups.setdefault(item.courier.vehicle if item.sure else "unsure", []).append(item)
        return tuple(
            VehicleTotals(
                vehicle=vehicle,
                couriers=len({item.courier.id for item in items}),
                orders=len(items),
                mean_trip_km=float(np.mean([item.trip_km for item in items])),
                mean_minutes=float(np.mean([item.minutes for item in items])),
            )
            for vehicle, items in sorted(groups.items(), key=lambda group: (group[0] == "unsure", group[0]))
        )


def assign(couriers: Sequence[Courier], orders: Sequence[Order], rules: Rules) -> Plan:
    """Assign *orders* to *couriers* under *rules*; the same input gives the same plan.

    Raises:
        BadOrderBook: an identity appears twice, or a capacity is negative.
    """
    _check(couriers, orders)
    table = _Table.of(couriers, orders, rules)
    slots = np.repeat(np.arange(len(couriers)), [courier.capacity for courier in couriers])
    turn = _turns(slots)
    minutes = np.where(table.allowed, table.minutes, _FORBIDDEN_MINUTES)[:, slots] + rules.queue_minutes * turn
    chosen: dict[int, int] = {
        int(row): int(column)
        for row, column in zip(*linear_sum_assignment(minutes), strict=True)
        if table.allowed[row, slots[column]]
    }
    return Plan(
        assignments=tuple(
            table.assignment(row, int(slots[column]), float(minutes[row, column])) for row, column in chosen.items()
        ),
        unassigned=tuple(Unassigned(order, table.reason(row)) for row, order in enumerate(orders) if row not in chosen),
    )


def _check(couriers: Sequence[Courier], orders: Sequence[Order]) -> None:
    for what, names in (("courier", [c.id for c in couriers]), ("order", [o.id for o in orders])):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise BadOrderBook(f"{what} {twice[0]!r} is named twice; give each its own identity")
    negative = [courier.id for courier in couriers if courier.capacity < 0]
    if negative:
        raise BadOrderBook(f"courier {negative[0]!r} has a negative capacity; use 0 for a courier who is full")


def _turns(slots: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many slots of the same courier come before each slot."""
    return np.arange(len(slots)) - np.searchsorted(slots, slots)


@dataclass(frozen=True, slots=True)
class _Table:
    """Orders by couriers: who may take what, in how many minutes."""

    couriers: Sequence[Courier]
    orders: Sequence[Order]
    sure: Mask
    suits: Mask
    allowed: Mask
    approach_km: Floats
    minutes: Floats

    @classmethod
    def of(cls, couriers: Sequence[Courier], orders: Sequence[Order], rules: Rules) -> "_Table":
        sure = np.array([rules.sure(courier) for courier in couriers], dtype=bool)
        limits = [rules.limits(courier) for courier in couriers]
        trip_km = np.array([order.trip_km for order in orders])[:, None]
        litres = np.array([order.size_litres for order in orders])[:, None]
        low, high, reach, load, speed = (np.array(column, dtype=np.float64) for column in _columns(limits))
        approach_km = _approach_km(couriers, orders)
        far_enough = (low <= trip_km) | (litres > rules.bicycle.max_litres)
        suits = far_enough & (trip_km <= high) & (litres <= load)
        minutes = 60 * (approach_km + trip_km) / speed
        return cls(couriers, orders, sure, suits, suits & (approach_km <= reach), approach_km, minutes)

    def assignment(self, row: int, column: int, minutes: float) -> Assignment:
        courier, sure = self.couriers[column], bool(self.sure[column])
        bay: Bay = "C" if not sure else "A" if courier.vehicle == "bicycle" else "B"
        order = self.orders[row]
        return Assignment(order, courier, sure, bay, float(self.approach_km[row, column]), order.trip_km, minutes)

    def reason(self, row: int) -> str:
        """Why nobody takes this order: the first of the rules that leaves it without a courier."""
        order = self.orders[row]
        if not self.suits[row].any():
            return f"no courier's vehicle suits {order.trip_km:.1f} km with {order.size_litres:.0f} litres"
        if not self.allowed[row].any():
            return "every courier whose vehicle suits is too far from the pick-up"
        return "every courier who may take it is full"


def _columns(limits: Sequence[Limits]) -> tuple[list[float], ...]:
    return (
        [limit.min_trip_km for limit in limits],
        [limit.max_trip_km for limit in limits],
        [limit.max_approach_km for limit in limits],
        [limit.max_litres for limit in limits],
        [limit.km_per_hour for limit in limits],
    )


def _approach_km(couriers: Sequence[Courier], orders: Sequence[Order]) -> Floats:
    """Kilometres [orders, couriers] from each courier to each pick-up."""
    east = np.array([order.pickup.x_km for order in orders])[:, None] - np.array([c.x_km for c in couriers])
    north = np.array([order.pickup.y_km for order in orders])[:, None] - np.array([c.y_km for c in couriers])
    return np.asarray(np.hypot(east, north))
