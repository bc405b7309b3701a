"""Capture records are read, and what is none is counted, never skipped."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.aws.s3 import S3Object
from scones.domain.naming import evaluation_id, probe_id
from scones.monitoring.capture.cursor import CaptureCursor
from scones.monitoring.capture.records import (
    MAX_NAMED_RECORDS,
    CapturedPhoto,
    CapturedRecord,
    CaptureReader,
    MalformedRecord,
    RefusalReason,
    parse_records,
    split_lines,
)
from tiny_model import plain_photo

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
    assert read(a_record()) == CapturedRecord(
        "e-1", "2025-10-04T08:44:11Z", None, (PHOTO,), "image/png", ((0.82, 0.18),)
    )


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
    assert result.probabilities == ((0.82, 0.18),)


def test_a_missing_output_is_said_and_not_invented() -> None:
    """A record of only the request has no probabilities, and still counts."""
    record = a_record()
    del record["captureData"]["endpointOutput"]
    result = read(record)
    assert isinstance(result, CapturedRecord)
    assert result.probabilities is None
    assert result.photos == (PHOTO,)


def test_an_answer_without_its_photo_reads() -> None:
    """Endpoints may capture answers alone."""
    record = a_record()
    del record["captureData"]["endpointInput"]
    result = read(record)
    assert isinstance(result, CapturedRecord)
    assert (result.photos, result.content_type, result.probabilities) == (None, "", ((0.82, 0.18),))


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
    assert (result.photos, result.probabilities) == ((photo,), (tuple(probabilities),))


NOON = 1_790_000_000.0
FILE = S3Object("capture/e/AllTraffic/2026/09/21/14/a.jsonl", 1, "1", NOON)
PNG = plain_photo(128)


def a_line(event: str = "e-1", **changes: object) -> bytes:
    """One capture record as a line of a file, with the named members changed."""
    asked = {"observedContentType": "image/png", "mode": "INPUT", "data": base64.b64encode(PNG).decode()}
    answered = {"observedContentType": "application/json", "mode": "OUTPUT", "data": "[0.25, 0.75]", "encoding": "JSON"}
    capture = {"endpointInput": {**asked, "encoding": "BASE64"}, "endpointOutput": answered}
    metadata: dict[str, object] = {"eventId": event, "inferenceTime": "2026-09-21T14:13:20Z"}
    for name, value in changes.items():
        place: dict[str, object] = metadata if name in {"inferenceTime", "inferenceId"} else dict(capture)
        place[name] = value
        if place is not metadata:
            capture = place  # type: ignore[assignment]
    kept = {name: value for name, value in capture.items() if value is not None}
    return json.dumps({"captureData": kept, "eventMetadata": metadata, "eventVersion": "0"}).encode()


def reader(*files: tuple[S3Object, list[bytes] | None], since: float = 0.0) -> CaptureReader:
    """A reader of these files, each of which comes in pieces."""
    return CaptureReader(CaptureCursor(), ("bicycle", "motorcycle"), 8, lambda _: files, since)


def take(*lines: bytes, since: float = 0.0, file: S3Object = FILE) -> tuple[list[CapturedPhoto], CaptureReader]:
    """The photos of one file."""
    records = reader((file, [b"\n".join(lines)]), since=since)
    return list(records), records


def test_a_photo_and_its_answer_are_seen() -> None:
    """Decoded to the model's size, with the probabilities in class order."""
    (seen,), records = take(a_line())
    assert (seen.photo.shape, seen.probabilities, seen.event_id) == ((8, 8, 3), (0.25, 0.75), "e-1")
    assert (records.refused, records.examples) == ({}, ())


def test_each_reason_is_counted_under_its_own_name() -> None:
    """A record too many, too few, of another model, of ours, twice: nine lines, nine reasons or photos."""
    broken = {"data": base64.b64encode(PNG[:50]).decode(), "encoding": "BASE64"}
    three = {"data": "0.2,0.3,0.5", "encoding": "CSV"}
    seen, records = take(
        a_line("good"),
        a_line("good"),
        a_line("no-photo", endpointInput=None),
        a_line("no-answer", endpointOutput=None),
        a_line("broken", endpointInput=broken),
        a_line("three", endpointOutput=three),
        a_line("exam", inferenceId=evaluation_id("f" * 64)),
        a_line("probe", inferenceId=probe_id("f" * 64)),
        b'{"captureData": {"endp',
    )
    assert [item.event_id for item in seen] == ["good"]
    assert records.refused == {
        RefusalReason.TWICE: 1,
        RefusalReason.NO_PHOTO: 1,
        RefusalReason.NO_ANSWER: 1,
        RefusalReason.UNREADABLE: 1,
        RefusalReason.OTHER_MODEL: 1,
        RefusalReason.OURS: 2,
        RefusalReason.MALFORMED: 1,
    }
    assert len(records.examples) == 5
    assert any(f"{FILE.key} line 9" in line for line in records.examples)


def test_a_request_of_several_photos_gives_each_its_own_answer() -> None:
    """By number, decoded and counted one by one: one that cannot be read leaves the others as they are."""
    texts = [base64.b64encode(photo).decode() for photo in (PNG, PNG[:50], plain_photo(9))]
    asked = {"observedContentType": "application/json", "data": json.dumps({"photos": texts}), "encoding": "JSON"}
    lines = "".join(f'{{"prediction": [{share}, {1 - share}]}}\n' for share in (0.25, 0.5, 0.75))
    answered = {"data": base64.b64encode(lines.encode()).decode(), "encoding": "BASE64"}
    seen, records = take(a_line("e", endpointInput=asked, endpointOutput=answered))
    assert [(item.event_id, item.probabilities[0]) for item in seen] == [("e/0", 0.25), ("e/2", 0.75)]
    assert (records.photos, records.refused) == (2, {RefusalReason.UNREADABLE: 1})
    assert "event e/1: the photo " in records.examples[0]


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_answers_as_photos_or_the_record_is_malformed(count: int) -> None:
    """No photo is paired with another one's answer."""
    text = json.dumps([base64.b64encode(PNG).decode()] * count)
    asked = {"observedContentType": "application/json", "data": text, "encoding": "JSON"}
    _, records = take(a_line("e", endpointInput=asked, endpointOutput={"data": "[[1, 0], [0, 1]]", "encoding": "JSON"}))
    assert records.refused == {RefusalReason.MALFORMED: 1}
    assert f"{count} photos in the input and 2 predictions in the output" in records.examples[0]


odd_lines = st.binary(max_size=60) | st.builds(
    lambda field, value: json.dumps(a_record(**{field: value})).encode(),
    st.sampled_from(["captureData__endpointInput", "captureData__endpointInput__data", "eventMetadata__eventId"]),
    json_values | st.sampled_from(["\ud800", '["' * 3000, base64.b64encode(PNG[:40]).decode()]),
)


@given(st.lists(odd_lines.map(lambda line: line.replace(b"\n", b"")), max_size=6))
def test_no_line_of_a_file_costs_another_its_photo(lines: list[bytes]) -> None:
    """Whatever lies between two records, both photos are used."""
    seen, _ = take(a_line("first"), *lines, a_line("last"))
    assert {"first", "last"} <= {item.event_id for item in seen}


def test_a_million_bad_lines_are_counted_and_a_few_are_named() -> None:
    """Memory does not grow with what is wrong."""
    _, records = take(*(b"no record %d" % number for number in range(1000)))
    assert records.refused == {RefusalReason.MALFORMED: 1000}
    assert len(records.examples) == MAX_NAMED_RECORDS


def test_a_half_written_line_is_counted_once_and_its_record_when_it_is_whole() -> None:
    """The same file is read again after more was written: nothing is lost, and nothing counts twice."""
    whole = b"\n".join([a_line("a"), a_line("b")])
    first, again, second = (FILE, [whole[:-30]]), (FILE, [whole[:-30]]), (FILE, [whole])
    assert [item.event_id for item in reader(first, again)] == ["a"]
    records = reader(first, again, second)
    assert [item.event_id for item in records] == ["a", "b"]
    assert records.refused == {RefusalReason.MALFORMED: 1, RefusalReason.TWICE: 2}


def test_files_that_are_gone_or_no_captures_are_counted_once() -> None:
    """However often they are listed."""
    records = reader((FILE, None), (FILE, None))
    odd = S3Object("capture/e/AllTraffic/readme.txt", 1, "1", NOON)
    assert [records.choose([odd, FILE], "capture/e/AllTraffic/", complete=True) for _ in range(2)] == [[FILE], [FILE]]
    assert list(records) == []
    assert records.refused == {RefusalReason.NO_CAPTURE: 1, RefusalReason.GONE: 1}


def test_answers_of_an_earlier_deployment_are_passed_over() -> None:
    """By S3's clock, and by the endpoint's own where the two agree."""
    at = datetime.fromtimestamp
    before, after = f"{at(NOON - 60, UTC):%Y-%m-%dT%H:%M:%SZ}", f"{at(NOON, UTC):%Y-%m-%dT%H:%M:%SZ}"
    seen, records = take(a_line("old", inferenceTime=before), a_line("new", inferenceTime=after), since=NOON)
    assert [item.event_id for item in seen] == ["new"]
    assert records.refused == {RefusalReason.EARLIER: 1}
    older = S3Object(FILE.key, 1, "1", NOON - 1)
    assert take(a_line("new", inferenceTime=after), since=NOON, file=older)[0] == []


def test_a_clock_that_jumped_costs_no_photo() -> None:
    """A time long past, far ahead, or none at all: the photo is used, since its file came after the deployment."""
    times = ["1970-01-01T00:00:00Z", "2099-12-31T23:59:59Z", "yesterday", "0001-01-01T00:00:00+14:00"]
    lines = [a_line(f"e-{number}", inferenceTime=moment) for number, moment in enumerate(times)]
    assert len(take(*lines, since=NOON)[0]) == len(times)


@given(st.lists(st.binary(max_size=60)), st.integers(1, 40))
def test_lines_are_the_same_however_the_stream_is_cut(lines: list[bytes], size: int) -> None:
    """A record that lies across two pieces of a download is one record."""
    whole = b"\n".join(line.replace(b"\n", b"") for line in lines)
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert list(split_lines(pieces)) == (
        [*whole.split(b"\n")[:-1], *filter(None, whole.split(b"\n")[-1:])] if whole else []
    )


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    """A hundred megabytes that are no record give one short line."""
    piece = b"x" * (1 << 20)
    (line, after) = split_lines([*(piece for _ in range(100)), b"y\nnext"])
    assert (len(line), after) == (80, b"next")
