"""Capture records are read, and what is none is counted, never skipped."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.monitoring.capture.records import CapturedRecord, MalformedRecord, parse_records

PHOTO = b"\x89PNG\r\n\x1a\n and more"


def a_record(**changes: Any) -> dict[str, Any]:
    """A true record, with fields replaced by their path, as in ``captureData__endpointInput``."""
    record: dict[str, Any] = {
        "captureData": {
            "endpointInput": {
                "observedContentType": "image/png",
                "mode": "INPUT",
                "data": base64.b64encode(PHOTO).decode(),
                "encoding": "BASE64",
            },
            "endpointOutput": {
                "observedContentType": "application/json",
                "mode": "OUTPUT",
                "data": "[0.82, 0.18]",
                "encoding": "JSON",
            },
        },
        "eventMetadata": {"eventId": "e-1", "inferenceTime": "2025-10-04T08:44:11Z"},
        "eventVersion": "0",
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = record
        for parent in parents:
            place = place[parent]
        place[last] = value
    return record


def read(record: object) -> CapturedRecord | MalformedRecord:
    """What one record parses to."""
    (result,) = parse_records([json.dumps(record)])
    return result


def test_a_real_record_reads() -> None:
    """Photo, answer, identity and time come out of SageMaker's own form."""
    assert read(a_record()) == CapturedRecord("e-1", "2025-10-04T08:44:11Z", None, PHOTO, "image/png", (0.82, 0.18))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("[0.82, 0.18]", "JSON"),
        ("[[0.82, 0.18]]", "JSON"),
        ('{"label": "bicycle", "probabilities": [0.82, 0.18], "unfamiliarity": 1.5}', "JSON"),
        ("0.82,0.18", "CSV"),
        ("0.82,0.18\n", "CSV"),
        (base64.b64encode(b"[0.82, 0.18]").decode(), "BASE64"),
        (base64.b64encode(b"0.82,0.18").decode(), "base64"),
    ],
)
def test_every_encoding_of_an_answer_reads(data: str, encoding: str) -> None:
    """JSON, verbose or plain, CSV and base64 of either give the same probabilities."""
    output = {"data": data, "encoding": encoding}
    result = read(a_record(captureData__endpointOutput=output))
    assert isinstance(result, CapturedRecord)
    assert result.probabilities == (0.82, 0.18)


def test_a_missing_output_is_said_and_not_invented() -> None:
    """A record of only the request has no probabilities, and still counts."""
    record = a_record()
    del record["captureData"]["endpointOutput"]
    result = read(record)
    assert isinstance(result, CapturedRecord)
    assert result.probabilities is None
    assert result.photo == PHOTO


def test_an_answer_without_its_photo_reads() -> None:
    """Endpoints may capture answers alone."""
    record = a_record()
    del record["captureData"]["endpointInput"]
    result = read(record)
    assert isinstance(result, CapturedRecord)
    assert (result.photo, result.content_type, result.probabilities) == (None, "", (0.82, 0.18))


def test_the_caller_s_own_identity_is_kept() -> None:
    """inferenceId joins a record with its late label."""
    result = read(a_record(eventMetadata__inferenceId="photo-17"))
    assert isinstance(result, CapturedRecord)
    assert result.inference_id == "photo-17"


def test_unknown_fields_do_no_harm() -> None:
    """A newer record with more fields still reads."""
    assert isinstance(
        read(a_record(eventVersion="9", extra={"a": 1}, eventMetadata__customAttributes=["x"])), CapturedRecord
    )


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (["a", "list"], "not a capture record"),
        ({"hello": "world"}, "captureData"),
        (a_record(eventMetadata=None), "eventMetadata"),
        (a_record(eventMetadata__eventId=7), "eventId"),
        (a_record(captureData={}), "neither input nor output"),
        (a_record(captureData__endpointInput="x"), "endpointInput"),
        (a_record(captureData__endpointInput={"data": "%%%", "encoding": "BASE64"}), "input is not base64"),
        (a_record(captureData__endpointOutput={"data": "oops", "encoding": "JSON"}), "list of probabilities"),
        (a_record(captureData__endpointOutput={"data": "[]", "encoding": "JSON"}), "list of probabilities"),
        (a_record(captureData__endpointOutput={"data": "[NaN, 1]", "encoding": "JSON"}), "not a list of probabilities"),
        (a_record(captureData__endpointOutput={"data": "[2, -1]", "encoding": "JSON"}), "not a list of probabilities"),
        (
            a_record(captureData__endpointOutput={"data": "[true, 0]", "encoding": "JSON"}),
            "not a list of probabilities",
        ),
    ],
)
def test_a_wrong_record_is_named(record: object, reason: str) -> None:
    """Each way of being wrong has its own reason."""
    result = read(record)
    assert isinstance(result, MalformedRecord)
    assert reason in result.reason


def test_a_half_written_line_is_counted_with_its_number() -> None:
    """The cut line is reported; the ones around it read."""
    whole = json.dumps(a_record())
    results = list(parse_records([whole, whole[: len(whole) // 2], "", whole]))
    assert [type(result) for result in results] == [CapturedRecord, MalformedRecord, CapturedRecord]
    assert isinstance(results[1], MalformedRecord)
    assert results[1].line == 2


@given(st.lists(st.binary(max_size=80) | st.text(max_size=80)))
def test_any_bytes_give_one_result_a_line(lines: list[bytes | str]) -> None:
    """Nothing raises, and every line that is not blank is either read or counted."""
    full = [line for line in lines if (line.decode(errors="replace") if isinstance(line, bytes) else line).strip()]
    assert len(list(parse_records(lines))) == len(full)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(
        [
            "captureData",
            "captureData__endpointInput",
            "captureData__endpointInput__data",
            "captureData__endpointInput__encoding",
            "captureData__endpointOutput",
            "captureData__endpointOutput__data",
            "eventMetadata",
            "eventMetadata__eventId",
            "eventMetadata__inferenceTime",
            "eventMetadata__inferenceId",
        ]
    ),
    json_values,
)
def test_any_value_in_any_field_is_read_or_named(field: str, value: object) -> None:
    """A record with one field replaced by anything at all gives one result and no error."""
    assert isinstance(read(a_record(**{field: value})), CapturedRecord | MalformedRecord)


@given(st.integers(0, 400))
def test_a_record_cut_anywhere_is_malformed(length: int) -> None:
    """No prefix of a record passes for a record."""
    whole = json.dumps(a_record())
    results = list(parse_records([whole[: min(length, len(whole) - 1)]]))
    assert all(isinstance(result, MalformedRecord) for result in results)


@given(st.binary(max_size=200), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_what_an_endpoint_captures_reads_back(photo: bytes, probabilities: list[float]) -> None:
    """Photo bytes and probabilities survive the round trip exactly."""
    record = a_record(
        captureData__endpointInput__data=base64.b64encode(photo).decode(),
        captureData__endpointOutput__data=json.dumps(probabilities),
    )
    result = read(record)
    assert isinstance(result, CapturedRecord)
    assert (result.photo, result.probabilities) == (photo, tuple(probabilities))
