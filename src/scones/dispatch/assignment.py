"""Assignment: give each order to at most one courier: as many orders as possible, quickly and on time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching, min_weight_full_bipartite_matching

from scones.dispatch.orders import Courier, Order, Rules
from scones.domain.errors import DispatchError
from scones.domain.vehicles import VehicleLimits

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

_COLUMNS = attrgetter("min_trip_km", "max_trip_km", "max_approach_km", "max_litres", "km_per_hour", "stop_minutes")
# Leaving an order unassigned costs more if it must leave within the hour.
_URGENT_MINUTES = 60


@dataclass(frozen=True, slots=True)
class CourierColumns:
    """Couriers as columns: *place* [couriers, 2] in km, *limits* [couriers, six numbers], *free_minute*."""

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
    least, most, _, loads, _, _ = limits_of(list(rules.vehicles.values())).T
    lighter = np.where((least <= trip_km) & (trip_km <= most), loads, 0).max(axis=1, keepdims=True)
    suits: Mask = ((low <= trip_km) | (litres > lighter)) & (trip_km <= high) & (litres <= load)
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


_CANDIDATES = 16
# Costs more than any plan, so the solver leaves an order out only when it must.
_LEFT_OUT = 1e7


def match(cost: Floats, allowed: Mask, capacity: Ints, queue_cost: float) -> tuple[Ints, Ints, Ints]:
    """Match orders (rows) with couriers (columns); each further order of a courier costs *queue_cost* more.

    Returns the matched orders, ascending, the courier of each, and its number among that courier's orders, from 0.
    """
    owner: Ints = np.repeat(np.arange(len(capacity)), capacity)
    turn = np.arange(len(owner)) - np.searchsorted(owner, owner)
    queue: Floats = queue_cost * turn.astype(np.float64)
    cost, allowed = cost[:, owner] + queue, allowed[:, owner]
    orders, places = _in_rounds(cost, allowed)
    if len(orders) < min(allowed.any(axis=1).sum(), allowed.any(axis=0).sum()):
        orders, places = _widened(cost, allowed, orders, places)
    ranked = np.argsort(orders)
    return orders[ranked], owner[places[ranked]], turn[places[ranked]]


def _widened(cost: Floats, allowed: Mask, orders: Ints, places: Ints) -> tuple[Ints, Ints]:
    """Improve a matching that may not be maximal: solve again, with the pairs of a maximal one added."""
    widest = maximum_bipartite_matching(csr_array(allowed), perm_type="column")
    movable = np.flatnonzero(widest >= 0)
    if len(movable) == len(orders):
        return orders, places
    chosen = _promising(cost, allowed)
    chosen[orders, places] = chosen[movable, widest[movable]] = True
    return _solve(cost, chosen)


def _in_rounds(cost: Floats, allowed: Mask) -> tuple[Ints, Ints]:
    """Match the promising pairs, then those of the remaining orders and couriers, until no more can be matched."""
    orders, places = np.zeros((2, 0), dtype=np.intp)
    left, free = np.arange(cost.shape[0]), np.arange(cost.shape[1])
    while len(left) and len(free):
        pairs = np.ix_(left, free)
        rows, columns = _solve(cost[pairs], _promising(cost[pairs], allowed[pairs]))
        if not len(rows):
            break
        orders, places = np.concatenate([orders, left[rows]]), np.concatenate([places, free[columns]])
        left, free = np.delete(left, rows), np.delete(free, columns)
    return orders, places


def _solve(cost: Floats, chosen: Mask) -> tuple[Ints, Ints]:
    """Match the *chosen* pairs at the lowest cost; a dummy column for each order lets it stay unassigned."""
    count, places = cost.shape
    rows, columns = np.nonzero(chosen)
    if not len(rows):
        return rows, columns
    weights = cost[rows, columns]
    # The solver treats a weight of 0 as a missing pair.
    weights += 1 - weights.min()
    ways_out = np.arange(count)
    graph = csr_array(
        (
            np.concatenate([weights, np.full(count, _LEFT_OUT)]),
            (np.concatenate([rows, ways_out]), np.concatenate([columns, places + ways_out])),
        ),
        shape=(count, places + count),
    )
    orders, ends = min_weight_full_bipartite_matching(graph)
    kept = ends < places
    return orders[kept].astype(np.intp), ends[kept].astype(np.intp)


def _promising(cost: Floats, allowed: Mask) -> Mask:
    """The cheapest pairs of each row and column; all allowed pairs if there are few."""
    rows, columns = cost.shape
    if min(rows, columns) <= _CANDIDATES:
        return allowed.copy()
    dear = np.where(allowed, cost, np.inf).astype(np.float32)
    chosen = np.zeros_like(allowed)
    chosen[np.arange(rows)[:, None], _cheapest(dear)] = True
    chosen[_cheapest(np.ascontiguousarray(dear.T)).T, np.arange(columns)] = True
    return chosen & allowed


def _cheapest(dear: NDArray[np.float32]) -> Ints:
    return np.argpartition(dear, _CANDIDATES, axis=1)[:, :_CANDIDATES]


class InvalidOrderBook(DispatchError):
    """An id appears twice, or a capacity is negative."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """An order assigned to a courier; *sure* says whether the vehicle is known."""

    order: Order
    courier: Courier
    sure: bool
    bay: str
    approach_km: float
    trip_km: float
    minutes: float


@dataclass(frozen=True, slots=True)
class Unassigned:
    """An order that is not assigned, and the reason."""

    order: Order
    reason: str


@dataclass(frozen=True, slots=True)
class VehicleTotals:
    """A plan's totals for a vehicle type; *vehicle* is 'unsure' for couriers whose vehicle is not known."""

    vehicle: str
    couriers: int
    orders: int
    mean_trip_km: float
    mean_minutes: float


@dataclass(frozen=True, slots=True)
class DispatchPlan:
    """Each order exactly once: assigned or unassigned."""

    assignments: tuple[Assignment, ...]
    unassigned: tuple[Unassigned, ...]

    def totals(self) -> tuple[VehicleTotals, ...]:
        """The totals by vehicle type, in alphabetical order, unsure couriers last."""
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


def assign(couriers: Sequence[Courier], orders: Sequence[Order], rules: Rules) -> DispatchPlan:
    """Assign *orders* to *couriers* under *rules*; the same input gives the same plan.

    Raises:
        InvalidOrderBook: an identity appears twice, or a capacity is negative.
        MissingRules: a courier's vehicle is of a class without rules.
    """
    _check(couriers, orders)
    pairs = cost_matrix(CourierColumns.of(couriers, rules), OrderColumns.of(orders), rules)
    capacity = np.array([courier.capacity for courier in couriers], dtype=np.intp)
    assignments = tuple(
        _assignment(orders[row], couriers[column], rules, pairs.minutes[row, column] + rules.queue_minutes * turn)
        for row, column, turn in zip(*match(pairs.cost, pairs.allowed, capacity, rules.queue_minutes), strict=True)
    )
    moving = {item.order.id for item in assignments}
    return DispatchPlan(
        assignments=assignments,
        unassigned=tuple(
            Unassigned(order, _reason(order, rules, bool(pairs.suits[row].any()), bool(pairs.allowed[row].any())))
            for row, order in enumerate(orders)
            if order.id not in moving
        ),
    )


def _check(couriers: Sequence[Courier], orders: Sequence[Order]) -> None:
    for what, names in (("courier", [c.id for c in couriers]), ("order", [o.id for o in orders])):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise InvalidOrderBook(f"{what} {twice[0]!r} appears twice; each needs its own id")
    negative = [courier.id for courier in couriers if courier.capacity < 0]
    if negative:
        raise InvalidOrderBook(f"courier {negative[0]!r} has a negative capacity; use 0 for a courier who is full")


def _assignment(order: Order, courier: Courier, rules: Rules, minutes: float) -> Assignment:
    return Assignment(
        order=order,
        courier=courier,
        sure=bool(courier.vehicle),
        bay=rules.limits(courier).bay,
        approach_km=courier.place.distance_km(order.pickup),
        trip_km=order.trip_km,
        minutes=float(minutes),
    )


def _reason(order: Order, rules: Rules, suits: bool, allowed: bool) -> str:
    """Why the order has no courier: the first rule that excludes all of them."""
    if not any(rules.suits(limits, order) for limits in rules.vehicles.values()):
        return f"the rules of no class allow {order.trip_km:.1f} km with {order.size_litres:.0f} litres"
    if not suits:
        return f"no courier's vehicle suits {order.trip_km:.1f} km with {order.size_litres:.0f} litres"
    if not allowed:
        return "every courier whose vehicle suits is too far from the pick-up"
    return "every courier who may take it is full"
