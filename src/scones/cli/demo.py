"""Demo: the whole flow on this machine, from nothing, with a report at the end and nothing left behind."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from scones.aws.client import Credentials
from scones.aws.connection import connect
from scones.aws.registry import ApprovalStatus
from scones.cli.demo_report import Shown, found_after, write_report
from scones.cli.local_cloud import PROGRAMS
from scones.config.settings import Settings
from scones.data.decode import darken_and_blur
from scones.data.manifest import Sample
from scones.deployment.inventory import inventory
from scones.deployment.pricing import Bill
from scones.dispatch.business_value import Trial, Worth, measured, worth
from scones.dispatch.orders import Rules
from scones.domain.decision import Outcome
from scones.domain.progress import Reporter
from scones.evaluation.evaluation import Evaluation
from scones.pipeline import ORDERS, Pipeline
from scones.steps.classify import ClassifyResult
from scones_local.cloud import HOST, Cloud, detach, start, stop

SHIFTED_PHOTOS = 100
"""How many test photos are darkened and blurred for the drift drill."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What `scones demo --json` prints."""

    dataset: Mapping[str, object]
    accuracy: float
    accuracy_interval: tuple[float, float]
    executions: Mapping[str, int]
    drift: Mapping[str, object]
    dispatch: Mapping[str, int]
    on_time: Mapping[str, float]
    """The share of orders on time in simulated days: with this model at the threshold, blind, and all known."""
    cost_on_aws_dollars: float
    left_behind: int
    """How much of what the demo made still stands: nothing, or everything where it was told to keep it."""
    left: tuple[str, ...]
    seconds: Mapping[str, float]
    report: str

    def summary(self) -> Iterator[str]:
        """Say it in a few lines for a person."""
        low, high = self.accuracy_interval
        data = self.dataset
        kind = "photos" if data["kind"] == "photos" else "DRAWINGS, not photos"
        yield f"data       {data['name']}: {data['train']} to learn from, {data['test']} to judge by ({kind})"
        yield f"accuracy   {self.accuracy:.1%} [{low:.1%} to {high:.1%}, 95%]"
        yield "workflow   " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.executions.items())
        quiet = "ALARM" if self.drift["baseline_alarm"] else "quiet"
        rings = "alarm" if self.drift["shifted_alarm"] else "NO ALARM"
        after = self.drift["found_after"]
        when = "" if after is None else f" after {after} of them"
        yield f"drift      {quiet} on the test photos, {rings} on darkened and blurred ones{when}"
        yield f"dispatch   {self.dispatch['assigned']} of {self.dispatch['orders']} orders on their way"
        yield "on time    " + ", ".join(f"{share:.1%} {name}" for name, share in self.on_time.items())
        yield f"time       {self.seconds['total']:.0f} s, of them {self.seconds['train']:.0f} s training"
        yield f"on AWS     about ${self.cost_on_aws_dollars:.2f} for the same run"
        yield f"left       {', '.join(self.left) or 'nothing'}"
        yield f"report     {self.report}"


@dataclass(slots=True)
class _Clock:
    """Measures each step, and says its name first."""

    report: Reporter
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.report.tell(f"{name} ...")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 3)


def run_demo(settings: Settings, report: Reporter, *, keep_standing: bool, report_path: Path) -> Demo:
    """Run every step on a local cloud of its own; whatever happens, the cloud and all in it is gone afterwards.

    With *keep_standing* the cloud stays, if all went well, until `scones down`.

    Raises:
        CloudAlreadyRunning: a demo, or a local cloud, of this environment stands already.
    """
    clock = _Clock(report)
    started = time.monotonic()
    with clock.step("local cloud"):
        cloud = start(settings.state / settings.env, programs=PROGRAMS)
    try:
        local = replace(settings, endpoint_url=cloud.endpoint_url, region=cloud.region)
        flow = Pipeline(connect(local, Credentials("local", "local")), local, report)
        shown = _steps(flow, clock)
        if keep_standing:
            left = inventory(flow.aws)
            detach(cloud)
        else:
            with clock.step("down"):
                left = flow.down().remaining
    except BaseException:
        stop(cloud)
        raise
    if not keep_standing:
        stop(cloud)
        left += _remains(cloud)
    with clock.step("report"):
        cost = write_report(report_path, shown, clock.seconds)
    clock.seconds["total"] = round(time.monotonic() - started, 3)
    return _result(shown, cost, left, clock, report_path)


def _steps(flow: Pipeline, clock: _Clock) -> Shown:
    with clock.step("stage"):
        staged = flow.stage()
    with clock.step("train"):
        trained = flow.train()
        # What the gate says of the photos at hand was told; a demonstration goes on whatever they are.
        if flow.registered().approval is not ApprovalStatus.APPROVED:
            flow.approve(reason="for the demo")
    with clock.step("up"):
        flow.up()
    with clock.step("deploy"):
        deployed = flow.deploy()
    with clock.step("classify"):
        classified = flow.classify()
    with clock.step("evaluate"):
        evaluated = flow.evaluate()
    with clock.step("monitor"):
        calm = flow.monitor(at_least=_answered(classified))
    with clock.step("drift drill"):
        drill = [_shift(flow, sample) for sample in flow.test_samples()[:SHIFTED_PHOTOS]]
        shifted = flow.classify_samples([after for _, after in drill])
        alarmed = flow.monitor(at_least=_answered(shifted))
    with clock.step("dispatch"):
        dispatched = flow.dispatch(example=ORDERS)
    with clock.step("simulated days"):
        days = _simulate(evaluated, flow.settings)
    pairs = tuple((before.key, after.key) for before, after in drill)
    keys = [*evaluated.predictions.keys, *(key for pair in pairs for key in pair)]
    return Shown(
        settings=flow.settings,
        staged=staged,
        trained=trained,
        deployed=deployed,
        classified=classified,
        evaluated=evaluated,
        calm=calm,
        shifted=shifted,
        alarmed=alarmed,
        dispatched=dispatched,
        days=days,
        photos=dict(zip(keys, flow.aws.bucket.get_all(keys), strict=True)),
        pairs=pairs,
    )


def _simulate(evaluated: Evaluation, settings: Settings) -> Worth:
    """Play days in a city whose couriers' photos are answered as the test photos were."""
    found = measured(evaluated.predictions.labels, evaluated.predictions.probabilities, evaluated.metrics.classes)
    return worth(found, Trial(), Rules(sure_confidence=settings.threshold))


def _shift(flow: Pipeline, sample: Sample) -> tuple[Sample, Sample]:
    photo = darken_and_blur(flow.aws.bucket.get(sample.key))
    return sample, flow.upload("shifted.png", photo, sample.label)


def _answered(classified: ClassifyResult) -> int:
    """How many photos reached the endpoint, and must therefore be captured."""
    unanswered = classified.count(Outcome.FAILED) + classified.count(Outcome.UNREADABLE)
    return len(classified.executions) - unanswered


def _remains(cloud: Cloud) -> tuple[str, ...]:
    """What a stopped local cloud has left on this machine: nothing, if all is well."""
    left = []
    if cloud.state.exists():
        left.append(f"folder {cloud.state}")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(cloud.pid, 0)
        left.append(f"process group {cloud.pid}")
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((HOST, cloud.port)) == 0:
            left.append(f"port {cloud.port}")
    return tuple(left)


def _result(shown: Shown, cost: Bill, left: tuple[str, ...], clock: _Clock, path: Path) -> Demo:
    staged, metrics = shown.staged, shown.evaluated.metrics
    return Demo(
        dataset={
            "name": staged.name,
            "kind": staged.kind,
            "version": staged.version,
            "classes": staged.classes,
            "train": staged.train,
            "test": staged.test,
            "left_out": len(staged.left_out),
        },
        accuracy=metrics.accuracy,
        accuracy_interval=(metrics.interval.low, metrics.interval.high),
        executions={outcome.value: shown.classified.count(outcome) for outcome in Outcome},
        drift={
            "baseline_alarm": shown.calm.alert is not None,
            "baseline_photos": shown.calm.photos,
            "shifted_alarm": shown.alarmed.alert is not None,
            "shifted_photos": shown.alarmed.photos,
            "cause": shown.alarmed.alert.cause if shown.alarmed.alert else None,
            "found_after": found_after(shown.calm, shown.alarmed),
        },
        dispatch={
            "couriers": len(shown.dispatched.couriers),
            "orders": len(shown.dispatched.orders),
            "assigned": len(shown.dispatched.plan.assignments),
        },
        on_time=_on_time(shown.days, shown.settings.threshold),
        cost_on_aws_dollars=round(cost.total_dollars, 4),
        left_behind=len(left),
        left=left,
        seconds=clock.seconds,
        report=str(path.absolute()),
    )


def _on_time(days: Worth, threshold: float) -> Mapping[str, float]:
    ends = {"without a classifier": days.blind.on_time.mean, "with perfect knowledge": days.perfect.on_time.mean}
    now = [line.on_time.mean for line in days.measured if line.threshold == threshold]
    return {"with this model": now[0], **ends} if now else ends
