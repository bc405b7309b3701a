"""Notices: an alert as text for SNS and as JSON for programs, and the alarms that stay active until acknowledged."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from scones.domain.text import name_env, plural
from scones.monitoring.alerts.alert import AlarmTime, Alert, FalseAlarmOdds
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import with_interval
from scones.monitoring.run import RunResult

MAX_SUBJECT_CHARACTERS = 100
"""SNS accepts no longer subject, and only ASCII."""
_MINUTES = len("2026-11-23T03:00")

AlarmKind = Literal["drift", "prediction", "probe", "release"]
"""Changed photos or predictions; predictions that the registered model does not give; wrong predictions of probe
images; another model than the one deployed last."""


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """A problem that was found: a subject of one short line, and a body of a few more."""

    kind: AlarmKind
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class ActiveAlarm:
    """An alarm that is active: its event, when it fired (UTC), and whether its notice was sent."""

    event: AlarmEvent
    since: str
    report_uri: str = ""
    """The alert page, if there is one."""
    document: str = ""
    """The alert as JSON, for programs."""
    sent: bool = False

    @property
    def kind(self) -> AlarmKind:
        """The kind of alarm; of each kind one is active at a time."""
        return self.event.kind


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the alert topic."""

    subject: str
    body: str
    attributes: Mapping[str, str] = field(default_factory=dict)


def new_alarms(active: Iterable[ActiveAlarm], events: Iterable[AlarmEvent]) -> tuple[AlarmEvent, ...]:
    """The *events* whose kind is not active yet; an active alarm is neither renewed nor sent again."""
    kinds = {alarm.kind for alarm in active}
    return tuple(event for event in events if event.kind not in kinds)


def notice_of(alarm: ActiveAlarm, env: str) -> Notice:
    """The notice of an alarm in environment *env*."""
    # An alert's own text names its page, and says what to do when it is fixed.
    again = name_env("scones monitor --acknowledge", env)
    end = "" if alarm.report_uri else f"\n\nThis alarm is not sent again until you run: {again}"
    return Notice(alarm.event.subject, alarm.event.body + end, {"alert": alarm.document} if alarm.document else {})


def alert_event(alert: Alert, page_uri: str) -> AlarmEvent:
    """Photos or predictions have changed, or another model answers."""
    kind: AlarmKind = "prediction" if alert.cause.certain else "drift"
    return AlarmEvent(kind, subject_line(alert), notice_text(alert, page_uri))


def drift_beside_model_event(alert: Alert | None, run: RunResult) -> Iterator[AlarmEvent]:
    """Photos or predictions changed too in a run that found another model: the alert is about the model only."""
    if alert is None or not alert.cause.certain or not (run.verdict.alarm or run.stream_alarm):
        return
    since = f", since photo {run.stream_alarm.onset:,}" if run.stream_alarm else ""
    names = [shift.name.replace("_", " ") for shift in run.verdict.changed()]
    lines = [
        f"Photos or predictions changed as well{since}, beside another model's predictions.",
        *([f"Above the threshold: {', '.join(names)}"] if names else []),
        "The other model's predictions may explain all of it. Put the model right first: scones deploy",
        "Then acknowledge the alarm: if the photos themselves changed, it fires again.",
    ]
    yield AlarmEvent("drift", f"Scones: photos or predictions changed too{since}", "\n".join(lines))


def subject_line(alert: Alert) -> str:
    """The cause, and as many whole phrases about the change as a subject line holds."""
    words = list(alert.headline)
    start = f"Scones {alert.severity}: {alert.cause.cause}"
    loss = _loss(alert)
    while words:
        line = f"{start}: {', '.join(words)}{loss}"
        if len(line) <= MAX_SUBJECT_CHARACTERS and line.isascii() and line.isprintable():
            return line
        words.pop()
    line = f"{start}{loss}"
    return line if len(line) <= MAX_SUBJECT_CHARACTERS else start


def notice_text(alert: Alert, page_uri: str) -> str:
    """The notice's body: what changed, since when, how certain, what to do, and where the page with the photos is."""
    return "\n".join(_lines(alert, page_uri)) + "\n"


def alert_json(alert: Alert, page_uri: str) -> str:
    """The alert for programs: everything but the photos, which are named by their events."""
    found = {
        "format": "scones-alert-2",
        "severity": alert.severity,
        "cause": alert.cause.cause,
        "certain": alert.cause.certain,
        "reason": alert.cause.reason,
        "endpoint": alert.endpoint,
        "since": {name: getattr(alert.when, name) for name in AlarmTime.__slots__},
        "features": [
            {"name": m.feature, "before": m.before, "now": m.now, "word": m.word, "times_threshold": round(m.times, 3)}
            for m in alert.changes
        ],
        "accuracy": {"before": alert.accuracy_before, "estimate": _fields(alert.accuracy)},
        "mix": {name: {"before": before, "now": now} for name, before, now in alert.class_mix},
        "odds": _odds_fields(alert.odds),
        "steps": [{"text": step.text, "command": step.command} for step in alert.steps],
        "worst": [example.event for example in alert.examples],
        "label": [{"event": item.event, "time": item.time, "chance": item.chance} for item in alert.to_label],
        "page": page_uri,
    }
    return json.dumps(found)


def accuracy_line(alert: Alert) -> str:
    """The accuracy before and now."""
    before, now = f"{alert.accuracy_before:.0%}", alert.accuracy
    if now is None:
        return f"{before} when trained; not known now"
    trust = "trusted" if now.trusted else "NOT to be trusted"
    return f"{before} -> {with_interval(now)}, estimated without labels, {trust}: {now.why}"


def format_time(time: str) -> str:
    """A captured time, to the minute."""
    return f"{time[:_MINUTES].replace('T', ' ')} UTC" if len(time) >= _MINUTES else time or "an unknown time"


def since_line(when: AlarmTime) -> str:
    """The estimated onset, and when the alarm fired."""
    began = f"photo {when.onset:,}" + (f", {format_time(when.onset_time)}" if when.onset_time else "")
    fired = f"it fired at photo {when.photo:,}" + (f", {format_time(when.time)}" if when.time else "")
    return f"{began} (estimated); {fired}"


def odds_lines(alert: Alert) -> Iterator[str]:
    """How likely the alarm is noise."""
    odds = alert.odds
    if alert.cause.certain:
        yield "certain: the registered model predicted the same photos, so chance plays no part"
        return
    if odds.times:
        rare = f"{float(f'{odds.unchanged:.2g}'):,.0f}"
        yield f"{plural(odds.photos, 'photo')}, {odds.times:.1f} times the threshold"
        yield f"at most 1 in {rare} unchanged windows scores so high: that is the probability that this is noise"
    else:
        yield f"{plural(odds.photos, 'photo')}, each change small by itself; the stream detector found that they add up"
    yield f"the threshold allows {odds.per_thousand:g} false alarms per 1,000 photos"


def _lines(alert: Alert, page_uri: str) -> Iterator[str]:
    likely = "Certain" if alert.cause.certain else "Probable"
    yield f"{likely} cause: {alert.cause.cause}. {alert.cause.reason[:1].upper()}{alert.cause.reason[1:]}."
    yield f"Endpoint: {alert.endpoint}"
    yield f"Since: {since_line(alert.when)}"
    yield f"Accuracy: {accuracy_line(alert)}"
    yield from (f"Class {name}: {before:.0%} -> {now:.0%} of the photos" for name, before, now in alert.class_mix)
    yield ""
    if alert.changes:
        yield "What changed most:"
        yield from (f"- {change}" for change in alert.changes)
        yield ""
    yield "What to do now:"
    for number, step in enumerate(alert.steps, start=1):
        yield f"{number}. {step.text}"
        if step.command:
            yield f"   {step.command}"
    yield ""
    yield f"How certain: {'; '.join(odds_lines(alert))}."
    yield f"The photos, and {len(alert.to_label)} to label next: {page_uri}"


def _loss(alert: Alert) -> str:
    now = alert.accuracy
    return f"; accuracy {alert.accuracy_before:.0%} -> {now.accuracy:.0%}" if now is not None and now.trusted else ""


def _fields(estimate: AccuracyEstimate | None) -> dict[str, object] | None:
    return None if estimate is None else {name: getattr(estimate, name) for name in AccuracyEstimate.__slots__}


def _odds_fields(odds: FalseAlarmOdds) -> dict[str, float]:
    return {
        "photos": odds.photos,
        "times_threshold": odds.times,
        "unchanged": odds.unchanged,
        "per_thousand": odds.per_thousand,
    }


@dataclass(frozen=True, slots=True)
class AlertSummary:
    """The main points of an alert in words."""

    subject: str
    severity: str
    cause: str
    reason: str
    photo: int
    """The number of the photo at which the alarm fired."""
    since: str
    accuracy: tuple[str, ...]
    changes: tuple[str, ...]


def summarize(alert: Alert) -> AlertSummary:
    """The main points of an alert."""
    return AlertSummary(
        subject=subject_line(alert),
        severity=alert.severity,
        cause=alert.cause.cause,
        reason=alert.cause.reason,
        photo=alert.when.photo,
        since=since_line(alert.when),
        accuracy=(accuracy_line(alert),),
        changes=tuple(str(change) for change in alert.changes),
    )
