"""The dispatch function at the end of the real chain: once a photo, the newest sighting, no order twice."""

import base64
import hashlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from access_keys import KEYS
from conftest import deployed_tiny
from scones.aws.client import Client
from scones.aws.stepfunctions import ExecutionResult
from scones.deployment.template import state_machine
from scones.dispatch.order_book import Item, Write, open_order
from scones.dispatch.orders import Order, Place
from scones.domain.decision import EVENT_LIMIT_BYTES, INLINE_LIMIT_BYTES
from scones.domain.naming import batch_id, evaluation_id, probe_id, to_iso8601
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud
from tiny_model import plain_photo
from waiting import eventually

NOW = 30_000_000.0
TOWNS = count(100, 100)
"""Each test has a town of its own, out of reach of every other."""
SURE, UNSURE = 220, 130


@pytest.fixture(scope="module")
def flow(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """An environment whose orders no other module touches; its model has a guard."""
    with deployed_tiny(cloud, tmp_path_factory.mktemp("dispatch"), guarded=True) as own:
        yield own


@pytest.fixture
def town() -> float:
    """Kilometres east, where only this test's couriers and orders are."""
    return float(next(TOWNS))


def photo(level: int) -> bytes:
    """A photo that the model answers as a plain one, with bytes of its own."""
    return plain_photo(level) + uuid.uuid4().bytes


def courier(town: float, capacity: int = 2) -> dict[str, Any]:
    """A courier in the middle of the town."""
    return {"id": f"c-{uuid.uuid4().hex[:8]}", "x_km": town, "y_km": 0.0, "capacity": capacity}


def orders(flow: Pipeline, town: float, number: int) -> list[str]:
    """Put open orders in the table, all fit for a motorcycle."""
    made = [
        Order(f"o-{uuid.uuid4().hex[:8]}", Place(town, n / 10), Place(town, n / 10 + 8), 10.0, NOW, NOW + 60)
        for n in range(number)
    ]
    flow.aws.tables.orders.put_all([open_order(order) for order in made])
    return [order.id for order in made]


def send(flow: Pipeline, body: bytes, **event: object) -> ExecutionResult:
    """Send one photo through the workflow."""
    sample = flow.upload("photo.png", body)
    whole = {"image_data": "", "s3_bucket": flow.aws.bucket.name, "s3_key": sample.key, "inferences": [], **event}
    return flow.aws.workflow.run(flow.aws.stack.find_output("WorkflowArn"), uuid.uuid4().hex, whole)


def routed(flow: Pipeline, body: bytes, **event: object) -> dict[str, Any]:
    """Send one photo that must succeed, and give its output."""
    ended = send(flow, body, **event)
    assert ended.status == "SUCCEEDED", ended
    assert ended.output
    return ended.output


def sighting(flow: Pipeline, identity: str) -> Item:
    """What the table holds of a courier."""
    found = flow.aws.tables.couriers.get({"courier_id": identity})
    assert found
    return found


def review(flow: Pipeline, photo_id: str) -> Item:
    """What the table holds of a photo to review."""
    found = flow.aws.tables.reviews.get({"photo_id": photo_id})
    assert found
    return found


def status(flow: Pipeline, order: str) -> Item:
    """What the table holds of an order."""
    found = flow.aws.tables.orders.get({"order_id": order})
    assert found
    return found


def test_a_courier_is_registered_and_gets_the_orders_that_suit(flow: Pipeline, town: float) -> None:
    """Vehicle, place, what capacity is left, and when they were seen; each order says who has it, and the bay."""
    booked, who = orders(flow, town, 3), courier(town)
    output = routed(flow, photo(SURE), courier=who)
    assert (output["dispatch"], len(output["orders"])) == ("done", 2)
    assert set(output["orders"]) < set(booked)
    seen = sighting(flow, who["id"])
    assert (seen["vehicle"], seen["x_km"], seen["capacity"]) == ("motorcycle", town, 0)
    assert (seen["photo_id"], seen["seen_at"]) == (output["photo_id"], output["seen_at"])
    for order in output["orders"]:
        assert status(flow, order) | {"status": "assigned", "courier_id": who["id"], "bay": "B"} == status(flow, order)


def test_a_photo_without_a_courier_is_recorded_and_moves_nothing(flow: Pipeline, town: float) -> None:
    """Every decision is in the table with what it was made from."""
    booked = orders(flow, town, 1)
    output = routed(flow, photo(SURE))
    assert (output["dispatch"], output["orders"]) == ("none", [])
    (record,) = flow.aws.tables.decisions.query({"photo_id": output["photo_id"]})
    told = ("inferences", "label", "confidence", "threshold", "classes", "model_version", "s3_key", "seen_at")
    assert {name: record[name] for name in told} == {name: output[name] for name in told}
    assert (record["outcome"], record["dispatch"]) == ("classified", "none")
    assert status(flow, booked[0])["status"] == "open"


def test_a_photo_moves_orders_once_however_often_its_event_arrives(flow: Pipeline, town: float) -> None:
    """Four events at once and one later: one is dispatched, and all are told the same orders."""
    orders(flow, town, 6)
    body, who = photo(SURE), courier(town)
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda _: routed(flow, body, courier=who), range(4)))
    outputs.append(routed(flow, body, courier=who))
    assert sorted(output["dispatch"] for output in outputs) == ["done", *["duplicate"] * 4]
    assert len({tuple(output["orders"]) for output in outputs}) == 1
    taken = [item for item in flow.aws.tables.orders.scan() if item.get("courier_id") == who["id"]]
    assert sorted(str(item["order_id"]) for item in taken) == sorted(outputs[0]["orders"])
    records = list(flow.aws.tables.decisions.query({"photo_id": outputs[0]["photo_id"]}))
    assert len(records) == 5 + 1, "a decision an execution, and the mark"


@pytest.mark.slow
def test_a_hundred_duplicates_at_once_move_orders_once(flow: Pipeline, town: float) -> None:
    """Of a hundred events of one photo, sixteen at a time, one is dispatched, and each is told the same orders."""
    booked, body, who = orders(flow, town, 8), photo(SURE), courier(town, capacity=3)
    with ThreadPoolExecutor(16) as pool:
        outputs = list(pool.map(lambda _: routed(flow, body, courier=who), range(100)))
    assert Counter(output["dispatch"] for output in outputs) == {"done": 1, "duplicate": 99}
    (given,) = {tuple(output["orders"]) for output in outputs}
    assert len(given) == 3
    assert {order for order in booked if status(flow, order)["status"] == "assigned"} == set(given)
    assert sighting(flow, who["id"])["capacity"] == 0
    records = list(flow.aws.tables.decisions.query({"photo_id": outputs[0]["photo_id"]}))
    assert len(records) == 100 + 1, "a decision an execution, and the mark"


def test_a_dispatch_whose_answer_was_lost_gives_it_again(flow: Pipeline, town: float) -> None:
    """The state machine tries a function again that timed out after its work was done."""
    orders(flow, town, 2)
    output = routed(flow, photo(SURE), courier=courier(town))
    client = Client(flow.settings, "lambda", KEYS)
    kept = flow.aws.tables.decisions.query({"photo_id": output["photo_id"]})
    # Beside the decision lies the mark that the photo moved orders.
    record = next(item for item in kept if "started" in item)
    event = {"execution": record["execution"], "started": record["started"], "photo": output}
    reply = client.call("invoke", FunctionName=f"{flow.aws.name}-dispatch", Payload=json.dumps(event))
    assert json.loads(reply["Payload"].read()) == output


def test_no_order_goes_to_two_couriers(flow: Pipeline, town: float) -> None:
    """Four couriers reach at once for five orders that are all the same to them: each order is taken once."""
    booked = orders(flow, town, 5)
    crowd = [courier(town) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda who: routed(flow, photo(SURE), courier=who), crowd))
    given = [order for output in outputs for order in output["orders"]]
    assert sorted(given) == sorted(booked)
    for who, output in zip(crowd, outputs, strict=True):
        assert all(status(flow, order)["courier_id"] == who["id"] for order in output["orders"])


def test_an_event_that_comes_late_does_not_hide_a_newer_sighting(flow: Pipeline, town: float) -> None:
    """Photos of one courier in the wrong order: the newest one's place stays, and the older one moves nothing."""
    orders(flow, town, 4)
    who, now = courier(town, capacity=1), datetime.now(UTC)
    newer = routed(flow, photo(SURE), courier=who, seen_at=to_iso8601(now - timedelta(minutes=1)))
    older = routed(flow, photo(40), courier={**who, "x_km": town + 1}, seen_at=to_iso8601(now - timedelta(minutes=2)))
    assert (newer["dispatch"], older["dispatch"], older["orders"]) == ("done", "outdated", [])
    assert (sighting(flow, who["id"])["photo_id"], sighting(flow, who["id"])["x_km"]) == (newer["photo_id"], town)
    newest = routed(flow, photo(SURE), courier=who, seen_at=to_iso8601(now))
    assert newest["dispatch"] == "done"


def test_an_old_photo_moves_nothing(flow: Pipeline, town: float) -> None:
    """Where a courier was an hour ago says nothing of where they are; the decision is recorded all the same."""
    orders(flow, town, 1)
    who = courier(town)
    output = routed(flow, photo(SURE), courier=who, seen_at=to_iso8601(datetime.now(UTC) - timedelta(hours=1)))
    assert (output["dispatch"], output["orders"]) == ("too old", [])
    assert flow.aws.tables.couriers.get({"courier_id": who["id"]}) is None
    (record,) = flow.aws.tables.decisions.query({"photo_id": output["photo_id"]})
    assert record["dispatch"] == "too old"


def test_a_clock_that_runs_ahead_cannot_lock_a_courier_out(flow: Pipeline, town: float) -> None:
    """A photo from the future counts as taken now, so the next one is newer."""
    who = courier(town)
    first = routed(flow, photo(SURE), courier=who, seen_at=to_iso8601(datetime.now(UTC) + timedelta(days=9)))
    time.sleep(0.01)
    second = routed(flow, photo(SURE), courier=who, seen_at=to_iso8601(datetime.now(UTC)))
    assert (first["dispatch"], second["dispatch"]) == ("done", "done")


def test_an_unsure_photo_registers_its_courier_without_a_vehicle_and_goes_to_review(
    flow: Pipeline, town: float
) -> None:
    """`scones dispatch` may give them what suits both vehicles; a person finds the photo in the table."""
    booked, who = orders(flow, town, 1), courier(town)
    ended = send(flow, photo(UNSURE), courier=who)
    assert ended.error == "THRESHOLD_CONFIDENCE_NOT_MET"
    assert (sighting(flow, who["id"])["vehicle"], status(flow, booked[0])["status"]) == ("", "open")
    item = review(flow, str(sighting(flow, who["id"])["photo_id"]))
    (record,) = flow.aws.tables.decisions.query({"photo_id": item["photo_id"]})
    assert (record["outcome"], record["dispatch"]) == ("below_threshold", "registered")
    told = ("execution", "model_version", "confidence", "seen_at")
    assert {name: item[name] for name in told} == {name: record[name] for name in told}
    assert (item["state"], item["reason"], item["predicted"]) == ("open", "below_threshold", record["label"])
    assert (item["courier"], item["uri"]) == (who, f"s3://{record['s3_bucket']}/{record['s3_key']}")


def test_a_photo_like_none_that_the_model_knows_is_refused_by_name(flow: Pipeline, town: float) -> None:
    """The model is sure of it, and still nothing moves: its confidence means nothing there."""
    booked, who = orders(flow, town, 1), courier(town)
    ended = send(flow, photo(250), courier=who)
    assert ended.error == "UnfamiliarPhoto"
    told = json.loads(json.loads(ended.cause)["errorMessage"])
    assert (told["confidence"] > 0.99, told["unfamiliarity"]) == (True, 122)
    assert flow.aws.tables.couriers.get({"courier_id": who["id"]}) is None
    assert status(flow, booked[0])["status"] == "open"
    (record,) = [
        item for item in flow.aws.tables.decisions.scan() if item.get("unfamiliarity") == 122 and "outcome" in item
    ]
    assert (record["outcome"], record["dispatch"], record["inferences"]) == (
        "out_of_distribution",
        "none",
        told["inferences"],
    )
    item = review(flow, str(record["photo_id"]))
    assert (item["state"], item["reason"], item["courier"]) == ("open", "out_of_distribution", who)
    assert str(item["rank"]).startswith("0 "), "its courier waits for a person, too"


def test_a_refused_photo_is_recorded_with_the_reason(flow: Pipeline) -> None:
    """A file that is not an image, a truncated one and one that is too large are in the table, by name."""
    for body, words in (
        (b"a letter", "is not a PNG"),
        (photo(SURE)[:60], "truncated"),
        (bytes(7 << 20), "the limit is"),
    ):
        ended = send(flow, body + uuid.uuid4().bytes)
        assert ended.error == "UnreadablePhoto"
        told = json.loads(json.loads(ended.cause)["errorMessage"])
        assert words in told["reason"]
        (record,) = flow.aws.tables.decisions.query({"photo_id": told["photo_id"]})
        assert (record["outcome"], record["reason"]) == ("unreadable", told["reason"])


@pytest.mark.parametrize(
    "event",
    [
        {"s3_key": None},
        {"seen_at": "0001-01-01T00:00:00Z"},
        {"courier": {"id": "\ud800", "x_km": 0, "y_km": 0, "capacity": 1}},
        {"courier": {"id": "c", "x_km": 5e-324, "y_km": 0, "capacity": 1}},
        {"courier": {"id": "c", "x_km": "here", "y_km": 0, "capacity": 1}},
        {"courier": {"id": "c", "x_km": 0, "y_km": 0, "capacity": 1000}},
        {"seen_at": "yesterday"},
        {"note": "x" * 9000},
        {"image_data": "A" * 90_000},
    ],
)
def test_an_event_of_another_form_fails_by_name(flow: Pipeline, event: dict[str, object]) -> None:
    """Before the endpoint is asked, and with what is wrong."""
    ended = send(flow, photo(SURE), **event)
    assert (ended.status, ended.error) == ("FAILED", "BadEvent")


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "incoming/a.png"}}}]},
        {"image_data": 7},
        {"s3_bucket": "b", "s3_key": ["incoming/a.png"]},
        {"image_data": "aGVsbG8=", "inference_id": {}, "error": {"Error": "mine"}},
    ],
)
def test_a_malformed_event_fails_as_bad_event_at_the_first_try(flow: Pipeline, event: dict[str, object]) -> None:
    """No KeyError of a function, and no retry: the event stays as it is."""
    ended = flow.aws.workflow.run(flow.aws.stack.find_output("WorkflowArn"), uuid.uuid4().hex, event)
    assert (ended.status, ended.error) == ("FAILED", "BadEvent")
    retried = {name for each in _states()["SerializeImage"]["Retry"] for name in each["ErrorEquals"]}
    assert retried.isdisjoint({"BadEvent", "States.ALL", "States.TaskFailed"})


def _states() -> dict[str, Any]:
    states: dict[str, Any] = state_machine("classify.asl.json")["States"]  # type: ignore[assignment]
    return states


def test_a_refusal_is_recorded_whatever_else_its_event_says(flow: Pipeline) -> None:
    """Fields that the workflow sets itself, and numbers that no table holds, come from the event of no photo."""
    noise = {"label": 5e-324, "inferences": [1e300], "confidence": "sure", "error": 7, "photo_id": "mine", "orders": {}}
    ended = send(flow, b"a letter" + uuid.uuid4().bytes, **noise)
    assert ended.error == "UnreadablePhoto"
    told = json.loads(json.loads(ended.cause)["errorMessage"])
    (record,) = flow.aws.tables.decisions.query({"photo_id": told["photo_id"]})
    assert (record["outcome"], record["reason"], "label" in record) == ("unreadable", told["reason"], False)


@pytest.mark.parametrize("named", [evaluation_id("load"), probe_id("0" * 64), batch_id("0" * 32)])
@pytest.mark.parametrize("level", [SURE, UNSURE, 250])
def test_internal_traffic_leaves_no_trace(flow: Pipeline, town: float, named: str, level: int) -> None:
    """No decision, no courier, no order and no photo to review, however the model answers."""
    (order,), who, body = orders(flow, town, 1), courier(town), photo(level)
    send(flow, body, courier=who, inference_id=named)
    assert list(flow.aws.tables.decisions.query({"photo_id": hashlib.sha256(body).hexdigest()})) == []
    assert flow.aws.tables.couriers.get({"courier_id": who["id"]}) is None
    assert status(flow, order)["status"] == "open"
    assert flow.aws.tables.reviews.get({"photo_id": hashlib.sha256(body).hexdigest()}) is None


def test_a_photo_is_reviewed_once_however_often_it_is_sent(flow: Pipeline) -> None:
    """Eight executions at once, then with two couriers: all are refused, and one item holds the newest courier."""
    body, one, other = photo(UNSURE), courier(1.0), courier(1.0)
    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda _: send(flow, body), range(8)))
    item = review(flow, hashlib.sha256(body).hexdigest())
    assert (item["courier"], str(item["rank"])[0]) == ({}, "2")
    ended += [send(flow, body, courier=one)]
    first = review(flow, hashlib.sha256(body).hexdigest())
    ended += [send(flow, body, courier=other), send(flow, body)]
    assert {each.error for each in ended} == {"THRESHOLD_CONFIDENCE_NOT_MET"}
    last = review(flow, hashlib.sha256(body).hexdigest())
    assert (first["courier"], last["courier"]) == (one, other)
    assert last["since"] == first["since"] == item["since"]
    places = [str(each["rank"]) for each in (last, first, item)]
    assert places[0] == places[1] < places[2], "whose courier waits comes first, and keeps the place"
    records = flow.aws.tables.decisions.query({"photo_id": hashlib.sha256(body).hexdigest()})
    assert sum("outcome" in record for record in records) == 11


def test_an_older_event_does_not_replace_a_newer_courier_in_review(flow: Pipeline) -> None:
    """Two couriers sent the same photo, and the events come in the wrong order."""
    body, now, (older, newer) = photo(UNSURE), datetime.now(UTC), (courier(1.0), courier(1.0))
    for who, minutes in ((newer, 1), (older, 2)):
        send(flow, body, courier=who, seen_at=to_iso8601(now - timedelta(minutes=minutes)))
    assert review(flow, hashlib.sha256(body).hexdigest())["courier"] == newer


def test_a_photo_that_came_inline_is_kept_with_its_event(flow: Pipeline) -> None:
    """S3 does not have it, so the item does, as it came."""
    body = photo(UNSURE)
    event = {"image_data": base64.b64encode(body).decode(), "s3_bucket": "", "s3_key": ""}
    send(flow, body, **event)
    item = review(flow, hashlib.sha256(body).hexdigest())
    assert (item["uri"], json.loads(str(item["event"]))["image_data"]) == ("", event["image_data"])


def answer(flow: Pipeline, item: Item, label: str) -> dict[str, Any]:
    """Dispatch the courier of a reviewed photo by a person's label."""
    client = Client(flow.settings, "lambda", KEYS)
    photo = {name: item[name] for name in ("photo_id", "seen_at", "courier")}
    event = {"execution": item["execution"], "photo": photo, "answer": label}
    reply = client.call("invoke", FunctionName=f"{flow.aws.name}-dispatch", Payload=json.dumps(event))
    found: dict[str, Any] = json.loads(reply["Payload"].read())
    return found


@pytest.mark.parametrize("level", [UNSURE, 250])
def test_a_persons_label_dispatches_the_courier_once(flow: Pipeline, town: float, level: int) -> None:
    """However often, and with whatever label then: the orders are the same ones, and the decision keeps the model's."""
    booked, who, body = orders(flow, town, 4), courier(town), photo(level)
    send(flow, body, courier=who)
    item = review(flow, hashlib.sha256(body).hexdigest())
    first, *others = [answer(flow, item, label) for label in ("motorcycle", "motorcycle", "bicycle", "other")]
    assert (first["dispatch"], len(first["orders"])) == ("done", 2)
    assert others == [first, first, {"dispatch": "none", "orders": []}]
    assert [status(flow, order)["status"] for order in booked].count("assigned") == 2
    assert sighting(flow, who["id"])["vehicle"] == "motorcycle"
    record = next(item for item in flow.aws.tables.decisions.query({"photo_id": item["photo_id"]}) if "outcome" in item)
    assert (record["answer"], record["dispatch"], record["orders"]) == ("motorcycle", "done", first["orders"])
    assert record["outcome"] != "classified"


def test_an_answered_photo_that_is_sent_again_is_dispatched_by_the_answer(flow: Pipeline, town: float) -> None:
    """It was answered before its courier was known; the execution is still refused, as its client expects."""
    booked, who, body = orders(flow, town, 4), courier(town), photo(UNSURE)
    send(flow, body)
    key = {"photo_id": hashlib.sha256(body).hexdigest()}
    flow.aws.tables.reviews.write(Write(key, {"state": "answered", "label": "motorcycle"}))
    ended = [send(flow, body, courier=who) for _ in range(2)]
    assert [each.error for each in ended] == ["THRESHOLD_CONFIDENCE_NOT_MET"] * 2
    assert [status(flow, order)["status"] for order in booked].count("assigned") == 2
    assert sighting(flow, who["id"])["vehicle"] == "motorcycle"


def test_the_largest_event_passes(flow: Pipeline, town: float) -> None:
    """A photo of as many bytes as may travel, and as many beside it, stay within every state's limit."""
    body = photo(SURE).ljust(INLINE_LIMIT_BYTES, b"x")
    output = routed(flow, body, note="x" * (EVENT_LIMIT_BYTES - 400), courier=courier(town))
    assert (output["dispatch"], output["image_data"]) == ("done", "")


def test_uploads_that_are_no_photos_by_their_names_change_nothing(flow: Pipeline) -> None:
    """Folder markers and hidden files are neither refused nor notified; the photo beside them is decided."""
    body, town = photo(SURE), uuid.uuid4().hex
    for name in ("", "._x.jpg", ".DS_Store", "more/", "more/._x.jpg", ".hidden/x.jpg", "Thumbs.db"):
        content = b"" if name.endswith("/") or not name else uuid.uuid4().bytes
        flow.aws.bucket.put(f"incoming/{town}/{name}", content)
    flow.aws.bucket.put(f"incoming/{town}/more/x._jpg", body)
    decided = {"photo_id": hashlib.sha256(body).hexdigest()}
    assert eventually(lambda: bool(list(flow.aws.tables.decisions.query(decided))))
    keys = [str(item["s3_key"]) for item in flow.aws.tables.decisions.scan() if town in str(item.get("s3_key"))]
    assert keys == [f"incoming/{town}/more/x._jpg"]


def test_an_upload_goes_through_by_itself_and_once(flow: Pipeline, town: float) -> None:
    """A photo put below incoming/, its courier in the metadata, is dispatched; put there again, it moves nothing."""
    booked, who, body = orders(flow, town, 4), courier(town), photo(SURE)
    metadata = {"courier": json.dumps(who)}
    for name in ('a "quoted" name.png', "again.png", "again.png"):
        key = f"incoming/{name}"
        flow.aws.bucket._client.call("put_object", Bucket=flow.aws.bucket.name, Key=key, Body=body, Metadata=metadata)
    deadline = time.monotonic() + 60
    records: list[Item] = []
    while len(records) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
        records = [item for item in flow.aws.tables.decisions.scan() if item.get("courier_id") == who["id"]]
    assert sorted(str(record["dispatch"]) for record in records) == ["done", "duplicate", "duplicate"]
    assert {str(record["s3_key"]) for record in records} == {'incoming/a "quoted" name.png', "incoming/again.png"}
    assert [status(flow, order)["status"] for order in booked].count("assigned") == 2
