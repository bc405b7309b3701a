"""Problems of the endpoint and the deployment have a subject that SNS accepts, and lines that say what to do."""

from dataclasses import replace
from datetime import UTC, datetime

from batches import registered
from scones.monitoring.monitor_state import RunContext, check_baseline, check_endpoint
from scones.monitoring.performance.registered_model import ProbeResult

WELL = RunContext(
    now=datetime(2026, 11, 23, tzinfo=UTC),
    bucket_uri="s3://bucket/",
    endpoint="scones-dev",
    deployed="scones-dev--1",
    serving="scones-dev--1",
    probes=(ProbeResult("k", "bicycle", "bicycle"),),
)


def test_without_a_problem_there_is_no_event() -> None:
    """Nothing to report."""
    assert [*check_endpoint(WELL), *check_baseline(registered())] == []


def test_each_event_says_what_which_and_what_to_do() -> None:
    """Subjects of at most 100 ASCII characters; the next step in the body."""
    wrong = (ProbeResult("data/v/test/1.png", "bicycle", "motorcycle"), ProbeResult("data/v/test/2.png", "bicycle", ""))
    events = [
        *check_endpoint(replace(WELL, probes=wrong)),
        *check_endpoint(replace(WELL, serving="scones-dev--2")),
        *check_endpoint(replace(WELL, serving=None)),
        *check_baseline(replace(registered(), data_version="v2")),
    ]
    assert [event.kind for event in events] == ["probe", "release", "release", "release"]
    assert all(len(event.subject) <= 100 and event.subject.isascii() for event in events)
    assert "no prediction instead of bicycle" in events[0].body
    assert all("scones " in event.body for event in events)


def test_during_an_update_either_configuration_may_serve() -> None:
    """No alarm about a release that is being deployed."""
    assert not list(check_endpoint(replace(WELL, serving="scones-dev--2", updating=True)))
