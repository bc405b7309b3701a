"""Assignment: give each order to at most one courier: as many orders as possible, in few minutes, few of them late."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scones.dispatch.matching import match
from scones.dispatch.orders import Courier, Order
from scones.dispatch.pairs import Book, Fleet, weigh
from scones.dispatch.rules import Bay, Rules
from scones.errors import SconesError


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
    pairs = weigh(Fleet.of(couriers, rules), Book.of(orders), rules)
    capacity = np.array([courier.capacity for courier in couriers], dtype=np.intp)
    assignments = tuple(
        _assignment(orders[row], couriers[column], rules, pairs.minutes[row, column] + rules.queue_minutes * turn)
        for row, column, turn in zip(*match(pairs.cost, pairs.allowed, capacity, rules.queue_minutes), strict=True)
    )
    moving = {item.order.id for item in assignments}
    return Plan(
        assignments=assignments,
        unassigned=tuple(
            Unassigned(order, _reason(order, bool(pairs.suits[row].any()), bool(pairs.allowed[row].any())))
            for row, order in enumerate(orders)
            if order.id not in moving
        ),
    )


def _check(couriers: Sequence[Courier], orders: Sequence[Order]) -> None:
    for what, names in (("courier", [c.id for c in couriers]), ("order", [o.id for o in orders])):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise BadOrderBook(f"{what} {twice[0]!r} is named twice; give each its own identity")
    negative = [courier.id for courier in couriers if courier.capacity < 0]
    if negative:
        raise BadOrderBook(f"courier {negative[0]!r} has a negative capacity; use 0 for a courier who is full")


def _assignment(order: Order, courier: Courier, rules: Rules, minutes: float) -> Assignment:
    return Assignment(
        order=order,
        courier=courier,
        sure=rules.sure(courier),
        bay=rules.bay(courier),
        approach_km=courier.place.distance_km(order.pickup),
        trip_km=order.trip_km,
        minutes=float(minutes),
    )


def _reason(order: Order, suits: bool, allowed: bool) -> str:
    """Why nobody takes this order: the first of the rules that leaves it without a courier."""
    if not suits:
        return f"no courier's vehicle suits {order.trip_km:.1f} km with {order.size_litres:.0f} litres"
    if not allowed:
        return "every courier whose vehicle suits is too far from the pick-up"
    return "every courier who may take it is full"
