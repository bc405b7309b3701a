"""Order book: open orders, couriers and photos to review as items of the DynamoDB tables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from scones.dispatch.orders import Courier, Order, Place
from scones.domain.decision import Outcome
from scones.domain.errors import DispatchError
from scones.domain.naming import from_minutes, to_minutes

if TYPE_CHECKING:
    from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]
Item = dict[str, Value]
"""A table's row: its attributes by name."""

_ATTRIBUTE = re.compile(r"#(\w+)")


@dataclass(frozen=True, slots=True)
class Write:
    """One item's change: *set* overwrites these attributes of the item with *key*, which is made if it is missing.

    It happens only where *condition* holds; there, `#name` stands for an attribute and `:name` for a value of *values*.
    """

    key: Mapping[str, Value]
    set: Mapping[str, Value]
    condition: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class ItemError(DispatchError):
    """A value that DynamoDB cannot hold, or of a type that Scones never writes."""


def serialize(item: Mapping[str, Value]) -> dict[str, Any]:
    """Write *item* as DynamoDB's API wants it: `{"name": {"S": "..."}}`; a float keeps its exact value.

    Raises:
        ItemError: a value of another type, or a number that is not finite or out of DynamoDB's range.
    """
    try:
        return {name: _serializer().serialize(_to_boto3(value)) for name, value in item.items()}
    except (TypeError, ArithmeticError) as error:
        raise ItemError(f"a table cannot hold {dict(item)!r}: {error}") from error


def deserialize(item: Mapping[str, Any]) -> Item:
    """Undo `serialize`; whole numbers come back as int.

    Raises:
        ItemError: an attribute of a type that Scones never writes.
    """
    return {name: _from_boto3(_deserializer().deserialize(value)) for name, value in item.items()}


def update_arguments(table: str, write: Write) -> dict[str, Any]:
    """One write as UpdateItem's arguments; attributes are named through `#`, for many plain words are reserved."""
    names = dict.fromkeys([*write.set, *_ATTRIBUTE.findall(write.condition)])
    values = {**{f":set_{name}": value for name, value in write.set.items()}, **write.values}
    condition = {"ConditionExpression": write.condition} if write.condition else {}
    return {
        "TableName": table,
        "Key": serialize(write.key),
        "UpdateExpression": "SET " + ", ".join(f"#{name} = :set_{name}" for name in write.set),
        "ExpressionAttributeNames": {f"#{name}": name for name in names},
        "ExpressionAttributeValues": serialize(values),
        **condition,
    }


@cache
def _serializer() -> "TypeSerializer":
    from boto3.dynamodb.types import TypeSerializer  # noqa: PLC0415 - boto3 takes a tenth of a second to import

    return TypeSerializer()


@cache
def _deserializer() -> "TypeDeserializer":
    from boto3.dynamodb.types import TypeDeserializer  # noqa: PLC0415

    return TypeDeserializer()


def _to_boto3(value: object) -> object:
    """Replace floats, which boto3 refuses, by the decimals of their shortest exact digits."""
    match value:
        case float():
            return Decimal(repr(value))
        case None | bool() | str() | int():
            return value
        case list():
            return [_to_boto3(each) for each in value]
        case dict():
            return {name: _to_boto3(each) for name, each in value.items()}
    raise TypeError(f"unsupported type {type(value).__name__}")


def _from_boto3(value: object) -> Value:
    match value:
        case Decimal():
            return int(value) if value.as_tuple().exponent == 0 else float(value)
        case None | bool() | str():
            return value
        case list():
            return [_from_boto3(each) for each in value]
        case dict():
            return {name: _from_boto3(each) for name, each in value.items()}
    raise ItemError(f"an attribute of type {type(value).__name__}, which Scones never writes")


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
    NO_RULES = "no rules"
    """The vehicle is of a class without dispatch rules: the courier is not registered, and gets no orders."""


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


def assign_order(order_id: str, courier_id: str, bay: str) -> Write:
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


class ReviewState(StrEnum):
    """What became of a photo that came to review."""

    OPEN = "open"
    ANSWERED = "answered"
    SKIPPED = "skipped"
    """A person could not tell, or the photo does not matter any more."""


MEASURE, LEARN = "measure", "learn"
"""The reasons of a photo that the sampling plan chose: for the random share, or for the informative one."""
_PRIORITIES = (Outcome.OUT_OF_DISTRIBUTION, Outcome.BELOW_THRESHOLD, MEASURE, LEARN)

REVIEW_PRIORITIES = 1 + len(_PRIORITIES)


def review_rank(reason: str, since: str, *, waits: bool) -> str:
    """The sort key of a photo to review: those whose courier waits come first, then by reason, then by age."""
    return f"{0 if waits else 1 + _PRIORITIES.index(reason)} {since}"


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)
