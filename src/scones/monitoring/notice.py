"""Notice: the alert as text for SNS, which a phone shows at 3 a.m., and as JSON for programs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from scones.monitoring.accuracy import Estimate
from scones.monitoring.alert import Accuracy, Alert, Odds, Since
from scones.monitoring.labels import Figure

SUBJECT_CHARACTERS = 100
"""SNS takes no longer subject, and nothing but ASCII in it."""
_MINUTES = len("2026-11-23T03:00")


def subject(alert: Alert) -> str:
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


def text(alert: Alert, page_uri: str) -> str:
    """Write the notice's body: what, since when, how sure, what to do, and where the page with the photos is."""
    return "\n".join(_lines(alert, page_uri)) + "\n"


def to_json(alert: Alert, page_uri: str) -> str:
    """Write the alert for programs: all but the photos, of which the captured events are named."""
    accuracy = alert.accuracy
    found = {
        "format": "scones-alert-1",
        "severity": alert.severity,
        "cause": alert.reason.cause,
        "certain": alert.reason.certain,
        "because": alert.reason.because,
        "endpoint": alert.endpoint,
        "since": {name: getattr(alert.since, name) for name in Since.__slots__},
        "channels": [
            {"name": m.channel, "before": m.before, "now": m.now, "word": m.word, "times_the_line": round(m.times, 3)}
            for m in alert.moved
        ],
        "accuracy": {"before": accuracy.before}
        | {name: _figure(getattr(accuracy, name)) for name in ("estimate", "exact", "corrected")},
        "mix": {name: {"before": before, "now": now} for name, before, now in alert.mix},
        "odds": {name: getattr(alert.odds, name) for name in Odds.__slots__},
        "steps": [{"text": step.text, "command": step.command} for step in alert.steps],
        "worst": [example.event for example in alert.worst],
        "label": [{"event": item.event, "time": item.time, "chance": item.chance} for item in alert.label],
        "page": page_uri,
    }
    return json.dumps(found)


def accuracy_lines(accuracy: Accuracy) -> Iterator[str]:
    """Say what is known of the accuracy, the best figure first."""
    before = f"{accuracy.before:.0%}"
    if accuracy.corrected is not None:
        yield f"{before} -> {in_range(accuracy.corrected)} on all photos, from {accuracy.corrected.labels} labels"
    if accuracy.exact is not None:
        yield f"{before} -> {in_range(accuracy.exact)} on the {accuracy.exact.labels} labelled photos"
    estimate = accuracy.estimate
    if estimate is not None:
        trust = "trusted" if estimate.trusted else "NOT to be trusted"
        yield f"{before} -> {in_range(estimate)}, estimated without labels, {trust}: {estimate.why}"
    elif accuracy.exact is None:
        yield f"{before} when trained; not known now"


def at(time: str) -> str:
    """Show a captured time to the minute."""
    return f"{time[:_MINUTES].replace('T', ' ')} UTC" if len(time) >= _MINUTES else time or "an unknown time"


def since_lines(since: Since) -> Iterator[str]:
    """Say when it began, by estimate, and when it rang."""
    began = f"photo {since.onset:,}" + (f", {at(since.onset_time)}" if since.onset_time else "")
    yield f"{began} (estimated); it rang at photo {since.photo:,}" + (f", {at(since.time)}" if since.time else "")


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


def _loss(accuracy: Accuracy) -> str:
    best = accuracy.corrected or accuracy.exact or accuracy.estimate
    if best is None or (isinstance(best, Estimate) and not best.trusted):
        return ""
    return f"; accuracy {accuracy.before:.0%} -> {best.accuracy:.0%}"


def in_range(figure: Figure | Estimate) -> str:
    """Show an accuracy with its 90% interval."""
    return f"{figure.accuracy:.0%} [{100 * figure.low:.0f}-{100 * figure.high:.0f}]"


def _figure(figure: Figure | Estimate | None) -> dict[str, object] | None:
    return None if figure is None else {name: getattr(figure, name) for name in type(figure).__slots__}


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


@dataclass(frozen=True, slots=True)
class Told:
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


def in_short(alert: Alert) -> Told:
    """Say the essence."""
    return Told(
        subject=subject(alert),
        severity=alert.severity,
        cause=alert.reason.cause,
        because=alert.reason.because,
        photo=alert.since.photo,
        since=next(since_lines(alert.since)),
        accuracy=tuple(accuracy_lines(alert.accuracy)),
        moved=tuple(str(moved) for moved in alert.moved),
    )
