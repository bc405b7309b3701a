"""The record that the classify function writes, held against the capture of the local endpoint and our own reader."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.domain.naming import evaluation_id, is_internal
from scones.monitoring.capture.records import CapturedRecord, parse_records
from scones_local.sagemaker.capture import CapturedExchange, record

# The module makes its clients when it is imported, as a function does in its first call.
with pytest.MonkeyPatch.context() as environ:
    environ.setenv("AWS_DEFAULT_REGION", "us-east-1")
    from scones.lambdas.classify import capture_key, capture_line

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 89_000, UTC)
CONFIG = {
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
}


@given(st.binary(max_size=200), st.lists(st.floats(0, 1), min_size=2, max_size=4))
def test_what_was_written_is_read_back(photo: bytes, probabilities: list[float]) -> None:
    """One line, however odd the photo: the monitor finds the very bytes and numbers."""
    line = capture_line(photo, "application/x-image", json.dumps(probabilities).encode(), MOMENT)
    assert line.count(b"\n") == 1
    (found,) = parse_records([line])
    assert isinstance(found, CapturedRecord)
    assert (found.photos, found.content_type) == ((photo,), "application/x-image")
    assert found.probabilities == (tuple(probabilities),)
    assert found.inference_time == "2026-03-04T05:06:07Z"


def test_it_is_the_record_that_an_endpoint_writes() -> None:
    """Member for member, but for the event's own number."""
    exchange = CapturedExchange(b"photo", "application/x-image", b"[0.1, 0.9]", "application/json")
    ours = json.loads(capture_line(b"photo", "application/x-image", b"[0.1, 0.9]", MOMENT))
    assert _anonymous(ours) == _anonymous(record(CONFIG, exchange, MOMENT))


def test_it_lies_where_an_endpoint_would_put_it() -> None:
    """By endpoint, variant and hour; no two have one name."""
    keys = {capture_key("scones-dev", MOMENT) for _ in range(10)}
    assert len(keys) == 10
    pattern = r"capture/scones-dev/AllTraffic/2026/03/04/05/06-07-089-[0-9a-f-]{36}\.jsonl"
    assert all(re.fullmatch(pattern, key) for key in keys)


def _anonymous(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "eventMetadata": {**found["eventMetadata"], "eventId": ""}}


def test_a_question_of_our_own_keeps_its_mark() -> None:
    """The monitor passes evaluations over by their inference id, behind a serverless endpoint too."""
    line = capture_line(b"photo", "application/x-image", b"[0.1, 0.9]", MOMENT, evaluation_id("0" * 64))
    captured = next(parse_records([line]))
    assert isinstance(captured, CapturedRecord)
    assert is_internal(captured.inference_id)
