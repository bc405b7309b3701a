"""Notices: an alert as text for SNS and as JSON for programs, and the alarms that stay active until acknowledged."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from scones.monitoring.alerts.alert import AccuracyChange, AlarmTime, Alert, FalseAlarmOdds
from scones.monitoring.drift.stream_detector import StreamAlarm
from scones.monitoring.drift.window_test import WindowVerdict
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import LabelledAccuracy, with_interval
from scones.monitoring.performance.prediction_check import ProbeResult

AlarmKind = Literal["drift", "replay", "canary", "release"]
"""Changed photos; answers that the registered model does not give; known photos that are answered wrongly; another
model than the one deployed last."""


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """What is wrong: a subject of one short line, and a body of a few more."""

    kind: AlarmKind
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class ActiveAlarm:
    """An alarm that stands: what was found first, and when (UTC); *told* says whether the notice has gone out."""

    finding: AlarmEvent
    since: str
    report_uri: str = ""
    """The page that shows it, if there is one."""
    document: str = ""
    """The same for programs, as JSON."""
    told: bool = False

    @property
    def kind(self) -> AlarmKind:
        """What kind of alarm it is; of each, one stands at a time."""
        return self.finding.kind


def new_alarms(standing: Iterable[ActiveAlarm], findings: Iterable[AlarmEvent]) -> tuple[AlarmEvent, ...]:
    """Give those of *findings* whose kind does not stand yet; one that stands is neither renewed nor told again."""
    kinds = {alarm.kind for alarm in standing}
    return tuple(finding for finding in findings if finding.kind not in kinds)


SUBJECT_CHARACTERS = 100
"""SNS takes no longer subject, and nothing but ASCII in it."""
_MINUTES = len("2026-11-23T03:00")


def subject_line(alert: Alert) -> str:
    """Say the cause, and how the photos changed, in as many whole phrases as a subject line holds."""
    words = list(alert.headline)
    start = f"Scones {alert.severity}: {alert.reason.cause}"
    loss = _loss(alert.accuracy)
    while words:
        line = f"{start}: {', '.join(words)}{loss}"
        if len(line) <= SUBJECT_CHARACTERS and line.isascii() and line.isprintable():
            return line
        words.pop()
    line = f"{start}{loss}"
    return line if len(line) <= SUBJECT_CHARACTERS else start


def notice_text(alert: Alert, page_uri: str) -> str:
    """Write the notice's body: what, since when, how sure, what to do, and where the page with the photos is."""
    return "\n".join(_lines(alert, page_uri)) + "\n"


def alert_json(alert: Alert, page_uri: str) -> str:
    """Write the alert for programs: all but the photos, of which the captured events are named."""
    accuracy = alert.accuracy
    found = {
        "format": "scones-alert-1",
        "severity": alert.severity,
        "cause": alert.reason.cause,
        "certain": alert.reason.certain,
        "because": alert.reason.because,
        "endpoint": alert.endpoint,
        "since": {name: getattr(alert.since, name) for name in AlarmTime.__slots__},
        "channels": [
            {"name": m.channel, "before": m.before, "now": m.now, "word": m.word, "times_the_line": round(m.times, 3)}
            for m in alert.moved
        ],
        "accuracy": {"before": accuracy.before}
        | {name: _figure(getattr(accuracy, name)) for name in ("estimate", "exact", "corrected")},
        "mix": {name: {"before": before, "now": now} for name, before, now in alert.mix},
        "odds": {name: getattr(alert.odds, name) for name in FalseAlarmOdds.__slots__},
        "steps": [{"text": step.text, "command": step.command} for step in alert.steps],
        "worst": [example.event for example in alert.worst],
        "label": [{"event": item.event, "time": item.time, "chance": item.chance} for item in alert.label],
        "page": page_uri,
    }
    return json.dumps(found)


def accuracy_lines(accuracy: AccuracyChange) -> Iterator[str]:
    """Say what is known of the accuracy, the best figure first."""
    before = f"{accuracy.before:.0%}"
    if accuracy.corrected is not None:
        yield f"{before} -> {with_interval(accuracy.corrected)} on all photos, from {accuracy.corrected.labels} labels"
    if accuracy.exact is not None:
        yield f"{before} -> {with_interval(accuracy.exact)} on the {accuracy.exact.labels} labelled photos"
    estimate = accuracy.estimate
    if estimate is not None:
        trust = "trusted" if estimate.trusted else "NOT to be trusted"
        yield f"{before} -> {with_interval(estimate)}, estimated without labels, {trust}: {estimate.why}"
    elif accuracy.exact is None:
        yield f"{before} when trained; not known now"


def format_time(time: str) -> str:
    """Show a captured time to the minute."""
    return f"{time[:_MINUTES].replace('T', ' ')} UTC" if len(time) >= _MINUTES else time or "an unknown time"


def since_lines(since: AlarmTime) -> Iterator[str]:
    """Say when it began, by estimate, and when it rang."""
    began = f"photo {since.onset:,}" + (f", {format_time(since.onset_time)}" if since.onset_time else "")
    yield f"{began} (estimated); it rang at photo {since.photo:,}" + (
        f", {format_time(since.time)}" if since.time else ""
    )


def odds_lines(alert: Alert) -> Iterator[str]:
    """Say how likely this is noise."""
    odds = alert.odds
    if alert.reason.certain:
        yield "certain: the same photos were asked twice, so no chance is in it"
        return
    if odds.times_the_line:
        rare = f"{float(f'{odds.unchanged:.2g}'):,.0f}"
        yield f"{odds.photos:,} photos, {odds.times_the_line:.1f} times the alarm line"
        yield f"at most 1 in {rare} unchanged batches scores so high: that is the chance that this is noise"
    else:
        yield f"{odds.photos:,} photos, each change small by itself; the watch over the stream found them to add up"
    yield f"the alarm line allows {odds.per_thousand:g} false alarms per 1,000 photos"


def _lines(alert: Alert, page_uri: str) -> Iterator[str]:
    likely = "Certain" if alert.reason.certain else "Likely"
    yield f"{likely} cause: {alert.reason.cause}. {_sentence(alert.reason.because)}"
    yield f"Endpoint: {alert.endpoint}"
    yield f"Since: {next(since_lines(alert.since))}"
    yield "Right answers: " + "; ".join(accuracy_lines(alert.accuracy))
    yield from (f"Class {name}: {before:.0%} -> {now:.0%} of the photos" for name, before, now in alert.mix)
    yield ""
    if alert.moved:
        yield "What moved most:"
        yield from (f"- {moved}" for moved in alert.moved)
        yield ""
    yield "What to do now:"
    for number, step in enumerate(alert.steps, start=1):
        yield f"{number}. {step.text}"
        if step.command:
            yield f"   {step.command}"
    yield ""
    yield f"How sure: {'; '.join(odds_lines(alert))}."
    yield f"The photos, and {len(alert.label)} to label next: {page_uri}"


def _loss(accuracy: AccuracyChange) -> str:
    best = accuracy.corrected or accuracy.exact or accuracy.estimate
    if best is None or (isinstance(best, AccuracyEstimate) and not best.trusted):
        return ""
    return f"; accuracy {accuracy.before:.0%} -> {best.accuracy:.0%}"


def _figure(figure: LabelledAccuracy | AccuracyEstimate | None) -> dict[str, object] | None:
    return None if figure is None else {name: getattr(figure, name) for name in type(figure).__slots__}


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


@dataclass(frozen=True, slots=True)
class AlertSummary:
    """The essence of an alert in words, for whoever shows it among other things."""

    subject: str
    severity: str
    cause: str
    because: str
    photo: int
    """The number of the photo at which it rang."""
    since: str
    accuracy: tuple[str, ...]
    moved: tuple[str, ...]


def summarize(alert: Alert) -> AlertSummary:
    """Say the essence."""
    return AlertSummary(
        subject=subject_line(alert),
        severity=alert.severity,
        cause=alert.reason.cause,
        because=alert.reason.because,
        photo=alert.since.photo,
        since=next(since_lines(alert.since)),
        accuracy=tuple(accuracy_lines(alert.accuracy)),
        moved=tuple(str(moved) for moved in alert.moved),
    )


def alert_event(alert: Alert, page_uri: str) -> AlarmEvent:
    """Photos or answers have changed, or another model answers."""
    kind: AlarmKind = "replay" if alert.reason.certain else "drift"
    return AlarmEvent(kind, subject_line(alert), notice_text(alert, page_uri))


def drift_beside_model_event(
    alert: Alert | None, verdict: WindowVerdict, rung: StreamAlarm | None
) -> Iterator[AlarmEvent]:
    """Photos or answers that changed too, in a look that found another model: the alert is of that alone."""
    if alert is None or not alert.reason.certain or not (verdict.alarm or rung):
        return
    since = f", since photo {rung.onset:,}" if rung else ""
    loud = [shift.name for shift in verdict.channels if verdict.threshold and shift.score > verdict.threshold]
    lines = [
        f"What the photos measure changed as well{since}, beside another model's answers.",
        *([f"Beyond the alarm line: {', '.join(name.replace('_', ' ') for name in loud)}"] if loud else []),
        "Other answers may be all there is to it. Put the model right first: scones deploy",
        "Then acknowledge: what is wrong with the photos themselves rings again.",
    ]
    yield AlarmEvent("drift", f"Scones: photos or answers changed too{since}", "\n".join(lines))


def probe_event(canaries: Sequence[ProbeResult]) -> Iterator[AlarmEvent]:
    """Photos that the registered model knows were answered wrongly, or not."""
    wrong = [canary for canary in canaries if not canary.right]
    if wrong:
        lines = [f"{canary.key}: {canary.answer or 'no answer'} instead of {canary.label}" for canary in wrong]
        lines.append("The registered model knows these photos. Look at the endpoint: scones status")
        yield AlarmEvent(
            "canary",
            f"Scones: the endpoint answers {len(wrong)} of {len(canaries)} known photos wrongly",
            "\n".join(lines),
        )


def release_event(endpoint: str, serves: str | None, deployed: str) -> Iterator[AlarmEvent]:
    """Another configuration at *endpoint* than was *deployed* last; *serves* is None where the endpoint is gone."""
    if serves is None:
        yield AlarmEvent("release", f"Scones: endpoint {endpoint} is gone", "Bring it back with: scones deploy")
    elif serves != deployed:
        yield AlarmEvent(
            "release",
            f"Scones: endpoint {endpoint} serves another model than was deployed",
            f"It has the configuration {serves}; deployed last was {deployed}, and photos are compared with the "
            "baseline of that one's model. Put it right with: scones deploy",
        )


def baseline_event(baseline: str, model: str) -> Iterator[AlarmEvent]:
    """A baseline measured on photos of another version than the model was trained on."""
    if baseline != model:
        yield AlarmEvent(
            "release",
            "Scones: the baseline is of other photos than the model was trained on",
            f"The baseline says {baseline}, the model {model}; no verdict on drift can be trusted. "
            "Train again with: scones train",
        )
