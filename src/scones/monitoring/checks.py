"""Checks beside drift: probe images, the deployed release, and the baseline's data version."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from scones.monitoring.alerts.notices import AlarmEvent
from scones.monitoring.performance.prediction_check import ProbeResult
from scones.monitoring.performance.registered_model import RegisteredModel


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
