"""Reviews: an answer is kept and serves the waiting courier, once, whoever else answers and wherever it is killed."""

import hashlib
import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from access_keys import KEY
from scones.cli.render import render
from scones.data.labels import InvalidLabels, Purpose, disagreements, settled
from scones.deployment.reviews import AnswerNotDispatched, PhotoGone, UnknownPhoto
from scones.dispatch.order_book import Item, Write, open_order
from scones.dispatch.orders import Order, Place
from scones.domain.errors import SconesError
from scones.pipeline import Pipeline
from tiny_model import plain_photo

TOWNS = count(9000, 100)
"""Each test has a town of its own, out of reach of every other."""
UNSURE = 130
NOW = 30_000_000.0


class Waiting:
    """An unsure photo, its courier who waits for a review, and four open orders nearby."""

    def __init__(self, flow: Pipeline, *, courier: bool = True) -> None:
        self.flow, town = flow, float(next(TOWNS))
        self.body = plain_photo(UNSURE) + uuid.uuid4().bytes
        self.photo = hashlib.sha256(self.body).hexdigest()
        self.courier: dict[str, Any] = {"id": f"c-{uuid.uuid4().hex[:8]}", "x_km": town, "y_km": 0.0, "capacity": 2}
        self.orders = [
            Order(f"o-{uuid.uuid4().hex[:8]}", Place(town, n / 10), Place(town, n / 10 + 8), 10.0, NOW, NOW + 60)
            for n in range(4)
        ]
        flow.aws.tables.orders.put_all([open_order(order) for order in self.orders])
        self.key = flow.upload("photo.png", self.body).key
        self.send(courier=courier)

    def send(self, *, courier: bool = True) -> None:
        """Send the photo through the workflow."""
        event: dict[str, object] = {"image_data": "", "s3_bucket": self.flow.aws.bucket.name, "s3_key": self.key}
        who = {"courier": self.courier} if courier else {}
        arn = self.flow.aws.stack.find_output("WorkflowArn")
        ended = self.flow.aws.workflow.run(arn, uuid.uuid4().hex, event | who)
        assert ended.error == "THRESHOLD_CONFIDENCE_NOT_MET", ended

    def assigned(self) -> int:
        """How many of the orders the courier has."""
        found = [self.flow.aws.tables.orders.get({"order_id": order.id}) for order in self.orders]
        return sum(item is not None and item.get("courier_id") == self.courier["id"] for item in found)

    def vehicle(self) -> object:
        """The courier's vehicle."""
        return (self.flow.aws.tables.couriers.get({"courier_id": self.courier["id"]}) or {}).get("vehicle")

    def item(self) -> Item:
        """What the table of reviews holds."""
        found = self.flow.aws.tables.reviews.get({"photo_id": self.photo})
        assert found
        return found

    def labels(self) -> list[tuple[str, str]]:
        """Who said what, the oldest first."""
        return [(label.by, label.label) for label in self.flow.aws.tables.labels.of_photo(self.photo)]


def test_an_answer_serves_the_waiting_courier_at_once(flow: Pipeline) -> None:
    """One command from answer to order; the label says which model had answered what, and where the photo is kept."""
    waiting = Waiting(flow)
    found = flow.answer(waiting.photo, "motorcycle", "ann")
    assert (found.state, found.label, found.dispatch, len(found.orders)) == ("answered", "motorcycle", "done", 2)
    assert (waiting.assigned(), waiting.vehicle()) == (2, "motorcycle")
    assert f"courier {waiting.courier['id']}: done, 2 orders" in render(found)
    (label,), item = flow.aws.tables.labels.of_photo(waiting.photo), waiting.item()
    assert (label.model, label.predicted, label.confidence, label.event, label.purpose) == (
        *(item["model_version"], item["predicted"], item["confidence"], item["execution"]),
        Purpose.LEARN,
    )
    assert flow.aws.bucket.get(flow.aws.bucket.key(label.uri)) == waiting.body


def test_the_same_answer_again_changes_nothing(flow: Pipeline) -> None:
    """Neither a second label nor further orders, also if the photo was sent again meanwhile."""
    waiting = Waiting(flow)
    first = flow.answer(waiting.photo, "motorcycle", "ann")
    waiting.send()
    assert flow.answer(waiting.photo, "motorcycle", "ann") == first
    assert (waiting.labels(), waiting.assigned()) == ([("ann", "motorcycle")], 2)


def test_a_correction_changes_the_vehicle_and_gives_no_orders(flow: Pipeline) -> None:
    """Both labels are kept; withdrawn, the photo waits again, and the courier keeps the orders."""
    waiting = Waiting(flow)
    first = flow.answer(waiting.photo, "motorcycle", "ann")
    corrected = flow.answer(waiting.photo, "bicycle", "ann")
    assert (corrected.label, corrected.orders, waiting.vehicle()) == ("bicycle", first.orders, "bicycle")
    withdrawn = flow.withdraw(waiting.photo, "ann")
    assert (withdrawn.state, withdrawn.label, waiting.vehicle()) == ("open", "", "")
    assert flow.withdraw(waiting.photo, "ann") == withdrawn
    again = flow.answer(waiting.photo, "other", "ann")
    assert (again.state, again.label, waiting.vehicle()) == ("answered", "other", "")
    assert [label for _, label in waiting.labels()] == ["motorcycle", "bicycle", "", "other"]
    assert waiting.assigned() == 2


def test_no_vehicle_gives_no_orders_and_its_correction_does(flow: Pipeline) -> None:
    """A photo of something else; then the reviewer looks again."""
    waiting = Waiting(flow)
    assert flow.answer(waiting.photo, "other", "ann").orders == ()
    assert (waiting.assigned(), waiting.vehicle()) == (0, "")
    assert len(flow.answer(waiting.photo, "motorcycle", "ann").orders) == 2
    assert waiting.assigned() == 2


def test_two_reviewers_at_once_are_both_kept_and_the_courier_is_served_once(flow: Pipeline) -> None:
    """Who was first counts for the courier; the other's label is shown, and nothing is settled until they agree."""
    waiting = Waiting(flow)
    with ThreadPoolExecutor(4) as pool:
        said = {"ann": "motorcycle", "bob": "other", "eve": "motorcycle", "dan": "other"}
        found = list(pool.map(lambda by: flow.answer(waiting.photo, said[by], by), said))
    assert dict(waiting.labels()) == said
    item = waiting.item()
    assert (item["state"], item["label"]) == ("answered", said[str(item["by"])])
    assert waiting.assigned() == (0 if item["label"] == "other" else 2)
    assert {answer.label for answer in found} == {item["label"]}
    labels = flow.aws.tables.labels.of_photo(waiting.photo)
    assert disagreements(labels).keys() == {waiting.photo}
    for by in said:
        flow.answer(waiting.photo, "motorcycle", by)
    assert settled(flow.aws.tables.labels.of_photo(waiting.photo))[waiting.photo].label == "motorcycle"
    assert waiting.assigned() == 2


def test_who_withdraws_leaves_the_other_persons_answer(flow: Pipeline) -> None:
    """It then counts for the courier, too."""
    waiting = Waiting(flow)
    flow.answer(waiting.photo, "bicycle", "ann")
    second = flow.answer(waiting.photo, "motorcycle", "bob")
    assert (second.label, second.by, second.others) == ("bicycle", "ann", {"bob": "motorcycle"})
    assert "bob says motorcycle" in render(second)
    left = flow.withdraw(waiting.photo, "ann")
    assert (left.state, left.label, left.by, left.others) == ("answered", "motorcycle", "bob", {})
    assert waiting.vehicle() == "motorcycle"


def test_a_courier_who_sends_an_answered_photo_is_served_by_the_answer(flow: Pipeline) -> None:
    """The answer came first; the workflow needs no person any more."""
    waiting = Waiting(flow, courier=False)
    assert flow.answer(waiting.photo, "motorcycle", "ann").courier == ""
    waiting.send()
    assert (waiting.assigned(), waiting.vehicle()) == (2, "motorcycle")
    flow.answer(waiting.photo, "motorcycle", "ann")
    assert waiting.assigned() == 2


def test_reviews_are_listed_those_whose_courier_waits_first(flow: Pipeline) -> None:
    """The rest is counted, not read; a skipped one is not open, and may still be answered."""
    without, waiting = Waiting(flow, courier=False), Waiting(flow)
    found = flow.reviews(limit=1000)
    places = [item.photo_id for item in found.items]
    assert places.index(waiting.photo) < places.index(without.photo)
    assert found.open == len(places)
    assert found.couriers_waiting == sum(item.waits for item in found.items) >= 1
    few = flow.reviews(limit=1)
    assert (len(few.items), few.more, few.open) == (1, True, found.open)
    assert f"{found.open} photos to review" in render(few)
    flow.skip_review(without.photo)
    assert flow.reviews(limit=0).open == found.open - 1
    assert without.photo in [item.photo_id for item in flow.reviews("skipped", 1000).items]
    assert flow.answer(without.photo, "bicycle", "ann").state == "answered"
    with pytest.raises(InvalidLabels, match="is answered"):
        flow.skip_review(without.photo)


NAMES = ["", " ", "a\nb", "\x1b[2J", "x" * 129, "\u202eann"]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda flow, _: flow.answer("0" * 64, "bicycle", "ann"), UnknownPhoto),
        (lambda flow, _: flow.answer("", "bicycle", "ann"), UnknownPhoto),
        (lambda flow, _: flow.answer("../" * 40, "bicycle", "ann"), UnknownPhoto),
        (lambda flow, photo: flow.answer(photo.upper(), "bicycle", "ann"), UnknownPhoto),
        (lambda flow, _: flow.skip_review("x" * 5000), UnknownPhoto),
        (lambda flow, photo: flow.answer(photo, "tram", "ann"), InvalidLabels),
        (lambda flow, photo: flow.answer(photo, "", "ann"), InvalidLabels),
        (lambda flow, photo: flow.answer(photo, "<b>bicycle</b>", "ann"), InvalidLabels),
        (lambda flow, photo: flow.withdraw(photo, "bob"), InvalidLabels),
        *((lambda flow, photo, by=by: flow.answer(photo, "bicycle", by), InvalidLabels) for by in NAMES[1:]),
    ],
)
def test_an_answer_that_cannot_be_kept_is_one_clear_error(
    flow: Pipeline, act: Callable[[Pipeline, str], object], error: type[SconesError]
) -> None:
    """Nothing is written for it."""
    waiting = Waiting(flow, courier=False)
    with pytest.raises(error) as raised:
        act(flow, waiting.photo)
    assert len(str(raised.value)) < 400
    assert (waiting.labels(), waiting.item()["state"]) == ([], "open")


def test_names_with_markup_are_kept_as_they_are(flow: Pipeline) -> None:
    """Whoever shows them escapes them."""
    waiting = Waiting(flow, courier=False)
    by = '<img src=x onerror="alert(1)">'
    assert flow.answer(waiting.photo, "bicycle", by).by == by
    assert waiting.labels() == [(by, "bicycle")]


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_photo_that_is_gone_or_another_one_is_not_answered(flow: Pipeline, change: str) -> None:
    """What the label would be about cannot be seen any more; once labelled, it is kept."""
    waiting = Waiting(flow)
    if change == "deleted":
        flow.aws.bucket.remove([waiting.key])
    else:
        flow.aws.bucket.put(waiting.key, plain_photo(1))
    with pytest.raises(PhotoGone, match="scones review skip"):
        flow.answer(waiting.photo, "motorcycle", "ann")
    assert (waiting.labels(), waiting.assigned()) == ([], 0)
    flow.aws.bucket.put(waiting.key, waiting.body)
    flow.answer(waiting.photo, "motorcycle", "ann")
    flow.aws.bucket.remove([waiting.key])
    assert flow.answer(waiting.photo, "bicycle", "bob").others == {"bob": "bicycle"}


def test_an_answer_whose_dispatch_fails_is_kept_and_completed_by_the_same_command(flow: Pipeline) -> None:
    """The function fails, here because the courier has no place."""
    waiting = Waiting(flow)
    courier = waiting.item()["courier"]
    flow.aws.tables.reviews.write(Write({"photo_id": waiting.photo}, {"courier": {"id": waiting.courier["id"]}}))
    with pytest.raises(AnswerNotDispatched, match="the label is kept"):
        flow.answer(waiting.photo, "motorcycle", "ann")
    assert (waiting.labels(), waiting.assigned()) == ([("ann", "motorcycle")], 0)
    flow.aws.tables.reviews.write(Write({"photo_id": waiting.photo}, {"courier": courier}))
    assert flow.answer(waiting.photo, "motorcycle", "ann").dispatch == "done"
    assert (waiting.labels(), waiting.assigned()) == ([("ann", "motorcycle")], 2)


KILLED = """
import os, sys
from dataclasses import replace
from scones.aws.client import Client, Credentials
from scones.aws.connection import connect
from scones.config.settings import Settings
from scones.domain.progress import Silent
from scones.pipeline import Pipeline

env, url, region, key, secret, point, verb, *arguments = sys.argv[1:]
settings = replace(Settings(), env=env, endpoint_url=url, region=region)
flow = Pipeline(connect(settings, Credentials(key, secret)), settings, Silent())
left, opened = int(point), Client._open

def watched(client):
    boto = opened(client)
    boto.meta.events.register("after-call", count)
    return boto

def count(**_):
    global left
    left -= 1
    if left == 0:
        os._exit(9)

Client._open = watched
getattr(flow, verb)(*arguments)
"""


def killed(flow: Pipeline, point: int, verb: str, *arguments: str) -> bool:
    """Run a verb in a process that ends after its request number *point*; tell whether it came so far."""
    where = [flow.settings.env, str(flow.settings.endpoint_url), flow.settings.region, *KEY]
    script = [sys.executable, "-c", KILLED, *where, str(point), verb, *arguments]
    ended = subprocess.run(script, capture_output=True, check=False)
    assert ended.returncode in (0, 9), ended.stderr.decode()
    return ended.returncode == 9


@pytest.mark.slow
def test_an_answer_killed_at_any_request_is_completed_by_the_same_command(flow: Pipeline) -> None:
    """At more than ten points: one label, one dispatch, and a review that is answered, however often it was killed."""
    point = 1
    while True:
        waiting = Waiting(flow)
        if not killed(flow, point, "answer", waiting.photo, "motorcycle", "ann"):
            break
        found = flow.answer(waiting.photo, "motorcycle", "ann")
        assert (found.state, found.dispatch) == ("answered", "done"), point
        assert (waiting.labels(), waiting.assigned()) == ([("ann", "motorcycle")], 2), point
        point += 1
    assert point > 10
    assert waiting.assigned() == 2


def test_an_answer_killed_and_answered_by_another_serves_the_courier_once(flow: Pipeline) -> None:
    """Ann's process ends after her label is kept; Bob's answer then counts, and Ann's is not lost."""
    for point in (9, 12):
        waiting = Waiting(flow)
        assert killed(flow, point, "answer", waiting.photo, "bicycle", "ann")
        flow.answer(waiting.photo, "motorcycle", "bob")
        flow.answer(waiting.photo, "bicycle", "ann")
        assert sorted(waiting.labels()) == [("ann", "bicycle"), ("bob", "motorcycle")]
        item = waiting.item()
        assert item["dispatch"] == "done"
        # The trips are too long for a bicycle.
        assert waiting.assigned() == (2 if item["label"] == "motorcycle" else 0)


@pytest.mark.slow
def test_an_import_killed_at_many_points_neither_loses_nor_repeats_a_label(flow: Pipeline, tmp_path: Path) -> None:
    """The same file again and again: each person's label is kept once, and each courier served once."""
    people = [Waiting(flow), Waiting(flow)]
    (late,) = flow.classify_samples([flow.upload("late.png", plain_photo(222) + uuid.uuid4().bytes)]).executions
    table = tmp_path / "labels.csv"
    rows = [*((each.photo, "motorcycle") for each in people), (late.name, "bicycle")]
    table.write_text("photo,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    point, times = 1, 0
    while killed(flow, point, "import_labels", str(table), "ann"):
        point, times = point + 3, times + 1
        for each in people:
            assert len(each.labels()) <= 1, point
    assert times > 5
    assert flow.import_labels(table, "ann").photos == 3
    for each in people:
        assert (each.labels(), each.assigned(), each.item()["dispatch"]) == ([("ann", "motorcycle")], 2, "done")
    kept = [label for label in flow.aws.tables.labels.all() if label.event == late.name]
    assert [(label.by, label.label) for label in kept] == [("ann", "bicycle")]
