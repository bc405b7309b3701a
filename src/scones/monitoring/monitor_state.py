"""Remembered: what one look leaves for the next, as one JSON object."""

import math
from dataclasses import dataclass, field, replace

import msgspec

from scones.domain.errors import SconesError
from scones.monitoring.alerts.notices import ActiveAlarm
from scones.monitoring.capture.cursor import CaptureCursor


class UnreadableMonitorState(SconesError):
    """What the looks before this one left in the bucket is damaged, or of another version."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"{uri} cannot be read ({reason}); delete it, and the next look reads the whole capture again")


@dataclass(frozen=True, slots=True)
class MonitorState:
    """How far the capture was read, the alarms that stand, and what the endpoint serves since when."""

    cursor: CaptureCursor = field(default_factory=CaptureCursor)
    alarms: tuple[ActiveAlarm, ...] = ()
    config: str = ""
    since: float = 0.0
    """Since when the endpoint has had this configuration, by AWS's clock."""
    stream: str = ""
    """What the stream detector carries from look to look."""

    def serving(self, config: str, since: float) -> "MonitorState":
        """Note what the endpoint serves, if that is new."""
        # Captures tell the time in whole seconds.
        return self if config == self.config else replace(self, config=config, since=math.floor(since))

    def to_json(self) -> bytes:
        """Write it."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, body: bytes, uri: str) -> "MonitorState":
        """Read what `to_json` wrote; *uri* is for the error.

        Raises:
            StateUnreadable: damaged, or of another version.
        """
        try:
            return msgspec.json.decode(body, type=cls)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise UnreadableMonitorState(uri, str(error)) from error
