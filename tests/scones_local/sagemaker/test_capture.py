"""Capture records: encodings and members, whatever the traffic."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scones_local.sagemaker.capture import CapturedExchange, record

NOON = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)
BOTH: dict[str, Any] = {"CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]}


@given(body=st.binary(max_size=50), answer=st.text(max_size=50))
def test_nothing_is_lost(body: bytes, answer: str) -> None:
    """Any request comes back from its base64, and any declared JSON answer as it was, through one line of JSON."""
    config = {**BOTH, "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]}}
    exchange = CapturedExchange(body, "image/png", answer.encode(), "application/json; charset=utf-8")
    line = json.dumps(record(config, exchange, NOON))
    assert "\n" not in line
    found = json.loads(line)["captureData"]
    assert base64.b64decode(found["endpointInput"]["data"]) == body
    assert (found["endpointOutput"]["data"], found["endpointOutput"]["encoding"]) == (answer, "JSON")


def test_undeclared_types_are_base64() -> None:
    """Without declared content types even JSON is captured as base64, as SageMaker does."""
    found = record(BOTH, CapturedExchange(b"", "text/csv", b"[1]", "application/json"), NOON)["captureData"]
    assert {found[side]["encoding"] for side in found} == {"BASE64"}


def test_only_the_wanted_sides_are_kept() -> None:
    """A configuration that captures the output alone leaves the input out; identifiers are in the metadata."""
    config = {"CaptureOptions": [{"CaptureMode": "Output"}]}
    found = record(config, CapturedExchange(b"", "a/b", b"", "a/b", inference_id="i", custom_attributes="t=1"), NOON)
    assert list(found["captureData"]) == ["endpointOutput"]
    assert found["eventMetadata"]["inferenceId"] == "i"
    assert found["eventMetadata"]["customAttributes"] == ["t=1"]
    assert found["eventMetadata"]["inferenceTime"] == "2026-11-23T12:00:05Z"
    assert found["eventVersion"] == "0"
