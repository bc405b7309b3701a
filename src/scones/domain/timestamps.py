"""Moments: one written form for all of them, so that their texts sort as they do."""

from datetime import UTC, datetime


def written(moment: datetime) -> str:
    """Write an aware *moment* in ISO 8601, in UTC and to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
