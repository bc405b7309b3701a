"""The console's pages where the environment is missing, changed, or does not answer: each says so, and what to do."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from access_keys import KEYS
from console.consoles import Visitor, console_of, serving
from scones.aws.client import Credentials
from scones.aws.connection import connect
from scones.cli.render import render
from scones.console.app import PAGES, Console, isolate, when
from scones.console.jobs import Jobs
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.show import show_orders
from scones_local.cloud import Cloud

PARTS = ("/overview/health", "/overview/traffic", "/overview/cost", "/resources/list", "/orders/why?order=x")
OTHERS = (
    "/decision?execution=x",
    "/photo?execution=x",
    "/explain?execution=x",
    "/models/compare?one=1&other=2",
    "/staged?key=data/v/train/x.png",
    "/review?of=training",
    "/review/queue?of=training",
    "/data?version=x",
)


def opened(flow: Pipeline, **changes: object) -> Pipeline:
    """The environment of *flow* with other settings."""
    settings = replace(flow.settings, **changes)  # type: ignore[arg-type]
    return Pipeline(connect(settings, KEYS), settings, Silent())


@pytest.mark.parametrize("path", [*(address for address, _, _ in PAGES), *PARTS, *OTHERS])
def test_an_environment_that_does_not_exist_has_pages_that_say_so(flow: Pipeline, path: str) -> None:
    """As one that was deleted in another terminal: no page fails, and none is empty."""
    with serving(console_of(opened(flow, env="deleted"))) as server:
        visitor = Visitor(server)
        visitor.sign_in()
        reply = visitor.get(path)
        assert reply.status in (200, 404, 409)
        assert "defect" not in reply.text
        assert len(reply.text) > 100


def test_a_cloud_that_is_started_again_is_found_without_a_new_console(flow: Pipeline, cloud: Cloud) -> None:
    """It then has another port and other keys; until then each page says that it does not answer."""
    places = iter(["http://127.0.0.1:9", cloud.endpoint_url])
    with serving(Console(lambda: opened(flow, endpoint_url=next(places)), render, flow.settings.env)) as server:
        visitor = Visitor(server)
        visitor.sign_in()
        lost = visitor.get("/models")
        assert (lost.status, "does not answer" in lost.text) == (503, True)
        assert "Model 1" in visitor.get("/models").text


def test_credentials_that_expired_are_asked_for_again(flow: Pipeline) -> None:
    """The page names what AWS said; renewed ones are used by the next request."""
    keys = [Credentials("AKIAEXPIRED", "x"), KEYS]

    def connected() -> Pipeline:
        return Pipeline(connect(flow.settings, keys.pop(0)), flow.settings, Silent())

    with serving(Console(connected, render, flow.settings.env)) as server:
        visitor = Visitor(server)
        visitor.sign_in()
        refused = visitor.get("/models")
        assert (refused.status, "renew them" in refused.text) == (503, True)
        assert visitor.get("/models").status == 200


@pytest.mark.parametrize(
    "query",
    [
        "outcome=nonsense",
        "low=x",
        "high=200",
        "low=nan",
        "day=never",
        "after=zzz",
        "after=e30=",
        "class=%F0%9F%9A%B2",
        "q=%00",
    ],
)
def test_a_changed_address_is_refused_in_words(flow: Pipeline, query: str) -> None:
    """Filters are in the address, which anyone may edit."""
    with serving(console_of(flow)) as server:
        visitor = Visitor(server)
        visitor.sign_in()
        reply = visitor.get(f"/decisions?{query}")
        assert reply.status in (200, 400, 409)
        assert "defect" not in reply.text


def test_an_order_and_a_courier_that_cannot_be_read_are_left_out(flow: Pipeline) -> None:
    """Others may write to the tables, too; the page says that these are not all orders."""
    own = opened(flow, env=flow.settings.env)
    own.aws.tables.orders.put_all([{"order_id": "damaged", "status": "assigned", "ready_at": "2026-11-30T00:00:00Z"}])
    own.aws.tables.couriers.put_all([{"courier_id": "damaged"}])
    book = show_orders(own.aws)
    assert "damaged" not in [courier.id for courier in book.couriers]
    assert not book.complete
    assert "damaged" not in [order.id for order, _, _ in book.assigned]
    with serving(console_of(own)) as server:
        visitor = Visitor(server)
        visitor.sign_in()
        assert visitor.get("/orders").status == 200
    for table, key in ((own.aws.tables.orders, "order_id"), (own.aws.tables.couriers, "courier_id")):
        own.aws.client("dynamodb").call("delete_item", TableName=table.name, Key={key: {"S": "damaged"}})


_NONSENSE = ("nan", "-inf", "-1", "1e400", "9" * 400, "0", "x\x00", "\u202e%", "../../etc/passwd")
_DAYS = (
    *_NONSENSE,
    *(
        "0001-01-01",
        "0001-01-02",
        "9999-12-31",
        "10000-01-01",
        "-0001-01-01",
        "2026-02-30",
        "0001-01-01T00:00:00+14:00",
    ),
)
_QUERIES = {
    "/decisions": ("q", "outcome", "class", "model", "courier", "low", "high", "day", "after"),
    "/decisions/export": ("outcome", "low", "high", "day"),
    "/decision": ("execution", "photo"),
    "/explain": ("execution", "photo"),
    "/photo": ("execution", "photo", "size"),
    "/staged": ("key", "size"),
    "/models/compare": ("one", "other"),
    "/data": ("version",),
    "/orders": ("order",),
    "/orders/why": ("order",),
    "/report": ("key",),
    "/review/queue": ("of", "state"),
    "/review/photo": ("photo",),
    "/confirm/rejudge": ("threshold", "number"),
    "/confirm/rollback": ("number", "now"),
    "/confirm/deploy": ("number",),
    "/confirm/approve": ("number", "reason", "verdict"),
}


@pytest.fixture(scope="module")
def signed_in(flow: Pipeline) -> Iterator[Visitor]:
    """One session for many addresses."""
    with serving(console_of(flow)) as server:
        visitor = Visitor(server)
        visitor.sign_in()
        yield visitor


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in _QUERIES.items() for name in names])
def test_no_value_in_an_address_is_a_defect(signed_in: Visitor, path: str, name: str) -> None:
    """Also of the part that is loaded into a page."""
    for value in _DAYS if name == "day" else _NONSENSE:
        known = {"one": "1", "other": "1", "key": "data/x", name: value}
        reply = signed_in.send("GET", f"{path}?{urlencode(known)}", headers={"HX-Request": "true"})
        assert reply.status < 500, (value, reply.text)
        assert "defect" not in reply.text, value


def test_bounds_in_the_wrong_order_are_said(signed_in: Visitor) -> None:
    """In place of a list that nothing matches."""
    for path in ("/decisions", "/decisions/export"):
        reply = signed_in.get(f"{path}?low=50&high=40")
        assert (reply.status, "No confidence is from 50% to 40%" in reply.text) == (400, True)


def test_names_lose_what_turns_or_hides_text() -> None:
    """Markup is text, and direction marks are written out."""
    assert str(isolate("<b>\u202egnp.exe\x00")) == '<bdi translate="no">&lt;b&gt;\\u202egnp.exe\\x00</bdi>'
    assert "UTC" in when("2026-11-30T07:00:00Z")
    assert "not a time" in when("not a time")


def test_a_second_click_joins_the_running_job() -> None:
    """Of each kind one runs at a time; the next may start when it has ended."""
    jobs = Jobs(str)
    first = jobs.start("deploy", "Deploy", lambda _: jobs.stopping.wait(20))
    assert jobs.start("deploy", "Deploy", lambda _: None) is first
    jobs.stopping.set()
    assert first.ended.wait(20)
    assert jobs.start("deploy", "Deploy", lambda _: None) is not first
