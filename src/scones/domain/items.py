"""Items: plain values in DynamoDB's own notation and back; standard library only, as Lambdas need it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scones.domain.errors import SconesError

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


class BadItem(SconesError):
    """A value that DynamoDB cannot hold, or that is not in its notation."""


def to_wire(item: Mapping[str, Value]) -> dict[str, Any]:
    """Write *item* as DynamoDB's API wants it: `{"name": {"S": "..."}}`.

    A float is written with the digits that give it back exactly.

    Raises:
        BadItem: a value of another type, or a number that is not finite.
    """
    return {name: _write(value) for name, value in item.items()}


def from_wire(item: Mapping[str, Any]) -> Item:
    """Undo `to_wire`; whole numbers come back as int.

    Raises:
        BadItem: an attribute of a type that we never write.
    """
    return {name: _read(value) for name, value in item.items()}


def update(table: str, write: Write) -> dict[str, Any]:
    """One write as UpdateItem's arguments; attributes are named through `#`, for many plain words are reserved."""
    names = dict.fromkeys([*write.set, *_ATTRIBUTE.findall(write.condition)])
    values = {**{f":set_{name}": value for name, value in write.set.items()}, **write.values}
    condition = {"ConditionExpression": write.condition} if write.condition else {}
    return {
        "TableName": table,
        "Key": to_wire(write.key),
        "UpdateExpression": "SET " + ", ".join(f"#{name} = :set_{name}" for name in write.set),
        "ExpressionAttributeNames": {f"#{name}": name for name in names},
        "ExpressionAttributeValues": to_wire(values),
        **condition,
    }


def _write(value: Value) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | float():
            if value != value or value in (float("inf"), float("-inf")):
                raise BadItem(f"{value} is no number that a table can hold")
            return {"N": repr(value)}
        case list():
            return {"L": [_write(item) for item in value]}
        case dict():
            return {"M": to_wire(value)}
    raise BadItem(f"a table cannot hold {value!r}")


def _read(value: Mapping[str, Any]) -> Value:
    ((kind, content),) = value.items()
    match kind:
        case "NULL":
            return None
        case "S" | "BOOL":
            return content  # type: ignore[no-any-return]
        case "N":
            return _number(content)
        case "L":
            return [_read(item) for item in content]
        case "M":
            return from_wire(content)
    raise BadItem(f"an attribute of type {kind}, which Scones never writes")


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
