"""One run: any number of photos, tested as they stream by."""

import base64
import json
import resource
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from scones.aws.s3 import S3Object
from scones.monitoring.capture.cursor import CaptureCursor
from scones.monitoring.capture.records import CapturedPhoto, CaptureReader
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import measure_features
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.drift.window_test import FalseAlarmBudget
from scones.monitoring.performance.registered_model import RegisteredModel
from scones.monitoring.run import WINDOW_PHOTOS, MonitoringRun, acknowledge_stream
from tiny_model import noisy_photos, noisy_pngs

ANSWER = (0.3, 0.7)
FILE_RECORDS = 500


@cache
def a_baseline() -> Baseline:
    """The features of noisy photos."""
    photos = noisy_photos(200, seed=1)
    values = measure_features(photos, np.tile(ANSWER, (200, 1)))
    return Baseline(values, "v", calibrate_stream(values, rounds=1))


def ask(photos: np.ndarray) -> tuple[np.ndarray, None, None]:
    """A registered model that gives every photo the same answer."""
    return np.tile(np.array(ANSWER, np.float32), (len(photos), 1)), None, None


def a_model(baseline: Baseline | None = None, per_thousand: float = 0.1) -> RegisteredModel:
    """A model with the baseline of noisy photos."""
    budget = FalseAlarmBudget(per_thousand)
    return RegisteredModel("v1", ("bicycle", "motorcycle"), baseline or a_baseline(), ask, 32, budget=budget)


def a_run(stream: str = "", per_thousand: float = 0.1) -> MonitoringRun:
    """A run without photos yet, after those that left *stream*."""
    return MonitoringRun(a_model(per_thousand=per_thousand), stream)


def seen(photos: np.ndarray, start: int = 0) -> Iterator[CapturedPhoto]:
    """Photos as they come from the intake."""
    for number, photo in enumerate(photos, start):
        yield CapturedPhoto(f"e{number}", f"2026-11-23T12:{number // 60 % 60:02d}:{number % 60:02d}Z", photo, ANSWER)


def test_nothing_seen_is_no_verdict() -> None:
    """Zero photos, no alarm, nothing to show."""
    found = a_run().finish()
    assert (found.photos, found.verdict.enough, found.verdict.alarm, found.check.photos) == (0, False, False, 0)


def test_a_change_in_the_first_of_several_windows_is_not_forgotten() -> None:
    """The verdict is that of the window that fired, with its own times and photos."""
    run = a_run()
    dark = noisy_photos(WINDOW_PHOTOS, seed=2) // 3
    for item in [*seen(dark), *seen(noisy_photos(60, seed=3), WINDOW_PHOTOS)]:
        run.add(item)
    found = run.finish()
    assert (found.photos, found.verdict.photos, found.verdict.alarm) == (WINDOW_PHOTOS + 60, WINDOW_PHOTOS, True)
    assert found.window is not None
    assert (found.window.times[0], found.window.first) == ("2026-11-23T12:00:00Z", 1)
    assert [point.photos for point in found.points] == [WINDOW_PHOTOS, 60]
    assert found.summary.photos == found.photos


def test_a_rest_too_small_for_a_verdict_leaves_the_last_one() -> None:
    """Three photos after a full window are measured, and the window's verdict is kept."""
    run = a_run()
    for item in seen(noisy_photos(WINDOW_PHOTOS + 3, seed=4)):
        run.add(item)
    found = run.finish()
    assert (found.verdict.photos, found.verdict.enough, found.summary.photos) == (500, True, 503)


def test_another_model_is_found_within_two_photos_even_across_batches() -> None:
    """Every answer is compared with the registered model's; one odd one is not enough."""
    run = a_run()
    for number, item in enumerate(seen(noisy_photos(200, seed=5))):
        run.add(replace(item, probabilities=(0.9, 0.1)) if number in {10, 150} else item)
    check = run.finish().check
    assert (check.photos, check.mismatches, check.found_after) == (200, (10, 150), 151)


def test_slow_traffic_fires_by_the_stream_detector() -> None:
    """Ten dark photos an hour are too few for any window; the detector keeps its state between runs, and fires."""
    stream, fired, runs = "", None, 0
    dark = noisy_photos(100, seed=7) // 2
    while fired is None:
        run = a_run(stream)
        for item in seen(dark[10 * runs : 10 * runs + 10], 10 * runs):
            run.add(item)
        found = run.finish()
        assert not found.verdict.enough
        stream, fired, runs = found.stream.to_json(), found.stream_alarm, runs + 1
    assert (fired.onset, runs) == (1, 2)
    again = a_run(stream)
    for item in seen(dark[:10], 200):
        again.add(item)
    assert again.finish().stream_alarm is None
    assert a_run(acknowledge_stream(stream, a_model())).finish().stream_score == 0


def test_a_stream_state_of_another_baseline_is_restarted() -> None:
    """After a new deployment the detector knows nothing, and nothing is an error."""
    other = a_model(Baseline(a_baseline().values + 1, "v", a_baseline().calibration))
    run = a_run()
    for item in seen(noisy_photos(30, seed=8)):
        run.add(item)
    stream = run.finish().stream.to_json()
    assert a_run(stream).finish().stream.photos == 30
    assert MonitoringRun(other, stream).finish().stream.photos == 0


def lines_of(photos: list[str]) -> Iterator[bytes]:
    """One file's records; every hundredth line is none, every fiftieth photo has no answer."""
    for number in range(FILE_RECORDS):
        asked = {"observedContentType": "image/png", "data": photos[number % len(photos)], "encoding": "BASE64"}
        capture = {"endpointInput": asked, "endpointOutput": {"data": json.dumps(ANSWER), "encoding": "JSON"}}
        if number % 50 == 1:
            del capture["endpointOutput"]
        metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": "2026-11-23T12:00:00Z"}
        yield b"{cut" if number % 100 == 2 else json.dumps({"captureData": capture, "eventMetadata": metadata}).encode()


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_thousand_records_take_no_more_memory_than_twenty_thousand() -> None:
    """Streamed: after the first tenth, the rest adds less than 40 MB, of which the counted events take most."""
    photos = [base64.b64encode(png).decode() for png in noisy_pngs(40, seed=6)]
    peaks = []

    def fetch(_reader: CaptureReader) -> Iterator[tuple[S3Object, Iterator[bytes]]]:
        for number in range(400):
            file = S3Object(f"capture/e/v/2026/11/23/12/{number}.jsonl", 1, "1", 1_790_000_000.0 + number)
            yield file, (line + b"\n" for line in lines_of(photos))
            if number in {39, 399}:
                peaks.append(peak_megabytes())

    records, run = CaptureReader(CaptureCursor(), ("a", "b"), 32, fetch), a_run(per_thousand=1)
    for photo in records:
        run.add(photo)
    found = run.finish()
    assert found.photos + sum(records.refused.values()) == 400 * FILE_RECORDS
    assert peaks[1] - peaks[0] < 40
    assert len(json.dumps(records.cursor().events)) < 3_000_000
