"""The wrapper of DynamoDB, against the tables of a stack on the local cloud."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from scones.aws.client import AwsError
from scones.aws.dynamodb import Tables
from scones.data.labels import Label, LabelOrigin, Purpose
from scones.dispatch.order_book import Value, Write
from scones.pipeline import Pipeline


@pytest.fixture
def tables(flow: Pipeline) -> Tables:
    """The tables of the shared environment."""
    return flow.aws.tables


def fresh(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def test_the_stack_names_the_tables_that_the_wrapper_opens(flow: Pipeline) -> None:
    """`up` and the connection agree on every name."""
    up = flow.up()
    found = [table.name for table in flow.aws.tables.all()]
    assert found == [up.couriers_table, up.decisions_table, up.labels_table, up.orders_table, up.reviews_table]
    assert all(table.exists() for table in flow.aws.tables.all())


def test_an_item_is_made_once_however_many_write_it(tables: Tables) -> None:
    """Of sixteen writers who each say "only if it is not there", one is told that it wrote."""
    key, condition = {"courier_id": fresh("c")}, "attribute_not_exists(#courier_id)"

    def write(number: int) -> bool:
        return tables.couriers.write(Write(key, {"capacity": number}, condition))

    with ThreadPoolExecutor(16) as pool:
        wrote = list(pool.map(write, range(16)))
    assert wrote.count(True) == 1
    assert tables.couriers.get(key) == {**key, "capacity": wrote.index(True)}


def test_a_transaction_happens_whole_or_not_at_all(tables: Tables) -> None:
    """One condition of two fails: neither item changes, and the position of the refusal is told."""
    order, courier = {"order_id": fresh("o")}, {"courier_id": fresh("c")}
    tables.orders.put_all([{**order, "status": "assigned"}])
    take = Write(order, {"status": "assigned"}, "#status = :open", {":open": "open"})
    writes = [(tables.couriers, Write(courier, {"capacity": 1})), (tables.orders, take)]
    assert tables.transact(writes) == (1,)
    assert tables.couriers.get(courier) is None
    tables.orders.put_all([{**order, "status": "open"}])
    assert tables.transact(writes) == ()
    assert tables.orders.get(order) == {**order, "status": "assigned"}
    assert tables.couriers.get(courier) == {**courier, "capacity": 1}


def test_an_order_is_taken_by_one_of_many_transactions(tables: Tables) -> None:
    """Eight couriers reach for the same order at once; one has it."""
    order = {"order_id": fresh("o")}
    tables.orders.put_all([{**order, "status": "open"}])

    def take(number: int) -> bool:
        claim = {"status": "assigned", "courier_id": f"c{number}"}
        write = Write(order, claim, "#status = :open", {":open": "open"})
        return not tables.transact([(tables.orders, write)])

    with ThreadPoolExecutor(8) as pool:
        took = list(pool.map(take, range(8)))
    assert took.count(True) == 1
    found = tables.orders.get(order)
    assert found
    assert found["courier_id"] == f"c{took.index(True)}"


def test_a_label_is_added_once_and_none_is_overwritten(tables: Tables) -> None:
    """The same person at the same time said one thing; all of a photo's labels come back whole, the oldest first."""
    photo = fresh("p")
    first = Label(photo, "bicycle", "ann", "2026-11-30T07:00:00.000000Z", purpose=Purpose.MEASURE, confidence=0.1 + 0.2)
    later = Label(photo, "", "ann", "2026-11-30T08:00:00.000000Z", LabelOrigin.LATE, model="m", chance=0.25)
    other = Label(photo, "other", "bob", "2026-11-30T07:30:00.000000Z")
    assert [tables.labels.add(label) for label in (later, first, other, replace(first, label="other"))] == [
        *(True, True, True),
        False,
    ]
    assert tables.labels.of_photo(photo) == (first, other, later)
    assert [label for label in tables.labels.all() if label.photo == photo] == [first, other, later]


def test_reviews_come_by_state_in_the_order_of_their_rank(tables: Tables) -> None:
    """Page by page, and they are counted without being read."""
    state = fresh("state")
    tables.reviews.put_all(
        [{"photo_id": fresh("p"), "state": state, "rank": f"{rank:03d}"} for rank in range(40, 0, -1)]
    )
    found = tables.reviews.query({"state": state}, "by_state")
    assert [next(found)["rank"] for _ in range(3)] == ["001", "002", "003"]
    assert tables.reviews.count({"state": state}, "by_state") == 40


def test_open_orders_are_found_by_their_status(tables: Tables) -> None:
    """The index follows the items, over more than one batch; a scan gives them all."""
    mark = fresh("o")
    orders: list[dict[str, Value]] = [
        {"order_id": f"{mark}-{number:03d}", "status": mark if number % 3 else "assigned", "size": number / 7}
        for number in range(60)
    ]
    tables.orders.put_all(orders)
    found = list(tables.orders.query({"status": mark}, "by_status"))
    assert found == [order for order in orders if order["status"] == mark]
    scanned = [item for item in tables.orders.scan() if mark in str(item["order_id"])]
    assert sorted(scanned, key=lambda item: str(item["order_id"])) == orders


def test_a_transaction_that_names_no_table_is_an_error_of_its_own(flow: Pipeline) -> None:
    """What is not a failed condition is raised, in AWS's words."""
    absent = Tables(flow.aws.tables._client, "scones-nowhere")
    with pytest.raises(AwsError, match="ResourceNotFoundException"):
        absent.transact([(absent.orders, Write({"order_id": "o"}, {"status": "open"}))])
    assert not any(table.exists() for table in absent.all())
