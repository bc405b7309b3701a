"""Dispatch: record what the model or a person decided, register the courier, and assign orders to them once."""

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

from scones.dispatch.order_book import (
    OLDEST_MINUTES,
    OPEN,
    DispatchStatus,
    Item,
    Write,
    assign_order,
    deserialize,
    order_of,
    register_courier,
    review_rank,
    serialize,
    update_arguments,
)
from scones.dispatch.orders import Courier, Order, Rules, choose_orders
from scones.domain.decision import NOT_A_VEHICLE, Outcome, outcome_of_error, read_refusal
from scones.domain.naming import is_internal, to_iso8601
from scones.lambdas import logged
from scones.lambdas.services import STORAGE, StorageUnavailable, storage

_COURIERS, _ORDERS, _DECISIONS = (os.environ[f"{name}_TABLE"] for name in ("COURIERS", "ORDERS", "DECISIONS"))
_PHOTO_DAYS = timedelta(days=float(os.environ["PHOTO_DAYS"]))
_OLDEST = timedelta(minutes=OLDEST_MINUTES)
_RULES = Rules.read(os.environ.get("DISPATCH_RULES", ""))
# `scones dispatch` considers the whole order book; a photo's courier is offered the first open orders.
_OFFERED_ORDERS = 500
_TRIES = 5
_BUSY = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}

_KEPT_UNREADABLE = ("s3_bucket", "s3_key", "seen_at", "reason")
"""All that is known of a photo which no model saw; its event may have other fields, which no function has checked."""
_KEPT = (
    *_KEPT_UNREADABLE,
    *("model_version", "unfamiliarity", "unfamiliar", "inferences", "label", "confidence", "threshold", "classes"),
)
_tables = boto3.client("dynamodb", config=STORAGE)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A photo's decision and its courier, as they are written to the tables."""

    photo_id: str
    execution: str
    record: Item
    courier: Courier
    seen_at: str
    answered: bool = False
    """Whether a person decided: then the decision of the model is in the table, and this is added to it."""

    def mark(self) -> Write:
        """Mark the photo as dispatched, on the condition that no other execution did."""
        key: Item = {"photo_id": self.photo_id, "execution": _mark(self.photo_id)}
        return Write(key, {"by": self.execution}, "attribute_not_exists(#photo_id)")

    def unmarked(self) -> tuple[str, Write]:
        """Check that no execution dispatched the photo."""
        return _DECISIONS, replace(self.mark(), set={})

    def decided(self, dispatch: DispatchStatus, orders: tuple[Order, ...] = ()) -> Write:
        """Record the decision, its dispatch status and its orders."""
        return _decision(self.photo_id, self.execution, self.record, dispatch, orders)


@logged
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take `{"execution", "started", "photo"}`, where *photo* is FilterInferences' output, or the state that failed.

    Returns the photo with `dispatch`, the status, and `orders`, which its courier got; for a refused photo these two
    and `review`, whether a person is to review it; then `item` has the fields of the reviews table. Of internal traffic
    nothing is recorded. With `answer`, the label that a person gave the photo, its courier is dispatched by that; the
    execution is the one that asked for the review.

    Raises:
        StorageUnavailable: a table does not answer, or there are too many conflicts; the state machine retries.
    """
    if "answer" in event:
        return _answer(event["execution"], event["photo"], event["answer"])
    photo = _with_refusal(event["photo"])
    if is_internal(photo.get("inference_id")):
        return _result(photo, DispatchStatus.NONE, [])
    now = datetime.now(UTC)
    outcome = outcome_of_error(photo.get("error", {}).get("Error", ""))
    kept = _KEPT_UNREADABLE if outcome is Outcome.UNREADABLE else _KEPT
    record: Item = {name: photo[name] for name in kept if photo.get(name) is not None}
    recorded = to_iso8601(now)
    record |= {"outcome": outcome.value, "started": event["started"], "recorded": recorded, "day": recorded[:10]}
    with storage("the tables"):
        courier = photo.get("courier")
        if not courier or outcome not in (Outcome.CLASSIFIED, Outcome.BELOW_THRESHOLD):
            _write(_decision(photo["photo_id"], event["execution"], record, DispatchStatus.NONE))
            dispatch, orders = DispatchStatus.NONE, list[str]()
        else:
            dispatch, orders = _dispatch(_sighting(photo, event["execution"], record, now), outcome, now)
    if outcome not in (Outcome.BELOW_THRESHOLD, Outcome.OUT_OF_DISTRIBUTION):
        return _result(photo, dispatch, orders)
    return {"review": True, "item": _review_item(photo, outcome, now), "dispatch": dispatch, "orders": orders}


def _result(photo: dict[str, Any], dispatch: DispatchStatus, orders: list[str]) -> dict[str, Any]:
    # The cause of a refusal, twice, could exceed the limit of a state.
    kept = {"review": False, "item": {}} if "error" in photo else photo
    return {**kept, "dispatch": dispatch, "orders": orders}


def _review_item(photo: dict[str, Any], outcome: Outcome, now: datetime) -> dict[str, Any]:
    """The fields of the reviews table; numbers are written as DynamoDB's API wants them.

    `sighted` orders the arrivals of one photo: one without a courier never hides one with a courier. `first` names the
    attribute that keeps the rank of the first arrival, so that a photo which is sent again keeps its place.
    """
    courier, since = photo.get("courier"), to_iso8601(now)
    return {
        "rank": review_rank(outcome, since, waits=bool(courier)),
        "first": "first_waiting" if courier else "first_rank",
        "since": since,
        "reason": outcome,
        # Of a photo that came inline, the event holds the bytes.
        "uri": f"s3://{photo['s3_bucket']}/{photo['s3_key']}" if photo.get("s3_key") else "",
        "model_version": photo.get("model_version", ""),
        "predicted": photo.get("label", ""),
        "confidence": repr(float(photo.get("confidence", 0))),
        "seen_at": photo["seen_at"],
        "sighted": min(photo["seen_at"], since) if courier else "",
        "courier": serialize({"courier": courier or {}})["courier"],
        "expires": str(int((now + _PHOTO_DAYS).timestamp())),
    }


def _answer(execution: str, photo: dict[str, Any], label: str) -> dict[str, Any]:
    """Dispatch the courier of a photo by the label that a person gave it; returns `dispatch` and `orders`.

    However often it is called, and whatever label it is called with then, the photo moves orders once.
    """
    if label == NOT_A_VEHICLE or not photo.get("courier"):
        return {"dispatch": DispatchStatus.NONE, "orders": []}
    now = datetime.now(UTC)
    record: Item = {"outcome": Outcome.CLASSIFIED, "answer": label, "answered": to_iso8601(now)}
    sighting = _sighting({**photo, "label": label, "confidence": 1.0}, execution, record, now)
    # What the model decided stays recorded.
    added = {name: value for name, value in sighting.record.items() if name != "outcome"}
    with storage("the tables"):
        dispatch, orders = _dispatch(replace(sighting, record=added, answered=True), Outcome.CLASSIFIED, now)
    return {"dispatch": dispatch, "orders": orders}


def _with_refusal(photo: dict[str, Any]) -> dict[str, Any]:
    """Add the fields of the refusal, if the photo was refused."""
    return {**photo, **read_refusal(photo["error"]["Cause"])} if "error" in photo else photo


def _sighting(photo: dict[str, Any], execution: str, record: Item, now: datetime) -> Sighting:
    claimed, seen_at = photo["courier"], min(photo["seen_at"], to_iso8601(now))
    sure = record["outcome"] == Outcome.CLASSIFIED
    courier = Courier(
        id=claimed["id"],
        vehicle=photo["label"] if sure else "",
        confidence=photo["confidence"],
        x_km=claimed["x_km"],
        y_km=claimed["y_km"],
        capacity=claimed["capacity"],
        free_minute=now.timestamp() / 60,
    )
    return Sighting(photo["photo_id"], execution, {**record, "courier_id": courier.id}, courier, seen_at)


def _dispatch(sighting: Sighting, outcome: Outcome, now: datetime) -> tuple[DispatchStatus, list[str]]:
    """Register the courier; if the vehicle is known, assign orders too, in one transaction."""
    if sighting.seen_at < to_iso8601(now - _OLDEST):
        _record(sighting, DispatchStatus.TOO_OLD)
        return DispatchStatus.TOO_OLD, []
    if outcome is Outcome.BELOW_THRESHOLD:
        seen = (_COURIERS, register_courier(sighting.courier, sighting.photo_id, sighting.seen_at))
        # A courier who got orders by this photo, as after a review, keeps the vehicle and the capacity that is left.
        refused = _transact([(_DECISIONS, sighting.decided(DispatchStatus.REGISTERED)), seen, sighting.unmarked()])
        if 2 in refused:
            return _already(sighting)
        return _outdated(sighting) if refused else (DispatchStatus.REGISTERED, [])
    if sighting.courier.vehicle not in _RULES.vehicles:
        _record(sighting, DispatchStatus.NO_RULES)
        return DispatchStatus.NO_RULES, []
    gone: set[str] = set()
    for left in reversed(range(_TRIES)):
        # The last try assigns no orders, so that it cannot conflict.
        orders = choose_orders(sighting.courier, _open_orders(gone), _RULES) if left else ()
        refused = _transact(_writes(sighting, orders))
        if not refused:
            return DispatchStatus.DONE, [order.id for order in orders]
        if 0 in refused:
            return _already(sighting)
        if 1 in refused:
            return _outdated(sighting)
        gone |= {orders[position - 3].id for position in refused if position >= 3}
    raise StorageUnavailable("too many concurrent writes to the same items")


def _writes(sighting: Sighting, orders: tuple[Order, ...]) -> list[tuple[str, Write]]:
    courier = replace(sighting.courier, capacity=sighting.courier.capacity - len(orders))
    bay = _RULES.limits(courier).bay
    return [
        (_DECISIONS, sighting.mark()),
        (_COURIERS, register_courier(courier, sighting.photo_id, sighting.seen_at)),
        (_DECISIONS, sighting.decided(DispatchStatus.DONE, orders)),
        *((_ORDERS, assign_order(order.id, courier.id, bay)) for order in orders),
    ]


def _already(sighting: Sighting) -> tuple[DispatchStatus, list[str]]:
    """The photo was dispatched already: by another event, or by this one, whose answer was lost."""
    by = str(_get(sighting.photo_id, _mark(sighting.photo_id))["by"])
    orders = [str(order) for order in _get(sighting.photo_id, by)["orders"]]  # type: ignore[union-attr]
    if by == sighting.execution:
        return DispatchStatus.DONE, orders
    _record(sighting, DispatchStatus.DUPLICATE)
    return DispatchStatus.DUPLICATE, orders


def _outdated(sighting: Sighting) -> tuple[DispatchStatus, list[str]]:
    """A newer photo of the courier is known."""
    _record(sighting, DispatchStatus.OUTDATED)
    return DispatchStatus.OUTDATED, []


def _mark(photo_id: str) -> str:
    """The sort key of the item that says which execution dispatched the photo."""
    return f"dispatch of {photo_id}"


def _decision(
    photo_id: str, execution: str, record: Item, dispatch: DispatchStatus, orders: tuple[Order, ...] = ()
) -> Write:
    found: Item = {**record, "dispatch": dispatch, "orders": [order.id for order in orders]}
    return Write({"photo_id": photo_id, "execution": execution}, found)


def _open_orders(gone: set[str]) -> tuple[Order, ...]:
    reply = _tables.query(
        TableName=_ORDERS,
        IndexName="by_status",
        KeyConditionExpression="#status = :open",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues=serialize({":open": OPEN}),
        Limit=_OFFERED_ORDERS,
    )
    orders = (order_of(deserialize(item)) for item in reply["Items"])
    return tuple(order for order in orders if order.id not in gone)


def _get(photo_id: str, execution: str) -> Item:
    key = serialize({"photo_id": photo_id, "execution": execution})
    return deserialize(_tables.get_item(TableName=_DECISIONS, Key=key, ConsistentRead=True)["Item"])


def _record(sighting: Sighting, dispatch: DispatchStatus) -> None:
    """Record that the photo moved no orders."""
    decided = sighting.decided(dispatch)
    if sighting.answered:
        _tables.update_item(**update_arguments(_DECISIONS, decided))
    else:
        _write(decided)


def _write(write: Write) -> None:
    """Write a decision: a put costs less than an update of as many attributes."""
    _tables.put_item(TableName=_DECISIONS, Item=serialize({**write.key, **write.set}))


def _check(table: str, write: Write) -> dict[str, Any]:
    arguments = update_arguments(table, write)
    names = ("TableName", "Key", "ConditionExpression", "ExpressionAttributeNames")
    return {name: arguments[name] for name in names}


def _transact(writes: list[tuple[str, Write]]) -> set[int]:
    """Make all writes or none; return the positions of those whose conditions failed.

    A write that sets nothing only checks its condition.
    """
    try:
        _tables.transact_write_items(
            TransactItems=[
                {"Update": update_arguments(table, write)} if write.set else {"ConditionCheck": _check(table, write)}
                for table, write in writes
            ]
        )
    except _tables.exceptions.TransactionCanceledException as error:
        reasons = [reason.get("Code", "None") for reason in error.response["CancellationReasons"]]
        refused = {position for position, reason in enumerate(reasons) if reason == "ConditionalCheckFailed"}
        if not refused and _BUSY & set(reasons):
            raise StorageUnavailable(str(error)) from error
        if not refused:
            raise
        return refused
    return set()
