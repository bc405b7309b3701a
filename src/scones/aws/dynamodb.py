"""DynamoDB: the environment's tables, their items, and conditional writes."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from scones.aws.client import AwsError, Client, wait
from scones.data.labels import Label
from scones.dispatch.order_book import (
    REVIEW_PRIORITIES,
    Item,
    ReviewState,
    Value,
    Write,
    deserialize,
    serialize,
    update_arguments,
)
from scones.domain.naming import from_iso8601

_TABLE_SECONDS = 300.0
_BATCH_ITEMS = 25
_REFUSED = "ConditionalCheckFailed"


class Table:
    """The table called *name*; every method raises AwsError as its call does."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def get(self, key: Mapping[str, Value]) -> Item | None:
        """Read one item, consistently; None if there is none."""
        reply = self._client.call("get_item", TableName=self.name, Key=serialize(key), ConsistentRead=True)
        return deserialize(reply["Item"]) if "Item" in reply else None

    def put_all(self, items: Sequence[Mapping[str, Value]]) -> None:
        """Write many items; those with the same keys are replaced.

        Raises:
            PartlyFailed: the table was too busy for some of them.
        """
        puts = [{"PutRequest": {"Item": serialize(item)}} for item in items]
        self._client.call_all("batch_write_item", puts, _BATCH_ITEMS, lambda some: {"RequestItems": {self.name: some}})

    def write(self, write: Write) -> bool:
        """Change one item; tell whether the condition held."""
        try:
            self._client.call("update_item", **update_arguments(self.name, write))
        except AwsError as error:
            if error.code == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def query(
        self, key: Mapping[str, Value], index: str | None = None, *, prefix: tuple[str, str] | None = None
    ) -> Iterator[Item]:
        """Yield the items whose attribute, the table's or the *index*'s partition key, has this value.

        They come in the order of the sort key, and are read page by page, as far as the caller asks for them. *prefix*
        is the sort key's name, and what it begins with.
        """
        pages = self._client.pages("query", **self._query(key, index, prefix))
        yield from (deserialize(item) for page in pages for item in page["Items"])

    def count(
        self, key: Mapping[str, Value], index: str | None = None, *, prefix: tuple[str, str] | None = None
    ) -> int:
        """Count what `query` would yield."""
        pages = self._client.pages("query", **self._query(key, index, prefix), Select="COUNT")
        return sum(page["Count"] for page in pages)

    def _query(self, key: Mapping[str, Value], index: str | None, prefix: tuple[str, str] | None) -> dict[str, object]:
        ((name, value),) = key.items()
        condition, names, values = "#key = :key", {"#key": name}, {":key": value}
        if prefix:
            condition += " AND begins_with(#sort, :prefix)"
            names["#sort"], values[":prefix"] = prefix
        return {
            "TableName": self.name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": serialize(values),
            **({"IndexName": index} if index else {"ConsistentRead": True}),
        }

    def newest(
        self, index: str, key: Mapping[str, Value], limit: int, *, after: Mapping[str, Value] | None = None
    ) -> tuple[list[Item], Item | None]:
        """Read at most *limit* items of one partition of an *index*, those with the largest sort keys first.

        Also returns the key of the last item, from which the next call goes on *after*; None at the end.
        """
        ((name, value),) = key.items()
        reply = self._client.call(
            "query",
            TableName=self.name,
            IndexName=index,
            KeyConditionExpression="#key = :key",
            ExpressionAttributeNames={"#key": name},
            ExpressionAttributeValues=serialize({":key": value}),
            ScanIndexForward=False,
            Limit=limit,
            **({"ExclusiveStartKey": serialize(after)} if after else {}),
        )
        last = reply.get("LastEvaluatedKey")
        return [deserialize(item) for item in reply["Items"]], deserialize(last) if last else None

    def scan(self) -> Iterator[Item]:
        """Yield every item, in no order."""
        pages = self._client.pages("scan", TableName=self.name, ConsistentRead=True)
        yield from (deserialize(item) for page in pages for item in page["Items"])

    def exists(self) -> bool:
        """Tell whether the table is there."""
        return self._client.find("describe_table", TableName=self.name) is not None

    def delete(self) -> None:
        """Delete the table, if it exists, and wait until it is gone."""
        if not self.exists():
            return
        try:
            self._client.call("delete_table", TableName=self.name)
        except AwsError as error:
            if error.code not in {"ResourceNotFoundException", "ResourceInUseException"}:
                raise
        wait(f"table {self.name} going", lambda: None if self.exists() else True, _TABLE_SECONDS)


class Labels(Table):
    """The table of labels: one item for each time that a person said something about a photo."""

    def add(self, label: Label) -> bool:
        """Add a label; False if the person said something about the photo at the same time before."""
        said = msgspec.to_builtins(label)
        key = {"photo": said.pop("photo"), "when_by": f"{label.when} {label.by}"}
        return self.write(Write(key, said, "attribute_not_exists(#photo)"))

    def of_photo(self, photo: str) -> tuple[Label, ...]:
        """All labels of one photo, the oldest first."""
        return tuple(_label(item) for item in self.query({"photo": photo}))

    def all(self) -> tuple[Label, ...]:
        """Every label, the oldest first."""
        return tuple(sorted(map(_label, self.scan()), key=lambda label: (label.when, label.by, label.photo)))


class ReviewTable(Table):
    """The table of photos to review."""

    def backlog(self) -> tuple[int, int, float]:
        """Count the open reviews and those whose courier waits; and the age in minutes of the oldest, 0 if none is."""
        state, now, waiting, ages = {"state": ReviewState.OPEN}, datetime.now(UTC), 0, [0.0]
        for priority in range(REVIEW_PRIORITIES):
            prefix = ("rank", f"{priority} ")
            # In each priority the oldest comes first.
            if first := next(self.query(state, "by_state", prefix=prefix), None):
                ages.append((now - from_iso8601(str(first["since"]))).total_seconds() / 60)
                waiting += self.count(state, "by_state", prefix=prefix) if priority == 0 else 0
        return self.count(state, "by_state"), waiting, max(ages)


def _label(item: Item) -> Label:
    return msgspec.convert(item, Label)


class Tables:
    """The tables of the environment called *prefix*."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self.couriers = Table(client, f"{prefix}-couriers")
        self.orders = Table(client, f"{prefix}-orders")
        self.decisions = Table(client, f"{prefix}-decisions")
        self.reviews = ReviewTable(client, f"{prefix}-reviews")
        self.labels = Labels(client, f"{prefix}-labels")

    def all(self) -> tuple[Table, ...]:
        """Every table, in alphabetical order."""
        return self.couriers, self.decisions, self.labels, self.orders, self.reviews

    def feedback(self) -> tuple[dict[str, Any], tuple[Label, ...]]:
        """The figures of the open reviews, by name, and all labels; both empty where these tables do not exist."""
        try:
            waiting, labels = self.reviews.backlog(), tuple(self.labels.all())
        except AwsError as error:
            if not error.not_found:
                raise
            return {}, ()
        return dict(zip(("reviews_open", "couriers_waiting", "review_oldest_minutes"), waiting, strict=True)), labels

    def transact(self, writes: Sequence[tuple[Table, Write]]) -> tuple[int, ...]:
        """Make all *writes*, at most 100, or none; return the positions of those whose condition failed.

        Raises:
            AwsError: with code TransactionCanceledException if another client was writing the same item.
        """
        try:
            self._client.call(
                "transact_write_items",
                TransactItems=[{"Update": update_arguments(table.name, write)} for table, write in writes],
            )
        except AwsError as error:
            refused = tuple(position for position, reason in enumerate(error.reasons) if reason == _REFUSED)
            if refused:
                return refused
            raise
        return ()
