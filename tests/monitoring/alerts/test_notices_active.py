"""An alarm rings once while it stands."""

from scones.monitoring.alerts.notices import ActiveAlarm, AlarmEvent, new_alarms

DRIFT, CANARY = AlarmEvent("drift", "photos have changed", ""), AlarmEvent("canary", "wrong answers", "")


def test_what_stands_is_not_found_anew() -> None:
    """Of a kind one alarm stands at a time; another kind rings beside it."""
    assert new_alarms((), [DRIFT, CANARY]) == (DRIFT, CANARY)
    standing = (ActiveAlarm(DRIFT, "2026-11-23T12:00:00Z", told=True),)
    assert new_alarms(standing, [AlarmEvent("drift", "changed even more", ""), CANARY]) == (CANARY,)
    assert new_alarms(standing, []) == ()
