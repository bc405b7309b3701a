"""Environment lines: what the commands about a whole environment print: its state, alarms, costs, the demo, its end."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from scones.cli.photo_lines import counts
from scones.domain.progress import FEW_NAMES, by_kind
from scones.domain.text import plural

if TYPE_CHECKING:
    from scones.cli.demo import DemoResult
    from scones.deployment.pricing import BatchPlan, Bill, CostTable, Estimate
    from scones.monitoring.inspect import MonitorResult
    from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
    from scones.monitoring.performance.labels import MeasuredAccuracy
    from scones.steps.down import TeardownReport
    from scones.steps.models import NewestPage
    from scones.steps.status import Status


def _page(result: "NewestPage") -> Iterable[str]:
    yield f"{result.page}{result.uri and f', a copy of {result.uri}'}"


def _monitor(result: "MonitorResult") -> Iterable[str]:
    verdict = result.verdict
    if not verdict.enough:
        yield f"{plural(result.photos, 'photo')} since the last run: too few for a drift score"
    else:
        state = "ALARM" if verdict.alarm else "no alarm"
        yield f"{state}: drift score {_times(verdict.score / verdict.threshold)}, {plural(result.photos, 'photo')}"
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
        yield f"acknowledged: {plural(result.acknowledged, 'alarm')}"
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
    from scones.monitoring.performance.labels import with_interval

    doubt = "" if found.trusted else f"; unreliable: {found.why}"
    return f"{with_interval(found)}{doubt}"


def _batch_plan(result: "BatchPlan") -> Iterable[str]:
    batches = plural(result.batches, "batch", "batches")
    yield f"{plural(result.photos, 'photo')} in {batches}, {result.concurrency} at once"
    yield f"{plural(result.instances, 'endpoint instance')}, {result.seconds / 3600:.1f} hours"
    yield from map(str, result.cost.items)
    orchestration = f"${result.orchestration_dollars:,.2f} of it Step Functions and Lambda"
    yield f"${result.cost.total_dollars:,.2f} in all, {orchestration}; {_prices(result.cost)}"
    for quota in result.quotas:
        mark = "" if quota.verified else ", to be checked"
        verdict = "within" if quota.kept else "OVER"
        yield f"{verdict}: {quota.what}: {quota.needed:,.0f} of {quota.limit:,.0f} ({quota.as_of}{mark})"


def _estimate(result: "Estimate") -> Iterable[str]:
    from scones.deployment.pricing import PHOTO_KILOBYTES

    yield f"{plural(result.workload.photos, 'photo')} of {PHOTO_KILOBYTES:.0f} KB, {result.workload.mode}"
    yield from map(str, result.cost.items)
    each = f"${result.per_photo_dollars:.7f} a photo"
    yield f"${result.cost.total_dollars:,.2f} in all, {each}; {_prices(result.cost)}"
    yield f"${result.idle_month_dollars:,.2f} for a month without any photo:"
    yield from map(str, result.idle_month)
    yield "? marks a price that was not seen on AWS's own page: look it up before you rely on it"


def _cost_table(result: "CostTable") -> Iterable[str]:
    from scones.deployment.pricing import PHOTO_KILOBYTES

    yield f"{plural(result.photos, 'photo')} of {PHOTO_KILOBYTES:.0f} KB, in dollars; {_prices(result)}"
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
    yield from (f"resource: {line}" for line in by_kind(result.resources))
    yield from (f"LEFTOVER: {item}" for item in result.leftovers)


def _live(result: "Status") -> Iterable[str]:
    """What matters most: the model, how right it is, whether the photos changed, and who waits for whom."""
    if not result.release:
        return
    yield f"release {result.release}, model {result.model}{result.approval and f', {result.approval}'}"
    if not any(model.measured for model in result.accuracy):
        reviewed = any(model.reviewed for model in result.accuracy)
        which = "labels of photos drawn at random" if reviewed else "labels"
        yield f"measured accuracy: no {which} yet; to label photos, run: scones review export FILE"
    yield from _measured(result.accuracy)
    if result.estimated_accuracy:
        yield f"estimated accuracy: {_estimated(result.estimated_accuracy)}"
    for alarm in result.alarms:
        page = f"; {alarm.report_uri}" if alarm.report_uri else ""
        yield f"ALARM since {alarm.since}: {alarm.event.subject}{page}"
    if result.alarms:
        yield "to see the alert, run: scones open --alert; once its cause is dealt with: scones monitor --acknowledge"
    else:
        yield "data drift: no alarm" if result.monitored else "data drift: not known yet; run: scones monitor"
    if result.reviews_open:
        age = f"the oldest is {plural(round(result.review_oldest_minutes), 'minute')} old"
        waiting = (
            f"{plural(result.reviews_open, 'photo')} to review, {plural(result.couriers_waiting, 'courier')} waiting"
        )
        yield f"{waiting}; {age}; run: scones review list"
    else:
        yield "no photos to review"
    if result.unlearned_labels:
        yield f"{plural(result.unlearned_labels, 'label')} that the model has not learned; run: scones retrain"
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
    yield from (f"deleted: {item}" for item in by_kind(result.deleted))
    yield result.summary()
    dollars = result.hourly_dollars_stopped
    if dollars != 0:
        yield "stopped: instances of unknown price" if dollars is None else f"stopped: ${dollars:.3f} an hour"
    yield from (f"kept: {item}" for item in by_kind(result.kept))
    if result.kept:
        yield f"kept data costs about ${result.monthly_dollars_kept:.2f} a month"
    yield from (f"REMAINING: {item}" for item in result.remaining)
    nothing = "nothing else is left" if result.kept else "nothing is left"
    yield f"listed again: {nothing}" if not result.remaining else "listed again: not everything was deleted"


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
    yield f"workflow   {counts(result.executions)}"
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
    few = len(result.left) <= FEW_NAMES
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
    canary = counts(found["canary"])
    yield f"camera     new: {'drift alarm' if found['drift_alarm'] else 'NO ALARM'}, {found['labels']} photos reviewed"
    yield f"retrained  model {good['model']}: {good['outcome']}{release}; photos meanwhile: {canary or 'none'}"
    yield f"           {before} of {n} photos right before, {after} after (95% intervals)"
    wrong = f"{found['flipped_labels']} of {found['imported_labels']} new labels are wrong"
    yield f"poisoned   model {poisoned['model']}, of which {wrong}: {poisoned['outcome']}"
    yield f"           {poisoned['why']}"
    yield f"serves     model {found['live_model']}"


LINES: Final[Mapping[str, Callable[[Any], Iterable[str]]]] = {
    "NewestPage": _page,
    "MonitorResult": _monitor,
    "DemoResult": _demo,
    "BatchPlan": _batch_plan,
    "Estimate": _estimate,
    "CostTable": _cost_table,
    "Status": _status,
    "TeardownReport": _teardown,
}
"""How each result is shown, by the name of its class."""
