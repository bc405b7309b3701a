"""SerializeImage refuses by name what a later state could not handle, and reads base64 in any usual form."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scones.data.image_header import UnreadablePhoto
from scones.dispatch.order_book import serialize
from scones.domain.naming import from_iso8601
from scones.lambdas.services import BadEvent
from tiny_model import plain_photo

# The module makes its clients when it is imported, as a function does in its first call.
with pytest.MonkeyPatch.context() as environ:
    environ.setenv("AWS_DEFAULT_REGION", "us-east-1")
    from scones.lambdas.serialize import handler

PHOTO = plain_photo(200)
INLINE = base64.b64encode(PHOTO).decode()
COURIER = {"id": "c-17", "x_km": 1.2, "y_km": -0.4, "capacity": 2}
WRAPPED = "\r\n".join(INLINE[start : start + 76] for start in range(0, len(INLINE), 76))

KILOMETRES: list[Any] = [5e-324, -1e-200, 1e6, 10**400, float("nan"), float("inf"), "1", True, None]
NO_TEXTS: list[Any] = [7, True, [INLINE], {"data": INLINE}, None, ""]
BAD_COURIERS: list[Any] = [
    *({**COURIER, "id": name} for name in ("", "\ud800", "c\udfff", 7, None, ["c"], "c" * 129)),
    *({**COURIER, "x_km": km} for km in KILOMETRES),
    *({**COURIER, "y_km": km} for km in KILOMETRES[::4]),
    *({**COURIER, "capacity": number} for number in (-1, 21, 1.0, True, "2", None, 10**400)),
    *({name: value for name, value in COURIER.items() if name != missing} for missing in COURIER),
    *({}, [], "c-17", 7, True, [COURIER]),
]
BAD_TIMES: list[Any] = [
    *("yesterday", "", " ", "\ud800", "25:00", "2026-13-01", "1e9", 1790000000, True, [], {}),
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"),
]
BAD_EVENTS: list[Any] = [
    *({}, [], None, "a photo", 7, [{"image_data": INLINE}]),
    {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]},
    {"detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": {"key": "k"}}},
    *({"image_data": value} for value in NO_TEXTS),
    *({"s3_bucket": "bucket", "s3_key": value} for value in (7, ["k"], None, "", "\ud800")),
    *(
        {"s3_bucket": value, "s3_key": "asked/a.png"}
        for value in (7, None, "", "\ud800", "a/b", "a b", "arn:aws:s3:::b")
    ),
    *({"image_data": INLINE, "inference_id": value} for value in (7, [INLINE], {"a": 1}, "x" * 65, "\ud800")),
    {"image_data": INLINE, "note": "x" * 9000},
    {"image_data": INLINE, "note": "\ud800"},
    {"image_data": INLINE, "\udfff": 1},
    {"image_data": "A" * 90_000},
    {"image_data": " " * 200_000 + INLINE},
    *({"image_data": INLINE, "courier": courier} for courier in BAD_COURIERS),
    *({"image_data": INLINE, "seen_at": moment} for moment in BAD_TIMES),
]


@pytest.mark.parametrize("event", BAD_EVENTS, ids=lambda event: repr(event)[:60])
def test_an_event_of_another_form_is_a_bad_event(event: Any) -> None:
    """Whatever is wrong with it: the error's name is the one that the workflow documents, and the message is short."""
    with pytest.raises(BadEvent) as caught:
        handler(event, None)
    assert 0 < len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text",
    [
        *(INLINE, WRAPPED, WRAPPED.replace("\r", ""), f"\n{INLINE}\n", " ".join(INLINE), WRAPPED.replace("\r\n", "\t")),
        *(f"data:image/png;base64,{INLINE}", f"DATA:image/png;BASE64,{WRAPPED}", f" data:;base64,\n{INLINE}"),
        f"data:image/png;charset=utf-8;base64,{INLINE}",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_base64_is_read_with_line_ends_and_as_a_data_url(text: str) -> None:
    """As `base64`, e-mail and browsers write it; the photo is the same one, and travels on without them."""
    found = handler({"image_data": text}, None)
    assert found["photo_id"] == handler({"image_data": INLINE}, None)["photo_id"]
    assert base64.b64decode(found["image_data"]) == PHOTO


@pytest.mark.parametrize(
    "text", ["%%%", INLINE[:-3], "data:image/png,hello", "data:;base64", "é" + INLINE, "\x00", " "]
)
def test_text_that_is_no_base64_is_an_unreadable_photo(text: str) -> None:
    """It is the photo that is wrong, not the event: its refusal is recorded."""
    with pytest.raises(UnreadablePhoto):
        handler({"image_data": text}, None)


def test_fields_that_the_workflow_sets_itself_are_not_taken_from_the_event() -> None:
    """An output that is sent in again cannot decide for itself; other fields are passed through."""
    told = {"label": "bicycle", "confidence": 1.0, "model_version": "mine", "error": {"Error": "x"}, "orders": ["o-1"]}
    found = handler({"image_data": INLINE, "note": "n", "inferences": [9], "photo_id": "mine", **told}, None)
    assert found.keys() == {"image_data", "s3_bucket", "s3_key", "seen_at", "inferences", "photo_id", "note"}
    assert (found["note"], found["inferences"]) == ("n", [])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec=None), max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
couriers = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1, max_size=130),
        "x_km": st.floats() | st.integers(),
        "y_km": st.floats(-1e6, 1e6),
        "capacity": st.integers(-1, 22),
    }
)
moments = st.datetimes().map(lambda moment: moment.isoformat()) | st.text(max_size=30)
fields = st.fixed_dictionaries(
    {},
    optional={
        "courier": couriers | anything,
        "seen_at": moments | anything,
        "inference_id": st.text(max_size=70) | anything,
        "s3_bucket": anything,
        "s3_key": anything,
        "note": anything,
        "error": anything,
        "inferences": anything,
    },
)


@given(st.just({"image_data": INLINE}) | st.fixed_dictionaries({"image_data": anything}), fields)
@example({"image_data": INLINE}, {"courier": {**COURIER, "x_km": -0.0}, "seen_at": "9999-12-31T23:59:59Z"})
def test_any_event_is_refused_by_name_or_can_be_dispatched(photo: dict[str, Any], beside: dict[str, Any]) -> None:
    """What passes is what the tables and the endpoint accept: nothing further down fails because of the event."""
    event = json.loads(json.dumps({**photo, **beside}))
    # Without inline data the function would read S3, which other tests do.
    if not event["image_data"]:
        event["image_data"] = 7
    try:
        found = handler(event, None)
    except (BadEvent, UnreadablePhoto):
        return
    json.dumps(found, ensure_ascii=False).encode()
    serialize({name: found[name] for name in ("s3_bucket", "s3_key", "seen_at", "photo_id")})
    assert from_iso8601(found["seen_at"]).year >= 1970
    if "courier" in found:
        assert serialize(found["courier"]).keys() == COURIER.keys()
