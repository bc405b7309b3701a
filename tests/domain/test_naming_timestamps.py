"""Timestamps sort by time, and are read back to the microsecond."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from scones.domain.naming import from_iso8601, from_minutes, to_iso8601, to_minutes

ZONES = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2900, 1, 1), timezones=ZONES)  # noqa: DTZ001 - the zones are drawn


@given(MOMENTS, MOMENTS)
def test_timestamps_sort_as_their_moments(one: datetime, other: datetime) -> None:
    """Whatever the time zones."""
    assert from_iso8601(to_iso8601(one)) == one
    assert (to_iso8601(one) < to_iso8601(other)) == (one < other)


def test_a_timestamp_is_in_utc_and_ends_with_z() -> None:
    """Whatever the zone of the moment or of the machine."""
    moment = datetime(2026, 11, 29, 10, tzinfo=timezone(timedelta(hours=5)))
    assert to_iso8601(moment) == "2026-11-29T05:00:00.000000Z"
    assert from_minutes(0.5) == "1970-01-01T00:00:30.000000Z"


def test_a_timestamp_keeps_its_zone() -> None:
    """It is a moment, not a text."""
    assert from_iso8601("2026-11-29T10:00:00+05:00") == datetime(2026, 11, 29, 5, tzinfo=UTC)


def test_a_timestamp_without_a_zone_is_in_utc() -> None:
    """An event's `seen_at` may lack it."""
    assert from_iso8601("2026-11-29T10:00:00") == datetime(2026, 11, 29, 10, tzinfo=UTC)


@given(st.floats(0, 4e8))
def test_minutes_are_read_back(minutes: float) -> None:
    """To the microsecond, which is what a timestamp holds."""
    assert abs(to_minutes(from_minutes(minutes)) - minutes) < 1e-6
