"""The reader: valid photos are decoded; everything else is counted by its reason, and nothing crashes."""

import base64
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from scones.aws.s3 import S3Object
from scones.domain.tags import evaluation_id, probe_id
from scones.monitoring.capture.cursor import CaptureCursor
from scones.monitoring.capture.records import (
    MAX_NAMED_RECORDS,
    CapturedPhoto,
    CaptureReader,
    RefusalReason,
    split_lines,
)
from tiny_model import plain_photo

NOON = 1_790_000_000.0
FILE = S3Object("capture/e/AllTraffic/2026/09/21/14/a.jsonl", 1, "1", NOON)
PHOTO = plain_photo(128)


def a_line(event: str = "e-1", **changes: object) -> bytes:
    """One capture record as a line of a file, with the named members changed."""
    asked = {"observedContentType": "image/png", "mode": "INPUT", "data": base64.b64encode(PHOTO).decode()}
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
    broken = {"data": base64.b64encode(PHOTO[:50]).decode(), "encoding": "BASE64"}
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
