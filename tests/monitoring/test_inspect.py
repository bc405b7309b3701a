"""One pure function: the same state, records, model and context give the same result, and nothing is written."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from scones.aws.s3 import S3Object
from scones.data.decode import png
from scones.monitoring.capture.records import CaptureReader
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import Photos, measure_features
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.inspect import Inspection, inspect
from scones.monitoring.monitor_state import MonitorState, RunContext
from scones.monitoring.performance.registered_model import RegisteredModel
from tiny_model import noisy_photos

CLASSES = ("bicycle", "motorcycle")
NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
CONTEXT = RunContext(NOW, "s3://bucket/", "scones-test", deployed="c1", serving="c1")
FILE = S3Object("capture/e/AllTraffic/2026/11/23/12/a.jsonl", 1, "1", 1_795_000_000.0)


def predict(photos: Photos) -> tuple[np.ndarray, None, None]:
    """The brighter a photo, the likelier its second class."""
    second = 1 / (1 + np.exp((128 - photos.mean(axis=(1, 2, 3))) / 16))
    return np.column_stack([1 - second, second]).astype(np.float32), None, None


def a_model() -> RegisteredModel:
    """A model with the baseline of noisy photos."""
    photos = noisy_photos(300, seed=1)
    values = measure_features(photos, predict(photos)[0])
    baseline = Baseline(values, "v1", calibrate_stream(values[:100], rounds=1))
    return RegisteredModel("m1", CLASSES, baseline, predict, 32, "v1", accuracy=0.9, class_mix=(0.5, 0.5))


MODEL = a_model()


def records(
    count: int, seed: int, *, light: float = 1.0, swapped: bool = False, state: MonitorState | None = None
) -> CaptureReader:
    """A capture of as many photos, with so much of their light, by this model or by one with swapped classes."""
    photos = (noisy_photos(count, seed) * light).astype(np.uint8)
    lines = []
    for number, (photo, answer) in enumerate(zip(photos, predict(photos)[0], strict=True)):
        body = base64.b64encode(png(photo)).decode()
        output = {
            "data": json.dumps([float(value) for value in (answer[::-1] if swapped else answer)]),
            "encoding": "JSON",
        }
        capture = {"endpointInput": {"data": body, "encoding": "BASE64"}, "endpointOutput": output}
        event = {"eventId": f"{seed}-{number}", "inferenceTime": f"2026-11-23T12:{number // 60:02}:{number % 60:02}Z"}
        lines.append(json.dumps({"captureData": capture, "eventMetadata": event}).encode())
    file = replace(FILE, key=FILE.key.replace("a.jsonl", f"{seed}.jsonl"))
    return CaptureReader((state or MonitorState()).cursor, CLASSES, 32, lambda _: [(file, [b"\n".join(lines)])])


def keys(found: Inspection) -> list[str]:
    """The keys of its documents."""
    return [document.key for document in found.documents]


def test_photos_like_the_baseline_give_documents_and_metrics_and_no_alarm() -> None:
    """Model Monitor's documents, the history and the recorded traffic; no notice."""
    found = inspect(MonitorState(), records(60, 2), MODEL, CONTEXT)
    assert (found.alert, found.alert_page, found.notices, found.state.alarms) == (None, "", (), ())
    assert keys(found) == [
        "monitor/baseline/statistics.json",
        "monitor/baseline/constraints.json",
        "monitor/results/scones-test/2026/11/23/12/30-00/statistics.json",
        "monitor/results/scones-test/2026/11/23/12/30-00/constraint_violations.json",
        "monitor/history/scones-test/2026/11/23/123000.jsonl",
        "monitor/measured/scones-test/2026/11/23/123000.npz",
    ]
    assert [document.rewrite for document in found.documents] == [False, False, True, True, True, True]
    assert (found.metrics["images_seen"], found.metrics["drift_alarm"]) == (60, 0)


def test_darker_photos_give_one_notice_until_the_alarm_is_acknowledged() -> None:
    """The page, its JSON and the photos to label belong to the first alert only."""
    first = inspect(MonitorState(), records(60, 3, light=0.5), MODEL, CONTEXT)
    assert first.alert is not None
    assert first.alert_page == "monitor/alerts/20261123-123000.html"
    assert [document.key for document in first.alert_documents] == [
        "monitor/alerts/20261123-123000.json",
        "monitor/labels/asked.json",
    ]
    (notice,) = first.notices
    assert "s3://bucket/monitor/alerts/20261123-123000.html" in notice.body
    assert json.loads(notice.attributes["alert"])["cause"] == "image quality"
    state = first.state.with_sent_notices()
    second = inspect(state, records(60, 4, light=0.5, state=state), MODEL, CONTEXT)
    assert second.alert is not None
    assert (second.alert_page, second.notices, second.state.alarms) == ("", (), state.alarms)
    assert second.result.report_uri == first.result.report_uri
    third = inspect(
        second.state, records(60, 5, light=0.5, state=second.state), MODEL, replace(CONTEXT, acknowledge=True)
    )
    assert (third.result.acknowledged, len(third.notices)) == (1, 1)


def test_a_notice_that_was_not_sent_is_given_again() -> None:
    """The alarm is in the state before its notice is sent."""
    first = inspect(MonitorState(), records(60, 3, light=0.5), MODEL, CONTEXT)
    again = inspect(first.state, records(0, 4, state=first.state), MODEL, CONTEXT)
    assert again.notices == first.notices


def test_another_model_is_found_by_its_predictions() -> None:
    """Certain after two photos, whatever they show."""
    found = inspect(MonitorState(), records(20, 6, swapped=True), MODEL, CONTEXT)
    assert [alarm.kind for alarm in found.state.alarms] == ["prediction"]
    assert found.metrics["prediction_mismatch"] > 2


def test_each_record_counts_once() -> None:
    """The state says what was read."""
    first = inspect(MonitorState(), records(30, 7), MODEL, CONTEXT)
    again = inspect(first.state, records(30, 7, state=first.state), MODEL, CONTEXT)
    assert (first.result.photos, again.result.photos) == (30, 0)


def test_the_same_input_gives_the_same_output() -> None:
    """Pure: no clock, no randomness without a seed."""
    one, other = (inspect(MonitorState(), records(60, 8, light=0.6), MODEL, CONTEXT) for _ in range(2))
    assert (one.state, one.metrics, one.notices) == (other.state, other.metrics, other.notices)
    assert one.documents[:-1] == other.documents[:-1]
