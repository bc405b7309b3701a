"""The monitor's state: what one run leaves for the next, as one JSON object."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from scones.domain.errors import MonitoringError
from scones.monitoring.alerts.notices import ActiveAlarm
from scones.monitoring.capture.cursor import CaptureCursor

_EARLIER_KINDS = {"replay": "prediction", "canary": "probe"}


class UnreadableMonitorState(MonitoringError):
    """The state in the bucket is damaged, or from another version."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(
            f"{uri} cannot be read ({reason}); delete it, and the next run of scones monitor reads the whole capture"
        )


@dataclass(frozen=True, slots=True)
class MonitorState:
    """How far the capture was read, the active alarms, and which configuration the endpoint has since when."""

    cursor: CaptureCursor = field(default_factory=CaptureCursor)
    alarms: tuple[ActiveAlarm, ...] = ()
    config: str = ""
    since: float = 0.0
    """When the endpoint got this configuration, by AWS's clock."""
    stream: str = ""
    """The stream detector's state."""

    def serving(self, config: str, since: float) -> "MonitorState":
        """Note the endpoint's configuration, if it is new."""
        # Captures have times in whole seconds.
        return self if config == self.config else replace(self, config=config, since=math.floor(since))

    def with_sent_notices(self) -> "MonitorState":
        """Note that all notices were sent."""
        return replace(self, alarms=tuple(replace(alarm, sent=True) for alarm in self.alarms))

    def to_json(self) -> bytes:
        """Encode as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, body: bytes, uri: str) -> "MonitorState":
        """Decode what `to_json` returned, in this release or the one before; *uri* is for the error.

        Raises:
            UnreadableMonitorState: damaged, or from another version.
        """
        try:
            found = msgspec.json.decode(body, type=dict[str, Any])
            return msgspec.convert(found | {"alarms": [_current(alarm) for alarm in found.get("alarms", ())]}, type=cls)
        except (msgspec.ValidationError, msgspec.DecodeError, TypeError, AttributeError) as error:
            raise UnreadableMonitorState(uri, str(error)) from error


def _current(alarm: dict[str, Any]) -> dict[str, Any]:
    """Translate an alarm as release 0.1 stored it."""
    if "finding" not in alarm:
        return alarm
    event = alarm["finding"]
    kept = {name: value for name, value in alarm.items() if name not in {"finding", "told"}}
    kind = _EARLIER_KINDS.get(event["kind"], event["kind"])
    return kept | {"event": event | {"kind": kind}, "sent": alarm.get("told", False)}
