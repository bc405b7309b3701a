"""DynamoDB: items in the form of its API, for the dispatch function and the control plane alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from scones.domain.errors import DispatchError

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
