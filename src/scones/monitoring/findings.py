"""Findings: what is wrong, in the words of a notice: a subject that SNS takes, and a few lines that say what to do."""

from collections.abc import Iterator, Sequence

from scones.monitoring.alert import Alert
from scones.monitoring.canary import Canary
from scones.monitoring.detectors import Verdict
from scones.monitoring.latch import Finding, Kind
from scones.monitoring.notice import subject, text
from scones.monitoring.watch import Alarm


def of_alert(alert: Alert, page_uri: str) -> Finding:
    """Photos or answers have changed, or another model answers."""
    kind: Kind = "replay" if alert.reason.certain else "drift"
    return Finding(kind, subject(alert), text(alert, page_uri))


def of_both(alert: Alert | None, verdict: Verdict, rung: Alarm | None) -> Iterator[Finding]:
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
    yield Finding("drift", f"Scones: photos or answers changed too{since}", "\n".join(lines))


def of_canaries(canaries: Sequence[Canary]) -> Iterator[Finding]:
    """Photos that the registered model knows were answered wrongly, or not."""
    wrong = [canary for canary in canaries if not canary.right]
    if wrong:
        lines = [f"{canary.key}: {canary.answer or 'no answer'} instead of {canary.label}" for canary in wrong]
        lines.append("The registered model knows these photos. Look at the endpoint: scones status")
        yield Finding(
            "canary",
            f"Scones: the endpoint answers {len(wrong)} of {len(canaries)} known photos wrongly",
            "\n".join(lines),
        )


def of_release(endpoint: str, serves: str | None, deployed: str) -> Iterator[Finding]:
    """Another configuration at *endpoint* than was *deployed* last; *serves* is None where the endpoint is gone."""
    if serves is None:
        yield Finding("release", f"Scones: endpoint {endpoint} is gone", "Bring it back with: scones deploy")
    elif serves != deployed:
        yield Finding(
            "release",
            f"Scones: endpoint {endpoint} serves another model than was deployed",
            f"It has the configuration {serves}; deployed last was {deployed}, and photos are compared with the "
            "baseline of that one's model. Put it right with: scones deploy",
        )


def of_baseline(baseline: str, model: str) -> Iterator[Finding]:
    """A baseline measured on photos of another version than the model was trained on."""
    if baseline != model:
        yield Finding(
            "release",
            "Scones: the baseline is of other photos than the model was trained on",
            f"The baseline says {baseline}, the model {model}; no verdict on drift can be trusted. "
            "Train again with: scones train",
        )
