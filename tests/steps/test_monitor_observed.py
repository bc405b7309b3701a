"""An endpoint that Scones did not make, watched by its data capture alone."""

import json
from datetime import UTC, datetime

import pytest

from conftest import stage_test_photos
from monitoring.performance.test_observed_endpoint import record
from scones.data.decode import darken_and_blur
from scones.monitoring.performance.observed_endpoint import CannotObserve
from scones.pipeline import Pipeline
from tiny_model import noisy_pngs


def capture(flow: Pipeline, name: str, photos: list[bytes]) -> str:
    """Put a file of captured requests where the built-in algorithm's endpoint would; the URI of its destination."""
    now, lines = datetime.now(UTC), []
    for number, photo in enumerate(photos):
        first = photo[-20] / 255  # any number that a photo determines
        entry = json.loads(record(number, photo, json.dumps([first, 1 - first])))
        entry["eventMetadata"] |= {"eventId": f"{name}-{number}", "inferenceTime": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
        lines.append(json.dumps(entry))
    key = f"elsewhere/{flow.aws.name}/AllTraffic/{now:%Y/%m/%d/%H}/{name}.jsonl"
    flow.aws.bucket.put(key, "\n".join(lines).encode())
    return flow.aws.bucket.uri("elsewhere")


def test_an_endpoint_is_watched_from_the_first_photos_that_it_captured(quiet: Pipeline) -> None:
    """Calm traffic, then darker photos: an alert as usual; the environment's own endpoint is not concerned."""
    place = capture(quiet, "first", noisy_pngs(40, seed=5))
    with pytest.raises(CannotObserve, match="40 of the first 60 photos"):
        quiet.observe(quiet.aws.name, place, first=60)
    capture(quiet, "second", noisy_pngs(80, seed=6))
    calm = quiet.observe(quiet.aws.name, place, first=60)
    assert (calm.photos, calm.verdict.alarm, calm.alert) == (60, False, None)
    capture(quiet, "third", [darken_and_blur(photo) for photo in noisy_pngs(60, seed=7)])
    changed = quiet.observe(quiet.aws.name, place)
    assert (changed.photos, changed.verdict.alarm) == (60, True)
    assert changed.report_uri.startswith(quiet.aws.bucket.uri(f"monitor/observed/{quiet.aws.name}/"))
    assert b"What to do now" in quiet.aws.bucket.get(quiet.aws.bucket.key(changed.report_uri))
    assert quiet.observe(quiet.aws.name, place).photos == 0
    own = quiet.monitor()
    assert (own.photos, own.alarms) == (0, ())


REFUSED = [
    ("", "elsewhere", (), "is no place of a data capture"),
    ("", "s3://", (), "is no place of a data capture"),
    ("", "s3://{bucket}/nowhere", (), "no captured requests lie below"),
    ("no-such-endpoint", "s3://{bucket}/elsewhere", (), "there is no endpoint 'no-such-endpoint'"),
    ("", "s3://{bucket}/elsewhere", ("a", "b", "c"), "answers 2 numbers for 3 classes; name the class of each"),
    ("", "s3://{bucket}/elsewhere", (), "a baseline needs 40 photos or more, and there are 4"),
]


def test_an_endpoint_that_cannot_be_watched_says_why(own_flow: Pipeline) -> None:
    """What is missing, and what to name instead; the staged photos are the baseline where no number is named."""
    stage_test_photos(own_flow)
    capture(own_flow, "some", noisy_pngs(2, seed=5))
    for endpoint, place, classes, words in REFUSED:
        uri = place.format(bucket=own_flow.aws.bucket.name)
        with pytest.raises(CannotObserve, match=words):
            own_flow.observe(endpoint or own_flow.aws.name, uri, classes)
