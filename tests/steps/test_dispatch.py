"""Orders and couriers are in the tables, and no order is ever given twice."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from scones.aws.client import AwsError
from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.data.sources.synthetic import render
from scones.dispatch.order_book import open_order, register_courier
from scones.dispatch.orders import Courier, MissingRules, Order, Place
from scones.domain.decision import Outcome
from scones.domain.naming import from_minutes
from scones.domain.progress import Silent
from scones.pipeline import ORDERS, Pipeline
from scones.steps.simulate import Stream
from tiny_model import plain_photo

LONG_AGO, NOW = 0.0, 10**8
"""Minutes since 1970: the start of it all, and some way off yet, so that no courier is ever too old."""


class Telling(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        """Remember."""
        self.lines.append(line)


def order(identity: str, trip_km: float = 1) -> Order:
    """An order in the centre."""
    return Order(identity, Place(0, 0), Place(trip_km, 0), 10, NOW, NOW + 60)


def register(flow: Pipeline, identity: str, vehicle: str = "bicycle", capacity: int = 2, minute: float = NOW) -> None:
    """Put a courier in the centre on the map."""
    courier = Courier(identity, vehicle, 0.99, 0, 0, capacity)
    flow.aws.tables.couriers.write(register_courier(courier, identity, from_minutes(minute)))


def owners(flow: Pipeline) -> dict[str, object]:
    """Who has which order, as the table says."""
    return {str(item["order_id"]): item.get("courier_id") for item in flow.aws.tables.orders.scan()}


def test_the_couriers_just_seen_get_the_orders_and_the_plan_is_kept(own_flow: Pipeline) -> None:
    """Every order is in the plan once, assigned or not; sure bicycles ride shorter trips than sure motorcycles."""
    flow = own_flow
    samples = [flow.upload(f"{level}.png", plain_photo(level)) for level in (20, 30, 40, 50, 200, 210, 220, 230, 128)]
    flow._save("classify", flow.classify_samples(samples))
    dispatched = flow.dispatch(example=ORDERS)
    plan = dispatched.plan
    orders = [item.order.id for item in plan.assignments] + [item.order.id for item in plan.unassigned]
    assert sorted(orders) == sorted(order.id for order in dispatched.orders)
    assert len(orders) == ORDERS
    unsure = {courier.id for courier in dispatched.couriers if not courier.vehicle}
    assert unsure == {courier.id for courier in dispatched.couriers if courier.confidence < flow.settings.threshold}
    assert len(unsure) == 1
    assert {item.courier.id for item in plan.assignments if not item.sure} <= unsure
    trips = {total.vehicle: total.mean_trip_km for total in plan.totals()}
    assert trips["bicycle"] < trips["motorcycle"]
    kept = json.loads(flow.aws.bucket.get(flow.aws.bucket.key(dispatched.uri)))
    assert len(kept["assignments"]) == len(plan.assignments)
    given = {item.order.id: item.courier.id for item in plan.assignments}
    assert {name: owner for name, owner in owners(flow).items() if owner} == given
    again = flow.dispatch()
    assert not set(given) & {item.order.id for item in again.plan.assignments}, "run twice, it gives nothing twice"


def test_nothing_to_do_is_no_error(own_flow: Pipeline) -> None:
    """Without orders, and without couriers, the plan is empty or says why."""
    assert own_flow.dispatch().plan.assignments == ()
    own_flow.aws.tables.orders.put_all([open_order(order("o"))])
    (left,) = own_flow.dispatch().plan.unassigned
    assert "no courier" in left.reason


def test_a_courier_seen_long_ago_is_not_sent(own_flow: Pipeline) -> None:
    """Half an hour later they are somewhere else."""
    register(own_flow, "gone", minute=LONG_AGO)
    own_flow.aws.tables.orders.put_all([open_order(order("o"))])
    assert own_flow.dispatch().couriers == ()


def test_two_dispatchers_at_once_give_each_order_once(own_flow: Pipeline) -> None:
    """Both plan the same orders for the same couriers, and the tables take each but once."""
    flow = own_flow
    for number in range(4):
        register(flow, f"c{number}", capacity=3)
    flow.aws.tables.orders.put_all([open_order(order(f"o{number:02}", 0.5 + number / 10)) for number in range(16)])
    with ThreadPoolExecutor(3) as pool:
        plans = [part.plan for part in pool.map(lambda _: flow.dispatch(), range(3))]
    given = [item.order.id for plan in plans for item in plan.assignments]
    assert len(given) == len(set(given)) == 12
    assert {name for name, owner in owners(flow).items() if owner} == set(given)
    assert [item["capacity"] for item in flow.aws.tables.couriers.scan()] == [0] * 4


def test_the_rules_and_the_threshold_are_those_of_the_workflow(own_flow: Pipeline) -> None:
    """A command run elsewhere, with other settings, dispatches as the workflow does."""
    register(own_flow, "b")
    own_flow.aws.tables.orders.put_all([open_order(order("o", 4))])
    other = replace(own_flow.settings, threshold=0.999, dispatch={"bicycle": {"max_trip_km": 1}})
    (given,) = replace(own_flow, settings=other).dispatch().plan.assignments
    assert (given.courier.id, given.sure, given.bay) == ("b", True, "A")


def drawn_robot(number: int) -> Image.Image:
    """A picture of a delivery robot: a white box on three wheels in the street."""
    rng = np.random.default_rng(number)
    scene = Image.fromarray(rng.integers(40, 200, (4, 4, 3), dtype=np.uint8))
    photo = scene.resize((64, 64), Image.Resampling.BICUBIC)
    left, top, width = rng.integers((4, 4, 28), (20, 24, 40)).tolist()
    pen = ImageDraw.Draw(photo)
    pen.rectangle((left, top, left + width, top + 24), fill=(245, 245, 245), outline=(20, 20, 20))
    for wheel in range(3):
        pen.ellipse((left + wheel * width // 3, top + 22, left + wheel * width // 3 + 10, top + 32), fill=(15, 15, 15))
    return photo


@pytest.mark.slow
def test_any_number_of_classes_from_photos_to_orders_on_the_right_couriers(
    aws: Aws, settings: Settings, tmp_path: Path
) -> None:
    """Three classes; the third has no rules at first, and is refused by its name wherever couriers are dispatched."""
    classes = ("bicycle", "motorcycle", "delivery robot")
    for name in classes:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(40):
            photo = drawn_robot(number) if name == classes[2] else render(name, "train", number)
            photo.save(tmp_path / "photos" / name / f"{number}.png")
    given = replace(settings, data=str(tmp_path / "photos"), classes=classes, image_size=64, threshold=0.5)
    said = Telling()
    flow = Pipeline(aws, given, said)
    flow.stage()
    flow.train()
    flow.up()
    assert "class 'delivery robot' has no dispatch rules" in "\n".join(said.lines)
    flow.approve(reason="for the test")
    flow.deploy()
    for refused in (flow.dispatch, lambda: flow.simulate(Stream(events=1))):
        with pytest.raises(MissingRules, match=r"'delivery robot'.*\[dispatch.\"delivery robot\"\]"):
            refused()
    robots = [sample for sample in flow.test_samples() if sample.label == classes[2]]
    assert sent(flow, robots[0].key, "refused")["dispatch"] == "no rules"
    rules = {"max_trip_km": 1.5, "max_approach_km": 1, "max_litres": 100, "km_per_hour": 6, "bay": "R"}
    flow = replace(flow, settings=replace(given, dispatch={"Delivery-Robot": rules, "bicycle": {"min_trip_km": 2}}))
    flow.up()
    trips = {"delivery robot": order("short", 1), "bicycle": order("middle", 4), "motorcycle": order("long", 15)}
    flow.aws.tables.orders.put_all([open_order(each) for each in trips.values()])
    bays = {"delivery robot": "R", "bicycle": "A", "motorcycle": "B"}
    found = flow.classify_samples(flow.test_samples()).executions
    for name in classes:
        key = next(item.key for item in found if item.outcome is Outcome.CLASSIFIED and item.label == name)
        assert sent(flow, key, name)["orders"] == [trips[name].id]
    given_to = {str(item["order_id"]): (item["courier_id"], item["bay"]) for item in flow.aws.tables.orders.scan()}
    assert given_to == {trips[name].id: (name, bays[name]) for name in classes}
    register(flow, "robot", "delivery robot")
    flow.aws.tables.orders.put_all([open_order(order("next", 1.2)), open_order(order("none", 21))])
    plan = flow.dispatch().plan
    assert [(item.order.id, item.courier.id, item.bay) for item in plan.assignments] == [("next", "robot", "R")]
    assert [item.reason for item in plan.unassigned] == ["the rules of no class allow 21.0 km with 10 litres"]


def sent(flow: Pipeline, key: str, courier: str) -> dict[str, Any]:
    """What the workflow returns for a photo of a courier in the centre."""
    who = {"id": courier, "x_km": 0.0, "y_km": 0.0, "capacity": 1}
    event = {"image_data": "", "s3_bucket": flow.aws.bucket.name, "s3_key": key, "courier": who}
    ended = flow.aws.workflow.run(flow.aws.stack.find_output("WorkflowArn"), uuid.uuid4().hex, event)
    assert ended.output, ended
    return ended.output


def test_a_missing_table_is_named(own_flow: Pipeline) -> None:
    """What AWS says is passed on, and nothing is half done."""
    own_flow.aws.tables.orders.delete()
    with pytest.raises(AwsError, match="ResourceNotFoundException"):
        own_flow.dispatch()
