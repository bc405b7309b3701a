"""Order book: couriers and orders in the DynamoDB tables. The Dispatch function contains this file."""

from collections.abc import Mapping
from enum import StrEnum

from scones.dispatch.dynamodb import Item, Value, Write
from scones.dispatch.orders import Bay, Courier, Order, Place
from scones.domain.timestamps import from_minutes, to_minutes

OPEN, ASSIGNED = "open", "assigned"
OLDEST_MINUTES = 30
"""Older positions of couriers are not used."""


class DispatchStatus(StrEnum):
    """What the Dispatch function did about the courier of a photo."""

    NONE = "none"
    """The photo names no courier, or was refused."""
    DONE = "done"
    """The courier is registered, and got orders if there were any."""
    REGISTERED = "registered"
    """The photo is below the threshold: the courier is registered without a vehicle."""
    DUPLICATE = "duplicate"
    """An earlier event of the same photo moved the orders."""
    OUTDATED = "outdated"
    """A newer photo of the courier is known."""
    TOO_OLD = "too old"
    """The photo is older than `OLDEST_MINUTES`."""


def order_of(item: Mapping[str, Value]) -> Order:
    """Read an order; its minutes count from 1970."""
    return Order(
        id=str(item["order_id"]),
        pickup=Place(_number(item["pickup_x_km"]), _number(item["pickup_y_km"])),
        dropoff=Place(_number(item["dropoff_x_km"]), _number(item["dropoff_y_km"])),
        size_litres=_number(item["size"]),
        ready_minute=to_minutes(str(item["ready_at"])),
        due_minute=to_minutes(str(item["due_at"])),
    )


def open_order(order: Order) -> Item:
    """Return the item of an order without a courier."""
    return {
        "order_id": order.id,
        "status": OPEN,
        "pickup_x_km": order.pickup.x_km,
        "pickup_y_km": order.pickup.y_km,
        "dropoff_x_km": order.dropoff.x_km,
        "dropoff_y_km": order.dropoff.y_km,
        "size": order.size_litres,
        "ready_at": from_minutes(order.ready_minute),
        "due_at": from_minutes(order.due_minute),
    }


def assign_order(order_id: str, courier_id: str, bay: Bay) -> Write:
    """Give an order to a courier, only if no other courier has it."""
    taken: Item = {"status": ASSIGNED, "courier_id": courier_id, "bay": bay}
    return Write({"order_id": order_id}, taken, "#status = :open", {":open": OPEN})


def courier_of(item: Mapping[str, Value]) -> Courier:
    """Read a courier, who is free from the time of the photo."""
    return Courier(
        id=str(item["courier_id"]),
        vehicle=str(item["vehicle"]),
        confidence=_number(item["confidence"]),
        x_km=_number(item["x_km"]),
        y_km=_number(item["y_km"]),
        capacity=int(_number(item["capacity"])),
        free_minute=to_minutes(str(item["seen_at"])),
    )


def register_courier(courier: Courier, photo_id: str, seen_at: str) -> Write:
    """Register a courier, on the condition that no newer photo is known; the same photo may be written again."""
    seen: Item = {
        "vehicle": courier.vehicle,
        "confidence": courier.confidence,
        "x_km": courier.x_km,
        "y_km": courier.y_km,
        "capacity": courier.capacity,
        "photo_id": photo_id,
        "seen_at": seen_at,
    }
    newest = "attribute_not_exists(#courier_id) OR #seen_at < :seen OR (#seen_at = :seen AND #photo_id = :photo)"
    return Write({"courier_id": courier.id}, seen, newest, {":seen": seen_at, ":photo": photo_id})


def use_capacity(courier: Mapping[str, Value], orders: int) -> Write:
    """Reduce a courier's capacity by *orders*, on the condition that the item did not change since it was read."""
    left: Item = {"capacity": int(_number(courier["capacity"])) - orders}
    same = "#capacity = :held AND #seen_at = :seen"
    return Write(
        {"courier_id": courier["courier_id"]}, left, same, {":held": courier["capacity"], ":seen": courier["seen_at"]}
    )


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)
