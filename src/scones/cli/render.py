"""Render: the result of a command as a few lines of text."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scones.cli.output import verbose
from scones.domain.decision import Outcome
from scones.domain.text import printable

if TYPE_CHECKING:
    from scones.cli.demo import DemoResult
    from scones.deployment.pricing import BatchPlan, Bill, CostTable, Estimate
    from scones.deployment.retrainings import Retraining
    from scones.deployment.reviews import Review, ReviewAnswer, Reviews
    from scones.evaluation.evaluation import Evaluation, SampleAccuracy
    from scones.evaluation.gate import GateCheck
    from scones.model.prediction import PredictResult
    from scones.monitoring.inspect import MonitorResult
    from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
    from scones.monitoring.performance.labels import LabelResult, MeasuredAccuracy
    from scones.steps.classify import ClassifyResult
    from scones.steps.classify_batch import BatchRunResult
    from scones.steps.corrections import Correction, Corrections
    from scones.steps.dispatch import DispatchResult
    from scones.steps.down import TeardownReport
    from scones.steps.labels import LabelExport, ReviewExport
    from scones.steps.models import ModelList, NewestPage, ReleaseList
    from scones.steps.replay import RejudgeResult, ReplayResult
    from scones.steps.simulate import SimulationResult
    from scones.steps.stage import ForgottenPhoto, StageResult
    from scones.steps.status import Status
    from scones.steps.train import TrainingResult

_FEW = 10
"""Up to this many photos are shown one by one; of more, the counts."""
_FEW_NAMES = 3
"""This many resources of a kind are shown by name; `--json` has them all."""


def render(result: object) -> str:
    """Return the *result* of a command as lines of text; a type without a function of its own shows its fields."""
    lines = _LINES.get(type(result).__name__, _fields)
    return "\n".join(map(printable, lines(result)))


def _fold(lines: Sequence[str]) -> Iterable[str]:
    """The first lines of a long list, and how many more there are; with --verbose all."""
    few = len(lines) if verbose.get() or len(lines) <= _FEW else _FEW
    yield from lines[:few]
    if len(lines) > few:
        yield f"and {len(lines) - few} more; --verbose lists them"


def _staged(result: "StageResult") -> Iterable[str]:
    yield f"{result.name}: {result.train} training and {result.test} test photos of {', '.join(result.classes)}"
    yield f"version {result.version}, {result.uploaded} photos uploaded"
    if result.photo_pixels:
        size = f"median {result.photo_pixels} px on the shorter side"
        yield f"photo size: {size}; the model sees {result.model_pixels} px"
    if result.base:
        yield f"grown from version {result.base}; {result.labelled} photos have their labels from people"
    if result.leakage:
        yield f"{result.leakage} training photos left out because they duplicate a test photo"
    if result.reassigned:
        yield f"{result.reassigned} photos moved to the split that has a photo of the same picture"
    if result.left_out:
        yield f"left out: {_count(sum(item.files for item in result.left_out), 'file')}, listed below"
    yield from result.warnings
    yield from _fold([f"left out: {item.name}: {item.why}" for item in result.left_out])


def _retrained(result: "Retraining") -> Iterable[str]:
    learned = f"{_count(result.labels, 'label')} in data version {result.data_version}"
    yield f"retraining {result.id}: {result.reason}; {learned if result.data_version else 'no new data version'}"
    yield from map(str, result.comparison.accuracies if result.comparison else ())
    yield from _gate(result.comparison.gate if result.comparison else ())
    model = f"model {result.challenger}" if result.challenger else "no model"
    waits = result.phase == "approve"
    yield f"{model}: {'waits for approval; run: scones retrain approve, or reject' if waits else result.outcome}"
    if result.why:
        yield f"why: {result.why}"


def _forgotten(result: "ForgottenPhoto") -> Iterable[str]:
    yield f"photo {result.photo}: {_count(result.objects, 'object')} deleted with all versions"
    yield f"it was in data versions: {', '.join(result.versions) or 'none'}"
    models = ", ".join(map(str, result.models))
    yield f"models trained on them: {models or 'none'}{'; train without it: scones retrain' if models else ''}"
    yield from (f"not deleted: {uri} is in a bucket of another owner" for uri in result.elsewhere)
    days = _count(result.capture_days, "day")
    yield f"captured requests may hold it until they are {days} old, and alert pages may show it"


def _trained(result: "TrainingResult") -> Iterable[str]:
    yield f"{result.job}: {result.seconds:.0f} s"
    yield from (f"{name} {value:.4g}" for name, value in result.metrics.items())
    yield f"model {result.model_uri}"


def _predicted(result: "PredictResult") -> Iterable[str]:
    for item in result:
        unlike = ", out of distribution" if item.out_of_distribution else ""
        yield f"{item.photo}: {item.error or f'{item.label} {item.confidence:.1%}{unlike}'}"


def _models(result: "ModelList") -> Iterable[str]:
    if not result.models:
        yield "no model is registered; to train one, run: scones train"
    for item in result.models:
        accuracy = "accuracy unknown" if item.accuracy is None else f"accuracy {item.accuracy:.1%}, n = {item.n}"
        live = ", LIVE" if item.live else ""
        status = "pending" if item.status == "PendingManualApproval" else item.status.lower()
        yield f"model {item.number}{live}: {status}, {accuracy}, data {item.data_version or 'unknown'}: {item.reason}"


def _releases(result: "ReleaseList") -> Iterable[str]:
    if not result.releases:
        yield "nothing was deployed; to deploy, run: scones deploy"
    for item in result.releases:
        who = f" by {item.person}" if item.person else ""
        yield f"release {item.number}: {item.outcome}, model {item.model}, {item.when}{who}, {item.by}"


def _page(result: "NewestPage") -> Iterable[str]:
    yield f"{result.page}{result.uri and f', a copy of {result.uri}'}"


def _label_export(result: "LabelExport") -> Iterable[str]:
    yield f"{_count(result.labels, 'label')} in {result.file}"


def _classified(result: "ClassifyResult") -> Iterable[str]:
    if len(result.executions) <= _FEW:
        for item in result.executions:
            decision = f"{item.label} {item.confidence:.1%}" if item.label else item.error
            if item.name:
                yield f"{item.key}: {item.outcome.replace('_', ' ')}: {decision} (execution {item.name})"
    yield from (f"{item.key}: {item.outcome}: {item.cause}" for item in result.unread())
    yield ", ".join(f"{result.count(outcome)} {outcome.replace('_', ' ')}" for outcome in Outcome)


def _evaluation(result: "Evaluation") -> Iterable[str]:
    metrics, threshold = result.metrics, result.threshold
    if result.data.kind != "photos":
        yield "DRAWINGS, not photos: these figures say nothing about photos"
    low, high = metrics.interval.low, metrics.interval.high
    yield f"accuracy {metrics.accuracy:.1%} [{low:.1%} to {high:.1%}, 95%], n = {metrics.n}"
    if result.out_of_fold is not None:
        yield f"cross-validated accuracy on the training photos {_share(result.out_of_fold)}"
    yield from _by_source(result)
    yield f"accuracy at 90% coverage {result.accuracy_at_90:.1%}"
    beside = f"{result.ece_before:.1%} without temperature scaling, {result.ece_by_chance:.1%} by chance if perfect"
    yield f"calibration error {metrics.ece:.1%} ({beside})"
    if metrics.auc is not None and metrics.pr_auc is not None:
        yield f"ROC AUC {metrics.auc:.4f}, average precision {metrics.pr_auc:.4f}"
    yield from _detector(result)
    best, now = threshold.selection.best, threshold.terms.current
    yield f"proposed threshold {best.threshold:g} (currently {now:g}): {threshold.guarantee}"
    current, proposed = threshold.current, threshold.proposed
    dollars = f"${current.dollars_per_1000:,.2f} -> ${proposed.dollars_per_1000:,.2f}"
    routed = f"routed {current.coverage:.1%} -> {proposed.coverage:.1%}"
    yield f"  {routed}, cost of 1,000 photos {dollars}, on the test photos"
    for item in result.robustness:
        yield f"{item.kind:<10} {item.severity}  accuracy {item.accuracy:.1%}, {item.coverage:.1%} above threshold"
    if result.comparison:
        yield f"against {result.comparison.other}: {result.comparison.verdict}"
    yield from _load(result)
    yield from _gate(result.gate)
    if result.report:
        yield f"report {result.report}"


def _gate(checks: "Sequence[GateCheck]") -> Iterable[str]:
    from scones.evaluation.gate import explain_each

    *failed, following = explain_each(checks) or [""]
    yield from (f"gate failed: {line}" for line in failed)
    if following:
        yield following


def _by_source(result: "Evaluation") -> Iterable[str]:
    if result.new_source is not None:
        yield f"accuracy on sources left out of training {_share(result.new_source)}"
    for item in result.by_source[:_FEW]:
        parts = {"test photos": item.test, "left out of training": item.left_out}
        yield f"  {item.source or '(no source)'}: " + ", ".join(
            f"{name} {_share(found)}" for name, found in parts.items() if found
        )
    if len(result.by_source) > _FEW:
        yield f"  and {len(result.by_source) - _FEW} more sources"
    yield from (f"warning: {warning}" for warning in result.warnings)


def _share(found: "SampleAccuracy") -> str:
    return f"{found.accuracy:.1%} [{found.interval.low:.1%} to {found.interval.high:.1%}, 95%], n = {found.n}"


def _detector(result: "Evaluation") -> Iterable[str]:
    if result.ood:
        yield f"{result.ood.rejected:.1%} of the test photos are rejected as out of distribution"
        for group in result.ood.groups:
            yield f"  {group.kind}: {group.accepted:.1%} of {group.n} not rejected, ROC AUC {group.auc:.3f}"


def _load(result: "Evaluation") -> Iterable[str]:
    for target, level in ((load.target, level) for load in result.load for level in load.levels):
        p50, p95, p99 = level.p50, level.p95, level.p99
        late = "no response" if p50 is None else f"p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms"
        errors = f", {sum(level.errors.values())} errors" if level.errors else ""
        yield f"{target}, {_count(level.clients, 'client')}: {level.per_second:.0f}/s, {late}{errors}"


def _monitored(result: "MonitorResult") -> Iterable[str]:
    verdict = result.verdict
    if not verdict.enough:
        yield f"{_count(result.photos, 'photo')} since the last run: too few for a drift score"
    else:
        state = "ALARM" if verdict.alarm else "no alarm"
        yield f"{state}: drift score {_times(verdict.score / verdict.threshold)}, {result.photos} photos"
    yield f"stream: drift score {_times(result.drift_score)}"
    if result.alert:
        yield f"ALERT, {result.alert.severity}: {result.alert.cause}: {result.alert.reason}"
        yield f"since {result.alert.since}"
        yield from result.alert.changes
    if result.accuracy:
        yield f"estimated accuracy: {_estimated(result.accuracy)}"
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


def _times(score: float) -> str:
    return f"{score:.2f} times the threshold"


def _estimated(found: "AccuracyEstimate") -> str:
    doubt = "" if found.trusted else f"; unreliable: {found.why}"
    return f"{found.accuracy:.0%} [{found.low:.0%} to {found.high:.0%}, 90%]{doubt}"


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


def _batch_run(result: "BatchRunResult") -> Iterable[str]:
    yield f"run {result.run}: {result.photos:,} photos"
    yield ", ".join(f"{number:,} {outcome.replace('_', ' ')}" for outcome, number in result.counts.items())
    if result.newly_classified:
        rate = f"{result.photos_per_second:.0f} per second"
        yield f"{result.newly_classified:,} classified now, in {result.seconds:.1f} s: {rate}"
    elif result.already_classified:
        yield f"{result.already_classified:,} had results already, none was classified now"
    else:
        yield "none was classified"
    yield from (f"failed: {line}" for line in result.failed)
    yield from (f"unreadable: {line}" for line in result.unreadable)
    yield from (f"left out: {item.name}: {item.why}" for item in result.left_out)
    yield f"on AWS, about ${result.cost.total_dollars:.4f} besides the endpoint (prices of {result.cost.as_of})"
    yield from (f"results {uri}" for uri in result.results)


def _replayed(result: "ReplayResult") -> Iterable[str]:
    decision = f"{result.label} {result.confidence:.9g}, {result.outcome}" if result.label else result.outcome
    yield f"execution {result.execution}: {decision}"
    yield f"photo {result.photo}, sha256 {result.photo_id[:12]}, model {result.model_version or 'none'}"
    yield from (f"DIFFERENT: {difference}" for difference in result.differences)
    yield "not identical" if result.differences else "reproduced exactly"


def _rejudged(result: "RejudgeResult") -> Iterable[str]:
    yield f"{result.photos} photos: {result.same} decided as before, {sum(result.changes.values())} differently"
    yield from (f"{count:6} {change}" for change, count in result.changes.items())
    if result.missing:
        yield f"{result.missing} photos no longer exist, so they were not decided again"


def _labels(result: "LabelResult") -> Iterable[str]:
    from scones.monitoring.performance.labels import with_interval

    if result.refused:
        yield f"{len(result.refused)} labels cannot be used:"
        yield from (f"  {reason}" for reason in result.refused[:_FEW])
    yield f"{result.labels} labels for {result.photos} recorded photos; {result.unknown} labels match no photo"
    if result.corrected is not None:
        count = result.corrected.labels
        yield f"accuracy on all photos: {with_interval(result.corrected)}, from {count} requested labels"
        if count < result.requested:
            yield f"{result.requested - count} of the requested photos have no label; they may differ"
    if result.exact is not None:
        yield f"accuracy on the labelled photos only: {with_interval(result.exact)}, n = {result.exact.labels}"


def _review_export(result: "ReviewExport") -> Iterable[str]:
    yield f"{result.photos} photos to label, {result.chosen} of them chosen now; to see them, run: scones console"
    yield f"write the labels into {result.table}, then run: scones review import {result.table}"
    yield f"for Label Studio: {result.tasks}"


def _reviews(result: "Reviews") -> Iterable[str]:
    for item in result.items:
        yield from _review(item)
    if result.more:
        yield "and more; --limit lists them"
    waiting = f", {result.couriers_waiting} with a courier who waits" if result.couriers_waiting else ""
    age = f"; the oldest is {result.oldest_minutes:,.0f} minutes old" if result.open else ""
    yield f"{result.open} photos to review{waiting}{age}"


def _review(item: "Review") -> Iterable[str]:
    said = f"the model says {item.predicted} at {item.confidence:.0%}" if item.predicted else "no prediction"
    who = f", courier {item.courier['id']}" if item.courier else ""
    answered = f"; {item.label}, says {item.by}" if item.label else ""
    why = item.reason.replace("_", " ")
    yield f"{item.photo_id} {item.state}, {why} since {item.since[:16]}: {said}{who}{answered}"


def _corrections(result: "Corrections") -> Iterable[str]:
    for item in result.items:
        said = f"labelled {item.label}, the model says {item.predicted} at {item.confidence:.0%}"
        yield f"{item.photo} {said}: {item.key}"
    if result.open > len(result.items):
        yield "and more; --limit lists them"
    decided = f", {result.decided} are decided" if result.decided else ""
    yield f"{_count(result.open, 'label')} of data version {result.version} to confirm or correct{decided}"


def _corrected(result: "Correction") -> Iterable[str]:
    said = f"corrected from {result.before} to {result.label}" if result.label != result.before else "confirmed"
    yield f"{result.photo}: {f'{said} by {result.by}' if result.label else f'withdrawn by {result.by}'}"
    if result.label not in ("", result.before):
        yield "to make the next version of the data, run: scones stage --with-labels"
    if result.others:
        disagree = ", ".join(f"{who} says {label}" for who, label in result.others.items())
        yield f"{disagree}; the label stays as it is until all agree"


def _answered(result: "ReviewAnswer") -> Iterable[str]:
    yield f"photo {result.photo}: {result.label or 'no answer'}{f', says {result.by}' if result.by else ''}"
    yield from (f"{who} says {label}; whoever was first counts for the courier" for who, label in result.others.items())
    if result.courier and result.dispatch:
        orders = f": {', '.join(result.orders)}" if result.orders else ""
        yield f"courier {result.courier}: {result.dispatch}, {len(result.orders)} orders{orders}"


def _batch_plan(result: "BatchPlan") -> Iterable[str]:
    yield f"{result.photos:,} photos in {result.batches:,} batches, {result.concurrency} at once"
    yield f"{result.instances} endpoint instances, {result.seconds / 3600:.1f} hours"
    yield from map(str, result.cost.items)
    orchestration = f"${result.orchestration_dollars:,.2f} of it Step Functions and Lambda"
    yield f"${result.cost.total_dollars:,.2f} in all, {orchestration}; {_prices(result.cost)}"
    for quota in result.quotas:
        mark = "" if quota.verified else ", to be checked"
        verdict = "within" if quota.kept else "OVER"
        yield f"{verdict}: {quota.what}: {quota.needed:,.0f} of {quota.limit:,.0f} ({quota.as_of}{mark})"


def _estimate(result: "Estimate") -> Iterable[str]:
    from scones.deployment.pricing import PHOTO_KILOBYTES

    yield f"{result.workload.photos:,} photos of {PHOTO_KILOBYTES:.0f} KB, {result.workload.mode}"
    yield from map(str, result.cost.items)
    each = f"${result.per_photo_dollars:.7f} a photo"
    yield f"${result.cost.total_dollars:,.2f} in all, {each}; {_prices(result.cost)}"
    yield f"${result.idle_month_dollars:,.2f} for a month without any photo:"
    yield from map(str, result.idle_month)
    yield "? marks a price that was not seen on AWS's own page: look it up before you rely on it"


def _cost_table(result: "CostTable") -> Iterable[str]:
    from scones.deployment.pricing import PHOTO_KILOBYTES

    yield f"{result.photos:,} photos of {PHOTO_KILOBYTES:.0f} KB, in dollars; {_prices(result)}"
    yield f"{'':<26}{'endpoint':>10}{'workflow':>10}{'storage':>10}{'other':>10}{'all':>10}{'idle month':>12}"
    for row in result.rows:
        parts = (row.endpoint_dollars, row.orchestration_dollars, row.storage_dollars, row.other_dollars)
        cells = "".join(f"{dollars:>10,.2f}" for dollars in (*parts, row.photos_dollars))
        yield f"{row.way:<26}{cells}{row.idle_month_dollars:>12,.2f}"
    yield f"not seen on AWS's own page: {', '.join(result.unverified)}"


def _status(result: "Status") -> Iterable[str]:
    yield f"account {result.account}, {result.region}, environment {result.env}"
    yield from _live(result)
    yield f"stack {result.stack or 'none'}, endpoint {result.endpoint or 'none'}"
    if result.drift:
        yield f"stack drift: {result.drift}"
    if result.endpoint_config != result.wanted_config:
        wanted = result.wanted_config or "no release"
        live = result.endpoint_config or "nothing"
        yield f"ENDPOINT: {live} is live, but {wanted} was deployed last; run: scones deploy"
    elif result.endpoint:
        yield f"endpoint configuration {result.endpoint_config}, that of the last release"
    dollars = _hourly(result.hourly_dollars)
    yield f"cost on AWS: {dollars}"
    resources = result.resources if verbose.get() else tuple(_by_kind(result.resources))
    yield from (f"resource: {line}" for line in resources)
    yield from (f"LEFTOVER: {item}" for item in result.leftovers)


def _live(result: "Status") -> Iterable[str]:
    """What matters most: the model, how right it is, whether the photos changed, and who waits for whom."""
    if not result.release:
        return
    yield f"release {result.release}, model {result.model}{result.approval and f', {result.approval}'}"
    if not any(model.measured for model in result.accuracy):
        yield "measured accuracy: no labels yet; to label photos, run: scones review export FILE"
    yield from _measured(result.accuracy)
    if result.estimated_accuracy:
        yield f"estimated accuracy: {_estimated(result.estimated_accuracy)}"
    for alarm in result.alarms:
        page = f"; {alarm.report_uri}" if alarm.report_uri else ""
        yield f"ALARM since {alarm.since}: {alarm.event.subject}{page}"
    if not result.alarms:
        yield "data drift: no alarm" if result.monitored else "data drift: not known yet; run: scones monitor"
    if result.reviews_open:
        age = f"the oldest is {result.review_oldest_minutes:,.0f} minutes old"
        waiting = (
            f"{_count(result.reviews_open, 'photo')} to review, {_count(result.couriers_waiting, 'courier')} waiting"
        )
        yield f"{waiting}; {age}; run: scones review list"
    else:
        yield "no photos to review"
    if result.unlearned_labels:
        yield f"{_count(result.unlearned_labels, 'label')} that the model has not learned; run: scones retrain"
    if result.retraining:
        why = result.retraining_why and f": {result.retraining_why}"
        yield f"last retraining: {result.retraining_when}: {result.retraining}{why}"
    if late := result.retraining_skipped:
        yield f"no retraining at {late.when} ({late.reason}): {late.why}"


def _measured(models: Iterable["MeasuredAccuracy"]) -> Iterable[str]:
    from scones.monitoring.performance.labels import with_interval

    for model in models:
        if model.measured:
            classes = (f"{name} {with_interval(figure)}" for name, figure in model.classes.items())
            n = f"n = {model.measured.labels}"
            yield f"measured accuracy of {model.model}: {with_interval(model.measured)}, {n}; {', '.join(classes)}"
        if model.reviewed:
            figure = f"{with_interval(model.reviewed)}, n = {model.reviewed.labels}"
            yield f"of the reviewed photos {model.model} was right on {figure}"


def _teardown(result: "TeardownReport") -> Iterable[str]:
    deleted = result.deleted if verbose.get() else tuple(_by_kind(result.deleted))
    yield from (f"deleted: {item}" for item in deleted)
    yield f"{result.objects} objects deleted"
    dollars = result.hourly_dollars_stopped
    yield "stopped: instances of unknown price" if dollars is None else f"stopped: ${dollars:.3f} an hour"
    yield from (f"kept: {item}" for item in result.kept)
    if result.kept:
        yield f"kept data costs about ${result.monthly_dollars_kept:.2f} a month"
    yield from (f"REMAINING: {item}" for item in result.remaining)
    nothing = "nothing else is left" if result.kept else "nothing is left"
    yield f"listed again: {nothing}" if not result.remaining else "listed again: not everything was deleted"


def _by_kind(items: Iterable[str]) -> Iterable[str]:
    """One line for each kind of resource, with the first names."""
    kinds: dict[str, list[str]] = {}
    for item in items:
        kind, _, name = item.partition(" ")
        kinds.setdefault(kind, []).append(name)
    for kind, names in kinds.items():
        count = f" x {len(names)}" if len(names) > 1 else ""
        more = f" and {len(names) - _FEW_NAMES} more" if len(names) > _FEW_NAMES else ""
        yield f"{kind}{count}: {', '.join(names[:_FEW_NAMES])}{more}"


def _hourly(dollars: float | None) -> str:
    if dollars is None:
        return "unknown: an instance type has no price"
    return f"${dollars:.3f} an hour, besides requests and storage"


def _prices(priced: "Bill | CostTable") -> str:
    return f"prices of {priced.as_of}, {priced.region}"


def _demo(result: "DemoResult") -> Iterable[str]:
    low, high = result.accuracy_interval
    data = result.dataset
    kind = "photos" if data["kind"] == "photos" else "DRAWINGS, not photos"
    yield f"data       {data['name']}: {data['train']} for training, {data['test']} for testing ({kind})"
    yield f"accuracy   {result.accuracy:.1%} [{low:.1%} to {high:.1%}, 95%]"
    yield "workflow   " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.executions.items())
    before = "FALSE ALARM" if result.drift["baseline_alarm"] else "no alarm"
    after = "alarm" if result.drift["shifted_alarm"] else "NO ALARM"
    photos = result.drift["found_after"]
    when = "" if photos is None else f" after {photos} of them"
    yield f"drift      {before} on the test photos, {after} on darkened and blurred ones{when}"
    yield f"dispatch   {result.dispatch['assigned']} of {result.dispatch['orders']} orders assigned"
    yield "on time    " + ", ".join(f"{share:.1%} {name}" for name, share in result.on_time.items())
    if result.loop:
        yield from _demo_loop(result.loop)
    yield f"time       {result.seconds['total']:.0f} s, of which {result.seconds['train']:.0f} s training"
    yield f"on AWS     about ${result.cost_on_aws_dollars:.2f} for the same run"
    few = len(result.left) <= _FEW_NAMES
    kept = ", ".join(result.left) if few else f"{len(result.left)} resources; to delete them, run: scones down"
    yield f"left       {kept or 'nothing'}"
    yield f"report     {result.report}"


def _demo_loop(found: Mapping[str, Any]) -> Iterable[str]:
    good, poisoned, n = found["retraining"], found["poisoned"], found["judged_photos"]
    before, after = (
        f"{found[f'accuracy_{when}']:.1%} [{found[f'interval_{when}'][0]:.1%} to {found[f'interval_{when}'][1]:.1%}]"
        for when in ("before", "after")
    )
    release = f" as release {found['release']}" if good["outcome"] == "deployed" else ""
    canary = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in found["canary"].items())
    yield f"camera     new: {'drift alarm' if found['drift_alarm'] else 'NO ALARM'}, {found['labels']} photos reviewed"
    yield f"retrained  model {good['model']}: {good['outcome']}{release}; photos meanwhile: {canary or 'none'}"
    yield f"           {before} of {n} photos right before, {after} after (95% intervals)"
    wrong = f"{found['flipped_labels']} of {found['imported_labels']} new labels are wrong"
    yield f"poisoned   model {poisoned['model']}, of which {wrong}: {poisoned['outcome']}"
    yield f"           {poisoned['why']}"
    yield f"serves     model {found['live_model']}"


def _fields(result: object) -> Iterable[str]:
    """Each field on a line; no value as Python writes it."""
    for name, value in _pairs(result):
        yield f"{name.replace('_', ' ')}: {_words(value)}"


def _pairs(value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return [(str(name), each) for name, each in value.items()]
    return [(name, getattr(value, name)) for name in getattr(type(value), "__dataclass_fields__", ())]


def _words(value: object) -> str:
    if value is None or (isinstance(value, str | list | tuple | set | frozenset | Mapping) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(_words, value))
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, str) and value.startswith(("{", "[")):
        with suppress(ValueError):
            return _words(json.loads(value))
    if pairs := _pairs(value):
        return ", ".join(f"{name.replace('_', ' ').replace('-', ' ')} {_words(each)}" for name, each in pairs)
    return str(value)


_LINES: dict[str, Callable[[Any], Iterable[str]]] = {
    "StageResult": _staged,
    "ForgottenPhoto": _forgotten,
    "Retraining": _retrained,
    "TrainingResult": _trained,
    "ModelList": _models,
    "ReleaseList": _releases,
    "ModelComparison": lambda result: result.lines(),
    "NewestPage": _page,
    "LogLines": lambda result: result.text(whole=verbose.get()),
    "LabelExport": _label_export,
    "PredictResult": _predicted,
    "ClassifyResult": _classified,
    "Evaluation": _evaluation,
    "MonitorResult": _monitored,
    "DispatchResult": _dispatched,
    "SimulationResult": _simulated,
    "DemoResult": _demo,
    "BatchRunResult": _batch_run,
    "ReplayResult": _replayed,
    "RejudgeResult": _rejudged,
    "LabelResult": _labels,
    "Reviews": _reviews,
    "ReviewExport": _review_export,
    "Review": _review,
    "ReviewAnswer": _answered,
    "Corrections": _corrections,
    "Correction": _corrected,
    "BatchPlan": _batch_plan,
    "Estimate": _estimate,
    "CostTable": _cost_table,
    "Status": _status,
    "TeardownReport": _teardown,
}
