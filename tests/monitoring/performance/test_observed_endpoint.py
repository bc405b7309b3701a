"""Endpoints that Scones did not make: where their capture lies, and the baseline that they are compared with."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from scones.monitoring.capture.cursor import CaptureCursor
from scones.monitoring.capture.records import CaptureReader, RefusalReason
from scones.monitoring.performance.observed_endpoint import (
    SIDE,
    CannotObserve,
    baseline_from_capture,
    find_capture,
    observed_model,
)
from scones.monitoring.run import MonitoringRun
from tiny_model import noisy_pngs

HOUR = "2026/11/30/07/x.jsonl"


def record(number: int, photo: bytes, answer: str, encoding: str = "JSON") -> str:
    """A record as SageMaker's capture writes it for the built-in image classification."""
    text = base64.b64encode(answer.encode()).decode() if encoding == "BASE64" else answer
    given = {"observedContentType": "application/x-image", "mode": "INPUT", "encoding": "BASE64"}
    told = {"observedContentType": "application/json", "mode": "OUTPUT", "encoding": encoding, "data": text}
    return json.dumps(
        {
            "captureData": {
                "endpointInput": {**given, "data": base64.b64encode(photo).decode()},
                "endpointOutput": told,
            },
            "eventMetadata": {"eventId": f"e{number}", "inferenceTime": "2026-11-30T07:00:00Z"},
            "eventVersion": "0",
        }
    )


@dataclass(frozen=True)
class File:
    """A capture file."""

    key: str
    etag: str = "e"
    size: int = 1
    modified: float = 1.0


def reader(lines: list[str], classes: int = 2) -> CaptureReader:
    """Read one file of these lines."""

    def fetch(_reader: CaptureReader) -> Iterator[tuple[File, list[bytes]]]:
        yield File(HOUR), ["\n".join(lines).encode()]

    return CaptureReader(CaptureCursor(), [f"class {number}" for number in range(classes)], SIDE, fetch)


ANSWERS = (
    ("[0.75, 0.25]", "JSON"),
    ("[0.75, 0.25]", "BASE64"),
    ("[[0.75, 0.25]]", "JSON"),
    ("0.75,0.25", "CSV"),
    ('{"prediction": [0.75, 0.25]}', "JSON"),
    ('{"probabilities": [0.75, 0.25], "labels": ["a", "b"]}', "JSON"),
)


@pytest.mark.parametrize(("answer", "encoding"), ANSWERS)
def test_answers_in_the_forms_of_other_containers_become_a_baseline(answer: str, encoding: str) -> None:
    """Lists of probabilities in JSON, CSV or base64; the photos after the first ones are left for the run."""
    records = reader([record(number, photo, answer, encoding) for number, photo in enumerate(noisy_pngs(45, seed=1))])
    baseline = baseline_from_capture(records, 40, seed=0)
    assert baseline.values.shape[0] == 40
    assert np.isclose(baseline.values[:, 0], np.log(1 / 3)).all()
    model = observed_model(("a", "b"), baseline.to_bytes(), "here", 0.1, 0)
    assert np.allclose(model.class_mix, (0.75, 0.25))
    run = MonitoringRun(model)
    for photo in records:
        run.add(photo)
    result = run.finish()
    assert (result.photos, result.check.photos, result.accuracy) == (5, 0, None)


BAD_LINES = {
    "numbers for another number of classes": (record(0, b"x", "[0.2, 0.3, 0.5]"), RefusalReason.OTHER_MODEL),
    "a class in place of numbers": (record(0, b"x", '"bicycle"'), RefusalReason.MALFORMED),
    "logits": (record(0, b"x", "[3.5, -2.0]"), RefusalReason.MALFORMED),
    "not a number": (record(0, b"x", "[NaN, 0.5]"), RefusalReason.MALFORMED),
    "no photo": (record(0, b"x", "[0.5, 0.5]"), RefusalReason.UNREADABLE),
    "no record": ("{}", RefusalReason.MALFORMED),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_records_that_cannot_be_compared_are_counted_in_the_reason(name: str) -> None:
    """A baseline of too few photos is none; the reason says what was captured instead."""
    line, reason = BAD_LINES[name]
    with pytest.raises(CannotObserve, match=rf"0 of the first 40 .*1 record not used: {reason}"):
        baseline_from_capture(reader([line]), 40, seed=0)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ([f"a/net/AllTraffic/{HOUR}"], "a/net/AllTraffic/"),
        ([f"a/net/AllTraffic/{HOUR}", f"a/other/AllTraffic/{HOUR}"], "a/net/AllTraffic/"),
        ([f"a/{HOUR}", "a/net/notes.txt"], "a/"),
        ([HOUR], ""),
    ],
)
def test_the_capture_is_found_below_its_destination(keys: list[str], found: str) -> None:
    """With or without the folders of endpoint and variant in the URI."""
    assert find_capture(keys, "net", "s3://b/a") == found


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([], "no captured requests lie below s3://b/a"),
        (["a/net/AllTraffic/today.jsonl"], "no captured requests"),
        ([f"a/net/one/{HOUR}", f"a/net/two/{HOUR}"], "a/net/one/, a/net/two/; name one"),
    ],
)
def test_a_capture_that_is_not_there_or_not_the_only_one_is_an_error(keys: list[str], words: str) -> None:
    """With what to name."""
    with pytest.raises(CannotObserve, match=words):
        find_capture(keys, "net", "s3://b/a")
