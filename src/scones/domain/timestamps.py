"""Timestamps: ISO 8601 in UTC, to the microsecond, so that the texts sort by time."""

from datetime import UTC, datetime


def to_iso8601(moment: datetime) -> str:
    """Format *moment*, which must have a time zone."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_iso8601(text: str) -> datetime:
    """Parse a timestamp; without a time zone it is in UTC.

    Raises:
        ValueError: *text* is not in ISO 8601.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def to_minutes(text: str) -> float:
    """Minutes from 1970 to a timestamp."""
    return from_iso8601(text).timestamp() / 60


def from_minutes(minutes: float) -> str:
    """The timestamp so many *minutes* after 1970."""
    return to_iso8601(datetime.fromtimestamp(minutes * 60, UTC))
