"""Render: the result of a command as a few lines of text."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scones.domain.decision import Outcome

if TYPE_CHECKING:
    from scones.evaluation.evaluation import Evaluation
    from scones.evaluation.load_test import LoadLevel
    from scones.monitoring.inspect import MonitorResult
    from scones.steps.classify import ClassifyResult
    from scones.steps.dispatch import DispatchResult
    from scones.steps.simulate import SimulationResult
    from scones.steps.stage import StageResult
    from scones.steps.train import TrainingResult

_FEW = 10
"""Up to this many photos are shown one by one; of more, the counts."""


def render(result: object) -> str:
    """Return the *result* of a command as lines of text; a type without a function of its own shows its fields."""
    words: Callable[[Any], Iterable[str]] = getattr(type(result), "summary", _WORDS.get(type(result).__name__, _fields))
    return "\n".join(words(result))


def _staged(result: "StageResult") -> Iterable[str]:
    yield f"{result.name}: {result.train} training and {result.test} test photos of {', '.join(result.classes)}"
    yield f"version {result.version}, {result.uploaded} photos uploaded"
    if result.leaks:
        yield f"{result.leaks} training photos left out because they duplicate a test photo"
    if result.moved:
        yield f"{result.moved} photos moved to the split that has a photo of the same picture"
    for photo in result.left_out:
        yield f"left out: {photo.name}: {photo.reason}"


def _trained(result: "TrainingResult") -> Iterable[str]:
    yield f"{result.job}: {result.seconds:.0f} s"
    yield from (f"{name} {value:.4g}" for name, value in result.metrics.items())
    yield f"model {result.model_uri}"


def _classified(result: "ClassifyResult") -> Iterable[str]:
    if len(result.executions) <= _FEW:
        for item in result.executions:
            decision = f"{item.label} {item.confidence:.3f}" if item.label else item.error
            yield f"{item.key}: {item.outcome.replace('_', ' ')}: {decision} (execution {item.name})"
    yield ", ".join(f"{result.count(outcome)} {outcome.replace('_', ' ')}" for outcome in Outcome)


def _evaluation(result: "Evaluation") -> Iterable[str]:
    metrics, threshold = result.metrics, result.threshold
    low, high = metrics.interval.low, metrics.interval.high
    if result.data.kind != "photos":
        yield "DRAWINGS, not photos: these figures say nothing about photos"
    yield f"accuracy {metrics.accuracy:.3f} [{low:.3f} to {high:.3f}, 95%], n = {metrics.n}"
    if (folds := result.out_of_fold) is not None:
        interval = f"[{folds.interval.low:.3f} to {folds.interval.high:.3f}, 95%]"
        yield f"cross-validated accuracy on the training photos {folds.accuracy:.3f} {interval}, n = {folds.n}"
    yield f"accuracy at 90% coverage {result.accuracy_at_90:.3f}"
    beside = f"{result.ece_before:.3f} without temperature scaling, {result.ece_by_chance:.3f} by chance if perfect"
    yield f"calibration error {metrics.ece:.3f} ({beside})"
    if metrics.auc is not None and metrics.pr_auc is not None:
        yield f"ROC AUC {metrics.auc:.4f}, average precision {metrics.pr_auc:.4f}"
    yield from _detector_and_int8(result)
    best, now = threshold.selection.best, threshold.terms.current
    yield f"proposed threshold {best.threshold:g} (currently {now:g}): {threshold.guarantee}"
    current, proposed = threshold.current, threshold.proposed
    dollars = f"${current.dollars_per_1000:,.2f} -> ${proposed.dollars_per_1000:,.2f}"
    routed = f"routed {current.coverage:.1%} -> {proposed.coverage:.1%}"
    yield f"  {routed}, cost of 1,000 photos {dollars}, on the test photos"
    for item in result.robustness:
        yield f"{item.kind:<10} {item.severity}  accuracy {item.accuracy:.3f}, {item.coverage:.1%} above threshold"
    if result.comparison:
        yield f"against {result.comparison.other}: {result.comparison.verdict}"
    for load in result.load:
        yield from (_level(load.target, level) for level in load.levels)
    yield from (f"gate failed: {check}" for check in result.gate if not check.passed)
    if result.report:
        yield f"report {result.report}"


def _detector_and_int8(result: "Evaluation") -> Iterable[str]:
    if result.ood:
        yield f"{result.ood.rejected:.1%} of the test photos are rejected as out of distribution"
        for group in result.ood.groups:
            yield f"  {group.kind}: {group.accepted:.1%} of {group.n} not rejected, ROC AUC {group.auc:.3f}"
    if result.int8:
        yield f"int8: accuracy {result.int8.difference:+.3f}, {result.int8.times_faster:.1f} times faster"


def _level(target: str, level: "LoadLevel") -> str:
    late = "no response" if level.p50 is None else f"p50 {level.p50:.1f}, p95 {level.p95:.1f}, p99 {level.p99:.1f} ms"
    errors = f", {sum(level.errors.values())} errors" if level.errors else ""
    return f"{target}, {_count(level.clients, 'client')}: {level.per_second:.0f}/s, {late}{errors}"


def _monitored(result: "MonitorResult") -> Iterable[str]:
    verdict = result.verdict
    if not verdict.enough:
        yield f"{_count(result.photos, 'photo')} since the last run: too few for a drift score"
    else:
        state = "ALARM" if verdict.alarm else "no alarm"
        yield f"{state}: drift score {verdict.score:.2f}, threshold {verdict.threshold:.2f}, {result.photos} photos"
    yield f"stream: drift score {result.drift_score:.2f}, threshold 1"
    if result.alert:
        yield f"ALERT, {result.alert.severity}: {result.alert.cause}: {result.alert.reason}"
        yield f"since {result.alert.since}"
        yield from result.alert.changes
    if result.accuracy:
        found = result.accuracy
        doubt = "" if found.trusted else f"; unreliable: {found.why}"
        yield f"estimated accuracy: {found.accuracy:.0%} [{found.low:.0%} to {found.high:.0%}, 90%]{doubt}"
    if result.report_uri:
        yield f"alert: {result.report_uri}"
    if result.acknowledged:
        yield f"acknowledged: {result.acknowledged} alarms"
    for alarm in result.alarms:
        yield f"active since {alarm.since}: {alarm.event.subject}"
    for reason, count in result.refused.items():
        yield f"skipped: {count}, {reason}"
    for line in result.malformed:
        yield f"malformed: {line}"
    if not result.complete:
        yield "the rest of the captured traffic is left for the next run"


def _dispatched(result: "DispatchResult") -> Iterable[str]:
    if not result.orders:
        yield "there are no open orders; to create some, run: scones dispatch --example-orders 40"
        return
    busy = {item.courier.id for item in result.plan.assignments}
    yield f"{len(result.plan.assignments)} of {len(result.orders)} orders assigned to {_count(len(busy), 'courier')}"
    for reason, count in Counter(item.reason for item in result.plan.unassigned).most_common(5):
        yield f"{count} not assigned: {reason}"
    yield f"plan {result.uri}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _simulated(result: "SimulationResult") -> Iterable[str]:
    total = Counter[str]()
    for kind, counts in result.outcomes.items():
        total.update(counts)
        yield f"{kind:<10} {sum(counts.values()):>6}: {_counts(counts)}"
    yield f"{'all':<10} {result.events:>6}: {_counts(total)}"
    rate = result.events / result.seconds
    yield f"{result.orders} orders assigned; {rate:.0f} events a second for {result.seconds:.1f} s"
    yield from (f"failed with {error}: {count}" for error, count in result.errors.items())


def _fields(result: object) -> Iterable[str]:
    if isinstance(result, dict):
        pairs: Iterable[tuple[str, object]] = result.items()
    else:
        pairs = ((name, getattr(result, name)) for name in getattr(type(result), "__dataclass_fields__", ()))
    for name, value in pairs:
        yield f"{name.replace('_', ' ')}: {value}"


_WORDS: dict[str, Callable[[Any], Iterable[str]]] = {
    "StageResult": _staged,
    "TrainingResult": _trained,
    "ClassifyResult": _classified,
    "Evaluation": _evaluation,
    "MonitorResult": _monitored,
    "DispatchResult": _dispatched,
    "SimulationResult": _simulated,
}
