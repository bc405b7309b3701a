"""Status: show the live model, its accuracy, alarms and retraining, and the environment's resources; change nothing."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from scones.aws.cloudformation import Stack, StackDrift
from scones.aws.connection import Aws
from scones.data.labels import Label
from scones.deployment.cleanup import inventory, running_instances, tagged_resources
from scones.deployment.pricing import hourly_dollars, idle_hourly_dollars
from scones.deployment.releases import Release, list_releases
from scones.deployment.retrainings import (
    Retraining,
    RetrainingOutcome,
    SkippedRetraining,
    count_new_labels,
    current,
    skipped,
)
from scones.domain.naming import result_key
from scones.domain.result import StepResult
from scones.monitoring.alerts.notices import ActiveAlarm
from scones.monitoring.inspect import MonitorResult
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import MeasuredAccuracy, measure_accuracy


@dataclass(frozen=True, slots=True)
class Status(StepResult):
    """The live model and what is known of it, the stack and the endpoint, empty if there is none, and all resources."""

    env: str
    account: str
    region: str
    stack: str
    drift: StackDrift | None
    """None if there is no stack."""
    endpoint: str
    endpoint_config: str
    wanted_config: str
    """The configuration of the last finished release."""
    hourly_dollars: float | None
    """On AWS, by the price table; None if it lacks an instance type."""
    leftovers: tuple[str, ...]
    """Resources that belong to neither the stack nor a release."""
    resources: tuple[str, ...]
    reviews_open: int = 0
    couriers_waiting: int = 0
    """Open reviews whose courier waits for an answer."""
    review_oldest_minutes: float = 0.0
    accuracy: tuple[MeasuredAccuracy, ...] = ()
    """Measured by people's labels, of each model; the newest first."""
    release: int = 0
    """The number of the last finished release; 0 if nothing was deployed."""
    model: int = 0
    """The number of its model in the registry."""
    approval: str = ""
    """Why that model is approved: the verdict of the gate, or a person's reason."""
    estimated_accuracy: AccuracyEstimate | None = None
    """Of the newest photos, without labels, by the last monitoring run."""
    alarms: tuple[ActiveAlarm, ...] = ()
    """Of the monitor, as its last run found them."""
    monitored: bool = False
    """Whether the monitor has looked at the traffic."""
    unlearned_labels: int = 0
    """Labels that the live model has not learned."""
    retraining: RetrainingOutcome | None = None
    """How the newest retraining ended, or that it runs."""
    retraining_when: str = ""
    """When it ended, or else when it started."""
    retraining_why: str = ""
    """Why it deployed its model, or did not."""
    retraining_skipped: SkippedRetraining | None = None
    """The last one that the schedule or an alarm asked for, and that did not begin."""


def status(aws: Aws) -> Status:
    """Read the state of the environment."""
    stack = aws.stack.find()
    endpoint = aws.sagemaker.find_endpoint(aws.name)
    kept = [release for release in list_releases(aws.bucket) if release.finished]
    known = tagged_resources(aws)
    resources = inventory(aws, known)
    waiting, labels = aws.tables.feedback()
    last = current(aws)
    hourly = hourly_dollars(running_instances(aws))
    idle = _idle_dollars(aws, stack) if stack and "WorkflowArn" in stack.outputs else 0.0
    return Status(
        env=aws.env,
        account=aws.account,
        region=aws.region,
        stack=stack.status if stack else "",
        drift=aws.stack.drift() if stack else None,
        endpoint=endpoint.status if endpoint else "",
        endpoint_config=endpoint.config if endpoint else "",
        wanted_config=kept[-1].config if kept else "",
        hourly_dollars=None if hourly is None else hourly + idle,
        leftovers=leftovers(resources, _needed(kept, endpoint.config if endpoint else ""), has_stack=stack is not None)
        + (tuple(map(str, known.unmanaged)) if stack else ()),
        resources=resources,
        retraining_skipped=skipped(aws),
        accuracy=measure_accuracy(labels),
        **waiting,
        **_of_retraining(last),
        **_of_model(aws, kept[-1] if kept else None, labels, last),
        **_of_monitor(aws),
    )


def _of_model(aws: Aws, release: Release | None, labels: Sequence[Label], last: Retraining | None) -> dict[str, Any]:
    if release is None:
        return {}
    found: dict[str, Any] = {"release": release.number, "model": release.package}
    if package := aws.registry.find(release.model_uri):
        new = count_new_labels(aws, package.properties.get("data-version", ""), labels, last)
        found |= {"approval": f"{package.approval.lower()}: {package.reason}", "unlearned_labels": new.unlearned}
    return found


def _of_retraining(found: Retraining | None) -> dict[str, Any]:
    when = found and (found.ended or found.started)
    return {"retraining": found.outcome, "retraining_when": when, "retraining_why": found.why} if found else {}


def _of_monitor(aws: Aws) -> dict[str, Any]:
    """What the last monitoring run found; nothing if an earlier version of Scones wrote it in another form."""
    body = aws.bucket.find(result_key("monitor"))
    try:
        last = None if body is None else msgspec.json.decode(body, type=MonitorResult)
    except msgspec.ValidationError:
        return {}
    return {"estimated_accuracy": last.accuracy, "alarms": last.alarms, "monitored": True} if last else {}


def leftovers(resources: Iterable[str], needed: Collection[str], *, has_stack: bool) -> tuple[str, ...]:
    """Name the unused resources: all if there is no stack, else models and configurations that are not *needed*."""
    if not has_stack:
        return tuple(resources)
    kinds = ("endpoint-config ", "model ")
    return tuple(item for item in resources if item.startswith(kinds) and item not in needed)


def _idle_dollars(aws: Aws, stack: Stack) -> float:
    """What the idle stack costs per hour; its monitor runs at a rate such as `60 minutes`."""
    resources = Counter(resource.type for resource in aws.stack.resources())
    return idle_hourly_dollars(resources, float(stack.parameters["MonitorRate"].split()[0]))


def _needed(kept: Iterable[Release], live: str) -> set[str]:
    """The configurations and models of the kept releases, and the live configuration."""
    named = {f"endpoint-config {release.config}" for release in kept} | {f"model {release.model}" for release in kept}
    return named | {f"endpoint-config {live}"}
