"""Monitor state: what one monitoring run leaves for the next, its context, and the checks beside drift."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from scones.domain.errors import MonitoringError
from scones.domain.text import DEFAULT_ENV
from scones.monitoring.alerts.notices import ActiveAlarm, AlarmEvent
from scones.monitoring.capture.cursor import CaptureCursor
from scones.monitoring.performance.registered_model import ProbeResult, RegisteredModel

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


@dataclass(frozen=True, slots=True)
class RunContext:
    """What is known when a run starts, beside the traffic: the time, the endpoint, and the bucket's URI."""

    now: datetime
    bucket_uri: str
    endpoint: str
    deployed: str
    """The endpoint configuration that was deployed last."""
    serving: str | None
    """The configuration that the endpoint has; None if it does not exist."""
    updating: bool = False
    """During an update either configuration may serve."""
    probes: tuple[ProbeResult, ...] = ()
    acknowledge: bool = False
    """Whether to acknowledge all active alarms first, so that they can fire again."""
    env: str = DEFAULT_ENV
    """The environment that commands name in alerts and notices."""


def check_endpoint(context: RunContext) -> Iterator[AlarmEvent]:
    """Problems of the endpoint and of the deployment, whatever the traffic is."""
    yield from _probe_event(context.probes)
    if not context.updating:
        yield from _release_event(context)


def check_baseline(model: RegisteredModel) -> Iterator[AlarmEvent]:
    """A baseline of another data version than the model was trained on."""
    if model.baseline.data_version != model.data_version:
        yield AlarmEvent(
            "release",
            "Scones: the baseline belongs to other photos than the model was trained on",
            f"The baseline has the data version {model.baseline.data_version}, the model {model.data_version}; drift "
            "results cannot be trusted. Train again with: scones train",
        )


def _probe_event(probes: Sequence[ProbeResult]) -> Iterator[AlarmEvent]:
    wrong = [probe for probe in probes if not probe.right]
    if wrong:
        lines = [f"{probe.key}: {probe.prediction or 'no prediction'} instead of {probe.label}" for probe in wrong]
        lines.append("The registered model predicts these photos correctly. Look at the endpoint: scones status")
        subject = f"Scones: the endpoint gets {len(wrong)} of {len(probes)} probe images wrong"
        yield AlarmEvent("probe", subject, "\n".join(lines))


def _release_event(context: RunContext) -> Iterator[AlarmEvent]:
    if context.serving is None:
        subject = f"Scones: endpoint {context.endpoint} does not exist"
        yield AlarmEvent("release", subject, "Deploy it again with: scones deploy")
    elif context.serving != context.deployed:
        yield AlarmEvent(
            "release",
            f"Scones: endpoint {context.endpoint} serves another model than was deployed",
            f"It has the configuration {context.serving}; deployed last was {context.deployed}, and photos "
            "are compared with that model's baseline. Restore it with: scones deploy",
        )
