"""Model lines: what the commands that stage data and build, compare, evaluate and deploy models print."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from scones.domain.progress import fold
from scones.domain.text import exact_percent, plural

if TYPE_CHECKING:
    from scones.aws.registry import ModelPackage
    from scones.deployment.retrainings import Retraining
    from scones.evaluation.evaluation import Evaluation, SampleAccuracy
    from scones.evaluation.gate import GateCheck
    from scones.steps.deploy import DeployResult
    from scones.steps.image import ImageResult
    from scones.steps.models import ModelList, ReleaseList
    from scones.steps.train import TrainingResult
    from scones.steps.up import StackOutputs


def _package(result: "ModelPackage") -> Iterable[str]:
    status = "pending approval" if result.approval == "PendingManualApproval" else result.approval.lower()
    yield f"model {result.number} is {status}: {result.reason}"
    yield f"model file {result.model_uri}"
    facts = result.properties
    yield f"of data version {facts.get('data-version', 'unknown')}, by {facts.get('code-version', 'unknown')}"


def _image(result: "ImageResult") -> Iterable[str]:
    yield f"image {result.uri}"
    yield f"{'built now' if result.built else 'it existed already'}, {result.digest}"


def _stack(result: "StackOutputs") -> Iterable[str]:
    from scones.domain.vehicles import read_limits

    yield f"stack {result.stack}: classes {', '.join(result.classes)}; threshold {exact_percent(result.threshold)}"
    limits = read_limits(result.dispatch_rules)
    yield from (f"dispatch rules of {name}: {limits[name]}" for name in result.classes if name in limits)
    yield f"bucket {result.bucket}"
    yield f"workflow {result.workflow_arn}"
    tables = (result.couriers_table, result.orders_table, result.decisions_table)
    yield f"tables {', '.join(filter(None, (*tables, result.reviews_table, result.labels_table)))}"
    yield f"alerts go to {result.alert_topic_arn}, failures to {result.failure_topic_arn}"


def _deployed(result: "DeployResult") -> Iterable[str]:
    live = f"release {result.release}, model {result.package}" if result.release else f"model {result.model}"
    yield f"endpoint {result.endpoint} is in service: {live}"
    yield f"classes {', '.join(result.classes)}; model file {result.model_uri}"


def _retraining(result: "Retraining") -> Iterable[str]:
    learned = f"{plural(result.labels, 'label')} in data version {result.data_version}"
    yield f"retraining {result.id}: {result.reason}; {learned if result.data_version else 'no new data version'}"
    yield from map(str, result.comparison.accuracies if result.comparison else ())
    yield from _gate(result.comparison.gate if result.comparison else ())
    model = f"model {result.challenger}" if result.challenger else "no model"
    waits = result.phase == "approve"
    yield f"{model}: {'waits for approval; run: scones retrain approve, or reject' if waits else result.outcome}"
    if result.why:
        yield f"why: {result.why}"


def _training(result: "TrainingResult") -> Iterable[str]:
    from scones.model.model_file import METRICS, metric_figure

    yield f"trained {result.job} in {result.seconds:.0f} s"
    for name in sorted(result.metrics, key=[*METRICS, *result.metrics].index):
        yield f"{METRICS.get(name, name)} {metric_figure(name, result.metrics[name])}"
    yield f"model file {result.model_uri}"


def _models(result: "ModelList") -> Iterable[str]:
    if not result.models:
        yield "no model is registered; to train one, run: scones train"
    for item in result.models:
        accuracy = "accuracy unknown" if item.accuracy is None else f"accuracy {item.accuracy:.1%}, n = {item.n}"
        live = ", LIVE" if item.live else ""
        status = "pending" if item.status == "PendingManualApproval" else item.status.lower()
        # The reason of the gate has the accuracy.
        known = "" if accuracy in item.reason else f"{accuracy}, "
        yield f"model {item.number}{live}: {status}, {known}data {item.data_version or 'unknown'}: {item.reason}"


def _releases(result: "ReleaseList") -> Iterable[str]:
    if not result.releases:
        yield "nothing was deployed; to deploy, run: scones deploy"
    for item in result.releases:
        who = f" by {item.person}" if item.person else ""
        yield f"release {item.number}: {item.outcome}, model {item.model}, {item.when}{who}, {item.by}"


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
    proposal = f"proposed threshold {exact_percent(best.threshold)} (currently {exact_percent(now)})"
    yield f"{proposal}: {threshold.guarantee}"
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
        yield f"report {result.report}; the figures are beside it as JSON"


def _gate(checks: "Sequence[GateCheck]") -> Iterable[str]:
    from scones.evaluation.gate import explain_each

    *failed, following = explain_each(checks) or [""]
    yield from (f"gate failed: {line}" for line in failed)
    if following:
        yield following


def _by_source(result: "Evaluation") -> Iterable[str]:
    if result.new_source is not None:
        yield f"accuracy on sources left out of training {_share(result.new_source)}"
    sources = []
    for item in result.by_source:
        parts = {"test photos": item.test, "left out of training": item.left_out}
        figures = ", ".join(f"{name} {_share(found)}" for name, found in parts.items() if found)
        sources.append(f"  {item.source or '(no source)'}: {figures}")
    yield from fold(sources, "  ")
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
        errors = f", {plural(sum(level.errors.values()), 'error')}" if level.errors else ""
        yield f"{target}, {plural(level.clients, 'client')}: {level.per_second:.0f}/s, {late}{errors}"


LINES: Final[Mapping[str, Callable[[Any], Iterable[str]]]] = {
    "Retraining": _retraining,
    "TrainingResult": _training,
    "ModelList": _models,
    "ModelPackage": _package,
    "ReleaseList": _releases,
    "StackOutputs": _stack,
    "DeployResult": _deployed,
    "ImageResult": _image,
    "Evaluation": _evaluation,
}
"""How each result is shown, by the name of its class."""
