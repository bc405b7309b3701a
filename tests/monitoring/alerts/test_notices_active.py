"""An alarm rings once while it stands."""

from scones.monitoring.alerts.notices import ActiveAlarm, Finding, fresh

DRIFT, CANARY = Finding("drift", "photos have changed", ""), Finding("canary", "wrong answers", "")


def test_what_stands_is_not_found_anew() -> None:
    """Of a kind one alarm stands at a time; another kind rings beside it."""
    assert fresh((), [DRIFT, CANARY]) == (DRIFT, CANARY)
    standing = (ActiveAlarm(DRIFT, "2026-11-23T12:00:00Z", told=True),)
    assert fresh(standing, [Finding("drift", "changed even more", ""), CANARY]) == (CANARY,)
    assert fresh(standing, []) == ()
