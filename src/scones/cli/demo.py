"""Demo: the whole pipeline on this machine, with a report; everything else is deleted at the end."""

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
from scones.cli.demo_loop import LoopDemo, hold_back, loop_settings, run_loop
from scones.cli.demo_report import DemoRun, render_demo
from scones.cli.session import PROGRAMS, require_extra
from scones.config.settings import Settings
from scones.data.dataset import LabelledPhoto, Sample
from scones.data.decode import darken_and_blur
from scones.deployment.cleanup import inventory
from scones.deployment.pricing import Bill
from scones.dispatch.business_value import BusinessValue, ValueSimulation
from scones.domain.decision import Outcome
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.environment import save_result
from scones.pipeline import ORDERS, Pipeline
from scones.steps.classify import ClassifyResult
from scones.steps.show import simulate_value
from scones.steps.stage import StageResult, load_photos, stage
from scones_local.cloud import HOST, Cloud, detach, start, stop

SHIFTED_PHOTOS = 100
"""How many test photos are darkened and blurred for the drift drill."""


@dataclass(frozen=True, slots=True)
class DemoResult(StepResult):
    """What `scones demo --json` prints."""

    dataset: Mapping[str, object]
    accuracy: float
    accuracy_interval: tuple[float, float]
    executions: Mapping[str, int]
    drift: Mapping[str, object]
    dispatch: Mapping[str, int]
    on_time: Mapping[str, float]
    """The share of orders on time in simulated days: with this model at the threshold, without one, and at best."""
    cost_on_aws_dollars: float
    left_behind: int
    """How many resources of the demo still exist: none, or all of them with --keep."""
    left: tuple[str, ...]
    seconds: Mapping[str, float]
    report: str
    loop: Mapping[str, object] | None = None
    """With --loop: the accuracy before and after the retraining, and how both retrainings ended."""


@dataclass(slots=True)
class _Clock:
    """Reports the name of each step and measures its duration."""

    report: Reporter
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.report.tell(f"{name} ...")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 3)


def run_demo(
    settings: Settings, report: Reporter, *, keep_standing: bool, report_path: Path, loop: bool = False
) -> DemoResult:
    """Run every step on a local cloud, which is deleted afterwards, even after an error.

    With *keep_standing* the cloud of a successful run is kept until `scones down`. With *loop* the camera changes, and
    the model is retrained on what people label, and once more on poisoned labels.

    Raises:
        MissingExtra: the packages of the local cloud or of training are not installed.
        CloudAlreadyRunning: a local cloud of this environment is running already.
    """
    for extra in ("local", "train"):
        require_extra(extra)
    clock = _Clock(report)
    started = time.monotonic()
    with clock.step("local cloud"):
        cloud = start(settings.state / settings.env, programs=PROGRAMS)
    try:
        local = replace(settings, endpoint_url=cloud.endpoint_url, region=cloud.region)
        if loop:
            local = loop_settings(local)
        pipeline = Pipeline(connect(local, Credentials(*cloud.key)), local, report)
        run = _run_steps(pipeline, clock, loop=loop)
        if keep_standing:
            left = inventory(pipeline.aws)
            detach(cloud)
        else:
            with clock.step("down"):
                left = pipeline.down().remaining
    except BaseException as error:
        stop(cloud)
        vars(error).pop("__notes__", None)  # they say what continues in the cloud, which has ended
        raise
    if not keep_standing:
        stop(cloud)
        left += _remains(cloud)
    with clock.step("report"):
        cost = run.bill()
        report_path.parent.mkdir(parents=True, exist_ok=True)
        report_path.write_text(render_demo(run, cost), "utf-8")
    clock.seconds["total"] = round(time.monotonic() - started, 3)
    return _result(run, cost, left, report_path)


def _run_steps(pipeline: Pipeline, clock: _Clock, *, loop: bool) -> DemoRun:
    with clock.step("stage"):
        staged, arriving = _stage(pipeline) if loop else (pipeline.stage(), ())
    with clock.step("train"):
        trained = pipeline.train()
        # The demo goes on with a model that does not pass the gate; the gate's reasons were reported.
        if pipeline.registered().approval is not ApprovalStatus.APPROVED:
            pipeline.approve(reason="for the demo")
    with clock.step("up"):
        pipeline.up()
    with clock.step("deploy"):
        deployed = pipeline.deploy()
    with clock.step("classify"):
        classified = pipeline.classify()
    with clock.step("evaluate"):
        evaluation = pipeline.evaluate()
    with clock.step("monitor"):
        monitored = pipeline.monitor(at_least=_captured(classified))
    with clock.step("drift drill"):
        drill = [_shift(pipeline, sample) for sample in pipeline.test_samples()[:SHIFTED_PHOTOS]]
        shift_classified = pipeline.classify_samples([after for _, after in drill])
        shift_monitored = pipeline.monitor(at_least=_captured(shift_classified))
    with clock.step("dispatch"):
        dispatched = pipeline.dispatch(example=ORDERS)
    with clock.step("simulated days"):
        business_value = simulate_value(evaluation, pipeline.settings, ValueSimulation())
    looped = None
    if loop:
        with clock.step("loop"):
            looped = run_loop(pipeline, staged.kind, arriving)
    pairs = tuple((before.key, after.key) for before, after in drill)
    keys = [*evaluation.predictions.keys, *(key for pair in pairs for key in pair)]
    return DemoRun(
        settings=pipeline.settings,
        staged=staged,
        trained=trained,
        deployed=deployed,
        classified=classified,
        evaluation=evaluation,
        monitored=monitored,
        shift_classified=shift_classified,
        shift_monitored=shift_monitored,
        dispatched=dispatched,
        business_value=business_value,
        photos=dict(zip(keys, pipeline.aws.bucket.get_all(keys), strict=True)),
        pairs=pairs,
        seconds=clock.seconds,
        loop=looped,
    )


def _stage(pipeline: Pipeline) -> tuple[StageResult, tuple[LabelledPhoto, ...]]:
    """Stage all photos but those that arrive later."""
    aws, settings, report = pipeline.aws, pipeline.settings, pipeline.report
    photos, arriving = hold_back(load_photos(aws, settings, report), settings.seed)
    staged = stage(aws, settings, photos, report)
    save_result(aws, "stage", staged)
    report.tell(f"{len(arriving)} photos are held back: they arrive later, from a new camera")
    return staged, arriving


def _shift(pipeline: Pipeline, sample: Sample) -> tuple[Sample, Sample]:
    photo = darken_and_blur(pipeline.aws.bucket.get(sample.key))
    return sample, pipeline.upload("shifted.png", photo, sample.label)


def _captured(classified: ClassifyResult) -> int:
    """How many photos the endpoint answered, and must therefore have captured."""
    unanswered = classified.count(Outcome.FAILED) + classified.count(Outcome.UNREADABLE)
    return len(classified.executions) - unanswered


def _remains(cloud: Cloud) -> tuple[str, ...]:
    """What a stopped local cloud has left on this machine; normally nothing."""
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


def _result(run: DemoRun, cost: Bill, left: tuple[str, ...], path: Path) -> DemoResult:
    staged, metrics = run.staged, run.evaluation.metrics
    alert = run.shift_monitored.alert
    return DemoResult(
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
        executions={outcome.value: run.classified.count(outcome) for outcome in Outcome},
        drift={
            "baseline_alarm": run.monitored.alert is not None,
            "baseline_photos": run.monitored.photos,
            "shifted_alarm": alert is not None,
            "shifted_photos": run.shift_monitored.photos,
            "cause": alert.cause if alert else None,
            "found_after": run.photos_to_alarm,
        },
        dispatch={
            "couriers": len(run.dispatched.couriers),
            "orders": len(run.dispatched.orders),
            "assigned": len(run.dispatched.plan.assignments),
        },
        on_time=_on_time(run.business_value, run.settings.threshold),
        cost_on_aws_dollars=round(cost.total_dollars, 4),
        left_behind=len(left),
        left=left,
        seconds=run.seconds,
        report=str(path.absolute()),
        loop=_loop(run.loop) if run.loop else None,
    )


def _loop(found: LoopDemo) -> Mapping[str, object]:
    before, after = found.intervals()
    retrainings = ((found.retraining, "retraining"), (found.poisoned, "poisoned"))
    return {
        "drift_alarm": found.monitored.alert is not None,
        "labels": found.labels,
        "measuring_labels": found.measuring,
        "judged_photos": found.accuracy.n,
        "accuracy_before": found.accuracy.champion,
        "interval_before": (before.low, before.high),
        "accuracy_after": found.accuracy.challenger,
        "interval_after": (after.low, after.high),
        "p_value": found.accuracy.p_value,
        "release": found.release,
        "canary": found.canary,
        "imported_labels": found.imported,
        "flipped_labels": found.flipped,
        "live_model": found.live,
        **{
            name: {"model": each.challenger, "outcome": each.outcome, "why": each.why, "labels": each.labels}
            for each, name in retrainings
        },
    }


def _on_time(value: BusinessValue, threshold: float) -> Mapping[str, float]:
    ends = {"without a classifier": value.blind.on_time.mean, "with perfect knowledge": value.perfect.on_time.mean}
    now = [line.on_time.mean for line in value.measured if line.threshold == threshold]
    return {"with this model": now[0], **ends} if now else ends
