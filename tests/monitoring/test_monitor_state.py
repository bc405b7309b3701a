"""What one run leaves, the next one reads."""

import json

import pytest

from scones.monitoring.alerts.notices import ActiveAlarm, AlarmEvent
from scones.monitoring.monitor_state import MonitorState, UnreadableMonitorState


def test_what_is_written_reads_back() -> None:
    """Alarms and all."""
    state = MonitorState(alarms=(ActiveAlarm(AlarmEvent("drift", "s", "b"), "2026-11-23T03:00:00Z"),), stream="{}")
    assert MonitorState.from_json(state.to_json(), "s3://bucket/state.json") == state


def test_damage_is_named_with_its_place() -> None:
    """And with what to do."""
    with pytest.raises(UnreadableMonitorState, match=r"s3://bucket/state\.json cannot be read .* delete it"):
        MonitorState.from_json(b'{"cursor": 1}', "s3://bucket/state.json")


def test_only_another_configuration_begins_a_new_time() -> None:
    """Scaling changes the endpoint, but not what it serves; times are in whole seconds."""
    first = MonitorState().serving("c1", 100.7)
    assert (first.config, first.since) == ("c1", 100)
    assert first.serving("c1", 200) is first
    assert first.serving("c2", 200).since == 200


def test_the_state_of_the_release_before_reads() -> None:
    """Its alarms stay active, under the names of this release."""
    event = {"kind": "canary", "subject": "s", "body": "b"}
    earlier = {"alarms": [{"finding": event, "since": "2026-11-23T03:00:00Z", "told": True}], "config": "c1"}
    state = MonitorState.from_json(json.dumps(earlier).encode(), "s3://bucket/state.json")
    assert state.config == "c1"
    assert state.alarms == (ActiveAlarm(AlarmEvent("probe", "s", "b"), "2026-11-23T03:00:00Z", sent=True),)
