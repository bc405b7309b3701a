"""Simulation: a seeded city of couriers and orders, and one day of dispatching under estimated vehicle types."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scones.dispatch.assignment import (
    CourierColumns,
    Floats,
    Ints,
    Mask,
    OrderColumns,
    cost_matrix,
    limits_of,
    match,
    suitable,
)
from scones.dispatch.orders import Courier, Order, Place, Rules
from scones.domain.decision import VEHICLES
from scones.domain.vehicles import VehicleLimits

CITY_SPREAD_KM = 2.2
"""The standard deviation of kitchens' and couriers' positions from the center, east and north."""
_CITY_EDGE_KM = 9.0
# Most trips are short and a few are long: a lognormal distribution with median 2.7 km.
_TRIP_LOG_MEDIAN, _TRIP_LOG_SPREAD = 1.0, 0.6
_ORDER_LITRES = (5.0, 60.0)
_READY_MINUTES = (0.0, 20.0)
# The delivery time that customers are promised, from when the order is ready: longer trips may take longer.
_PROMISE_MINUTES, _PROMISE_MINUTES_PER_KM = 20.0, 2.5


def example_orders(count: int, seed: int, placed_minute: float = 0.0) -> tuple[Order, ...]:
    """Example orders: most kitchens are near the center, most trips are short, some cross the city."""
    rng = np.random.default_rng(seed)
    return orders_placed(np.full(count, placed_minute), rng)


def orders_placed(placed_minutes: Floats, rng: np.random.Generator) -> tuple[Order, ...]:
    """One order for each of *placed_minutes*; each is ready some minutes later, and due when its length allows."""
    count = len(placed_minutes)
    pickups = rng.normal(0, CITY_SPREAD_KM, (count, 2))
    headings = rng.uniform(0, 2 * np.pi, count)
    trips = rng.lognormal(_TRIP_LOG_MEDIAN, _TRIP_LOG_SPREAD, count)
    dropoffs = pickups + trips[:, None] * np.column_stack([np.cos(headings), np.sin(headings)])
    sizes = rng.uniform(*_ORDER_LITRES, count)
    ready = placed_minutes + rng.uniform(*_READY_MINUTES, count)
    return tuple(
        _order(number, (_place(pickup), _place(dropoff)), size, minute)
        for number, (pickup, dropoff, size, minute) in enumerate(
            zip(pickups, dropoffs, sizes.tolist(), ready.tolist(), strict=True), start=1
        )
    )


def example_couriers(
    seen: Sequence[tuple[str, str, float]], seed: int, free_minute: float = 0.0
) -> tuple[Courier, ...]:
    """Place couriers at random positions: each of *seen* has the id, vehicle and confidence of a photo."""
    rng = np.random.default_rng(seed)
    places = rng.normal(0, CITY_SPREAD_KM, (len(seen), 2))
    return tuple(
        Courier(identity, vehicle, confidence, *_place(place), free_minute=free_minute)
        for (identity, vehicle, confidence), place in zip(seen, places, strict=True)
    )


def _order(number: int, way: tuple[Place, Place], litres: float, ready_minute: float) -> Order:
    promise = _PROMISE_MINUTES + _PROMISE_MINUTES_PER_KM * way[0].distance_km(way[1])
    return Order(
        f"order-{number:03d}", *way, round(litres, 1), round(ready_minute, 1), round(ready_minute + promise, 1)
    )


def _place(position: Floats) -> Place:
    east, north = np.clip(position, -_CITY_EDGE_KM, _CITY_EDGE_KM)
    return Place(round(float(east), 3), round(float(north), 3))


BICYCLE, MOTORCYCLE, UNSURE, BLIND = range(4)
"""The dispatcher's belief about a courier's vehicle; with BLIND, any order may go to any courier."""

_OPENS, _LAST_ORDER, _ENDS = 10 * 60, 22 * 60, 23 * 60
_SHIFTS = (10 * 60, 14 * 60, 18 * 60)
SHIFTS = len(_SHIFTS)
"""How often a courier sends a photo: once when each shift begins."""
# Lunch, dinner, and the rest of the day: share of the orders, middle and deviation in minutes.
_PEAKS = ((0.35, 12.75 * 60, 45), (0.45, 19.25 * 60, 60))
_EVERY_MINUTES = 6
# No courier is sent to a kitchen long before the meal is ready.
_READY_SOON_MINUTES = 10
# Later the order is cancelled.
_PATIENCE_MINUTES = 60


@dataclass(frozen=True, slots=True)
class City:
    """The size of the simulated city."""

    couriers: int = 160
    orders: int = 2900
    motorcycles: float = 0.5
    """The share of couriers who ride a motorcycle."""


@dataclass(frozen=True, slots=True)
class Day:
    """One simulated day: couriers' true vehicles and waiting places, and the orders in time."""

    motorcycle: Mask
    stand: Floats
    book: OrderColumns
    dropoff: Floats
    placed_minute: Floats

    @classmethod
    def of(cls, city: City, seed: int) -> "Day":
        """A day from a seed."""
        rng = np.random.default_rng(seed)
        placed = np.sort(_placed(city.orders, rng))
        orders = orders_placed(placed, rng)
        return cls(
            motorcycle=np.arange(city.couriers) < round(city.motorcycles * city.couriers),
            stand=rng.normal(0, CITY_SPREAD_KM, (city.couriers, 2)),
            book=OrderColumns.of(orders),
            dropoff=np.array([order.dropoff for order in orders]),
            placed_minute=placed,
        )


@dataclass(frozen=True, slots=True)
class DayResult:
    """The day's results over all orders; an order is cancelled an hour after it is due, and counts as an hour late."""

    on_time: float
    minutes_late: float
    km_per_order: float
    cancelled: float


@dataclass(slots=True)
class _Streets:
    """The state of the day: the couriers' positions, and the orders delivered."""

    place: Floats
    free_minute: Floats
    delivered: Floats
    km: float = 0.0


def play(day: Day, believed: Ints, rules: Rules) -> DayResult:
    """Simulate *day*; *believed* [shifts, couriers] is the dispatcher's BICYCLE, MOTORCYCLE, UNSURE or BLIND."""
    limits = limits_of([*_both(rules), rules.unsure(), either(rules)])
    truth = limits[day.motorcycle.astype(np.intp)]
    suits = suitable(limits, day.book, rules)
    streets = _Streets(day.stand.copy(), np.zeros(len(day.stand)), np.full(len(day.placed_minute), np.inf))
    for now in range(_OPENS, _ENDS, _EVERY_MINUTES):
        shift = int(np.searchsorted(_SHIFTS, now, side="right")) - 1
        free = np.flatnonzero(streets.free_minute <= now)
        seen = believed[shift, free]
        orders = np.flatnonzero(_waiting(day, streets, now) & suits[:, np.unique(seen)].any(axis=1))
        fleet = CourierColumns(streets.place[free], limits[seen], np.full(len(free), float(now)))
        pairs = cost_matrix(fleet, day.book[orders], rules)
        rows, columns, _ = match(pairs.cost, pairs.allowed, np.ones(len(free), dtype=np.intp), 0)
        streets.free_minute[free] = now
        _ride(day, streets, truth, orders[rows], free[columns])
        _return(day, streets, truth, np.delete(free, columns))
    return _outcome(day, streets)


def either(rules: Rules) -> VehicleLimits:
    """The limits without a classifier: the wider of both vehicle types, and their mean speed."""
    one, other = _both(rules)
    return VehicleLimits(
        min_trip_km=min(one.min_trip_km, other.min_trip_km),
        max_trip_km=max(one.max_trip_km, other.max_trip_km),
        max_approach_km=max(one.max_approach_km, other.max_approach_km),
        max_litres=max(one.max_litres, other.max_litres),
        km_per_hour=(one.km_per_hour + other.km_per_hour) / 2,
        stop_minutes=(one.stop_minutes + other.stop_minutes) / 2,
    )


def _both(rules: Rules) -> tuple[VehicleLimits, VehicleLimits]:
    bicycle, motorcycle = (rules.vehicles[name] for name in VEHICLES)
    return bicycle, motorcycle


def _waiting(day: Day, streets: _Streets, now: float) -> Mask:
    """Which orders may be assigned now."""
    wanted = (day.placed_minute <= now) & (now <= day.book.due_minute + _PATIENCE_MINUTES)
    return np.isinf(streets.delivered) & wanted & (day.book.ready_minute <= now + _READY_SOON_MINUTES)


def _ride(day: Day, streets: _Streets, truth: Floats, orders: Ints, couriers: Ints) -> None:
    """Send *couriers* with *orders*, on their true vehicles."""
    load, speed, stop = truth[couriers, 3:].T
    now = streets.free_minute[couriers]
    approach_km = np.linalg.norm(day.book.pickup[orders] - streets.place[couriers], axis=1)
    # A load that does not fit takes several rides: there, back, and there again.
    ways = 2 * np.ceil(day.book.litres[orders] / load) - 1
    km = ways * day.book.trip_km[orders]
    arrived = np.maximum(now + 60 * approach_km / speed, day.book.ready_minute[orders])
    done = arrived + 60 * km / speed + (ways + 1) * stop
    streets.delivered[orders] = streets.free_minute[couriers] = done
    streets.place[couriers] = day.dropoff[orders]
    streets.km += float((approach_km + km).sum())


def _return(day: Day, streets: _Streets, truth: Floats, idle: Ints) -> None:
    """Idle couriers ride towards their stand."""
    way = day.stand[idle] - streets.place[idle]
    km = np.linalg.norm(way, axis=1)
    ridden = np.minimum(km, truth[idle, 4] * _EVERY_MINUTES / 60)
    streets.place[idle] += way * (ridden / np.maximum(km, 1e-9))[:, None]
    streets.km += float(ridden.sum())


def _outcome(day: Day, streets: _Streets) -> DayResult:
    cancelled = np.isinf(streets.delivered)
    late = np.clip(streets.delivered - day.book.due_minute, 0, _PATIENCE_MINUTES)
    return DayResult(
        on_time=float(np.mean(late == 0)),
        minutes_late=float(late.mean()),
        km_per_order=streets.km / max(1, int((~cancelled).sum())),
        cancelled=float(cancelled.mean()),
    )


def _placed(count: int, rng: np.random.Generator) -> Floats:
    """When each order is placed: most of them towards lunch and dinner."""
    shares = [share for share, _, _ in _PEAKS]
    which = rng.choice(len(_PEAKS) + 1, count, p=[*shares, 1 - sum(shares)])
    minutes = rng.uniform(_OPENS, _LAST_ORDER, count)
    for number, (_, middle, spread) in enumerate(_PEAKS):
        chosen = which == number
        minutes[chosen] = rng.normal(middle, spread, chosen.sum())
    return np.clip(minutes, _OPENS, _LAST_ORDER)
