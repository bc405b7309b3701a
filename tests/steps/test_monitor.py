import base64
import json
from pathlib import Path

import pytest

from access_keys import KEYS
from scones.aws.client import Client
from scones.data.decode import darken_and_blur
from scones.domain.wire import RAW_TYPES, read_request
from scones.monitoring.inspect import MonitorResult
from scones.pipeline import Pipeline
from tiny_model import noisy_pngs

PHOTOS = 60


def send(flow: Pipeline, photos: list[bytes]) -> MonitorResult:
    """Classify *photos* and monitor what was captured of them."""
    flow.classify_samples([flow.upload(f"{number}.png", photo) for number, photo in enumerate(photos)])
    return flow.monitor(at_least=len(photos))


def test_photos_like_the_baseline_raise_no_alarm_and_a_shift_does(quiet: Pipeline, tmp_path: Path) -> None:
    """The captured traffic is read back, compared, and only a change sends an alert."""
    calm = send(quiet, noisy_pngs(PHOTOS, seed=2))
    assert (calm.photos, calm.verdict.enough, calm.verdict.alarm, calm.report_uri) == (PHOTOS, True, False, "")
    alarmed = send(quiet, [darken_and_blur(photo) for photo in noisy_pngs(PHOTOS, seed=3)])
    assert (alarmed.photos, alarmed.verdict.alarm) == (PHOTOS, True)
    page = quiet.aws.bucket.get(quiet.aws.bucket.key(alarmed.report_uri))
    assert b"What to do now" in page
    kept = quiet.alert_page(alarmed, tmp_path / "reports")
    assert kept is not None
    assert (kept.read_bytes(), kept.parent.name) == (page, "reports")
    assert quiet.alert_page(calm, tmp_path) is None
    document = json.loads(quiet.aws.bucket.get(quiet.aws.bucket.key(alarmed.report_uri).replace(".html", ".json")))
    assert alarmed.alert is not None
    assert (document["cause"], document["page"]) == (alarmed.alert.cause, alarmed.report_uri)
    assert len(document["label"]) == 30


ACCEPTS = ("", "*/*", "application/json", "application/json;verbose=true", "application/jsonlines", "text/csv")


def requests(photos: list[bytes]) -> list[tuple[str, bytes]]:
    """Each form of a request that the endpoint documents: its content type and body."""
    texts = [base64.b64encode(photo).decode() for photo in photos]
    texts[-1:] = [f"data:image/png;base64,{texts[-1]}", base64.encodebytes(photos[0]).decode()]
    one_or_many = ({"photo": texts[0]}, texts[0], {"photos": texts}, texts, {"photos": texts[:1]}, texts[:1])
    raw = [(kind.decode(), photos[0]) for kind in sorted(RAW_TYPES)]
    return [*raw, *(("application/json", json.dumps(value).encode()) for value in one_or_many)]


@pytest.mark.parametrize("accept", ACCEPTS)
def test_every_form_of_a_request_and_a_response_is_monitored(quiet: Pipeline, accept: str) -> None:
    """Sent to the real endpoint, captured by it and read by the monitor: each photo is used, and none is refused."""
    runtime = Client(quiet.settings, "sagemaker-runtime", KEYS)
    photos, count = noisy_pngs(3, seed=6), 0
    for content_type, body in requests(photos):
        kind = {"ContentType": content_type} if content_type else {}
        asked = {"Accept": accept} if accept else {}
        answer = runtime.call("invoke_endpoint", EndpointName=quiet.aws.name, Body=body, **kind, **asked)
        assert answer["Body"]
        count += len(read_request(content_type.encode(), body)[0])
    result = quiet.monitor(at_least=count)
    assert (result.photos, dict(result.refused)) == (count, {})
    # Each photo has its own answer: the registered model gives it the same one.
    assert (result.prediction_check.photos, result.prediction_check.mismatches) == (count, ())


def test_each_photo_is_monitored_once(quiet: Pipeline) -> None:
    """The cursor in the bucket remembers what was read: the second run finds nothing new."""
    assert send(quiet, noisy_pngs(25, seed=4)).photos == 25
    again = quiet.monitor()
    assert (again.photos, again.verdict.enough, again.verdict.alarm) == (0, False, False)


def test_what_cannot_be_read_is_counted_and_named(quiet: Pipeline) -> None:
    """A half-written line and a photo that is none neither crash the monitor nor pass in silence."""
    hour = f"capture/{quiet.aws.name}/AllTraffic/2026/01/01/00"
    quiet.aws.bucket.put(f"{hour}/00-00-001-b.jsonl", b'{"captureData": {"endp')
    result = quiet.monitor()
    assert len(result.malformed) == 1
    assert "00-00-001-b.jsonl line 1" in result.malformed[0]


@pytest.mark.parametrize("count", [0, 19])
def test_too_few_photos_give_no_verdict(quiet: Pipeline, count: int) -> None:
    """Fewer than twenty photos say nothing, however odd they are."""
    dark = [darken_and_blur(photo, brightness=0.1) for photo in noisy_pngs(count, seed=5)]
    result = send(quiet, dark)
    assert (result.verdict.enough, result.verdict.alarm) == (False, False)
