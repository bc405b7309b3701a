"""Demo report: the results of the demo's steps as one HTML page, and what the same run would cost on AWS."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np

from scones.cli.demo_loop import LoopDemo
from scones.config.settings import Settings
from scones.deployment.pricing import (
    DECISION_WRITES,
    HOURS_PER_MONTH,
    SINGLE_PHOTO_FUNCTIONS,
    Bill,
    Usage,
    bill,
    endpoint_usage,
    express_usage,
)
from scones.dispatch.business_value import BusinessValue
from scones.domain import VERSION
from scones.domain.decision import Outcome
from scones.evaluation.evaluation import Evaluation
from scones.monitoring.drift.features import FEATURE_DESCRIPTIONS
from scones.monitoring.inspect import MonitorResult
from scones.reports import charts
from scones.reports.evaluation import photo_cards
from scones.reports.theme import PhotoCard, choose_photos, class_colours, environment
from scones.steps.classify import ClassifiedPhoto, ClassifyResult
from scones.steps.deploy import DeployResult
from scones.steps.dispatch import DispatchResult
from scones.steps.stage import StageResult
from scones.steps.train import TrainingResult

_MAX_PAIRS = 6
_FUNCTION_GIGABYTES = 0.5
_WITHOUT_ENDPOINT = ("local cloud", "stage", "train", "up", "simulated days", "down", "report", "total")


@dataclass(frozen=True, slots=True)
class DemoRun:
    """The results of the demo's steps; *monitored* is of the unchanged photos, *shift_monitored* of the shifted ones.

    *pairs* are the keys of the same photo before and after the shift; *photos* holds the bytes of the keys to show.
    *seconds* maps each step to its duration, in order.
    """

    settings: Settings
    staged: StageResult
    trained: TrainingResult
    deployed: DeployResult
    classified: ClassifyResult
    evaluation: Evaluation
    monitored: MonitorResult
    shift_classified: ClassifyResult
    shift_monitored: MonitorResult
    dispatched: DispatchResult
    business_value: BusinessValue
    photos: Mapping[str, bytes]
    pairs: tuple[tuple[str, str], ...]
    seconds: Mapping[str, float]
    loop: LoopDemo | None = None

    @property
    def photos_to_alarm(self) -> int | None:
        """How many shifted photos it took until the alarm fired; None if it did not."""
        alert = self.shift_monitored.alert
        return None if alert is None else alert.photo - self.monitored.photos

    def bill(self) -> Bill:
        """What the same run would cost on AWS; reading back for the report is not counted."""
        executions = (*self.classified.executions, *self.shift_classified.executions)
        training = self.seconds["train"]
        if self.loop:
            executions += self.loop.executions
            training += self.loop.training_seconds
        in_functions = sum((item.stopped - item.started).total_seconds() for item in executions)
        photos = len(executions) + len(self.evaluation.predictions.keys)
        hours = sum(self.seconds[step] for step in self.seconds if step not in _WITHOUT_ENDPOINT) / 3600
        usage: Usage = {
            **express_usage(len(executions), in_functions),
            f"training:{self.settings.training_instance}": training / 3600,
            **endpoint_usage(self.settings, hours),
            "lambda_request": len(SINGLE_PHOTO_FUNCTIONS) * len(executions),
            "lambda_gigabyte_second": _FUNCTION_GIGABYTES * in_functions,
            "s3_put": self.staged.uploaded + photos,
            "s3_get": self.staged.train + 2 * photos,
            "table_write": DECISION_WRITES * len(executions),
            "sns_publish": sum(bool(item.error) for item in executions),
        }
        return bill(usage)


def render_demo(run: DemoRun, cost: Bill) -> str:
    """Render the report: inline styles, drawings and photos; no script, and nothing is fetched."""
    classes, metrics = run.staged.classes, run.evaluation.metrics
    cards = photo_cards(run.evaluation.predictions, classes, [run.photos[k] for k in run.evaluation.predictions.keys])
    spans = _spans(run.classified.executions)
    before, after = run.monitored.verdict, run.shift_monitored.verdict
    counts = Counter(item.outcome for item in run.classified.executions)
    return (
        environment()
        .get_template("demo.html.j2")
        .render(
            run=run,
            data=run.staged,
            classes=classes,
            noun="photo" if run.staged.kind == "photos" else "drawing",
            scores=metrics,
            outcomes={outcome.value: counts[outcome] for outcome in Outcome},
            latencies=latencies(spans),
            before=before,
            after=after,
            pairs=_shift_pairs(run),
            descriptions=FEATURE_DESCRIPTIONS,
            plan=run.dispatched.plan,
            idle=charts.idle_couriers(run.dispatched.plan, run.dispatched.couriers),
            value=run.business_value,
            now=next((line for line in run.business_value.measured if line.threshold == metrics.threshold), None),
            bill=cost,
            endpoint_month=bill(endpoint_usage(run.settings, HOURS_PER_MONTH)).total_dollars,
            gallery=choose_photos(cards, classes, metrics.threshold),
            left_out=[(item.name, item.why) for item in run.staged.left_out],
            files_left_out=sum(item.files for item in run.staged.left_out),
            total_seconds=sum(run.seconds.values()),
            charts={
                "confidence": charts.confidence_histogram(cards, metrics.threshold, len(classes)),
                "timeline": charts.timeline(spans),
                "steps": charts.steps(run.seconds),
                "drift": charts.drift(before, after) if after.enough else "",
                "map": charts.dispatch_map(run.dispatched.plan, run.dispatched.couriers, classes),
                "business_value": charts.on_time_chart(run.business_value),
            },
            colour_of=class_colours(classes),
            created=datetime.now(UTC),
            versions={
                "Scones": VERSION,
                "Python": platform.python_version(),
                "seed": run.settings.seed,
                "data version": run.staged.version,
                "training job": run.trained.job,
                "model": run.deployed.model,
            },
        )
    )


def latencies(spans: Sequence[charts.Span]) -> Mapping[str, float]:
    """Percentiles of the executions' durations in milliseconds, and executions per second; empty without any."""
    if not spans:
        return {}
    p50, p90, p99 = np.percentile([1000 * (stopped - started) for started, stopped, _ in spans], [50, 90, 99]).tolist()
    seconds = max(stopped for _, stopped, _ in spans) - min(started for started, _, _ in spans)
    return {"p50": p50, "p90": p90, "p99": p99, "per_second": len(spans) / seconds if seconds > 0 else len(spans)}


def _spans(executions: Sequence[ClassifiedPhoto]) -> list[charts.Span]:
    first = min((item.started for item in executions), default=datetime.now(UTC))
    return [
        ((item.started - first).total_seconds(), (item.stopped - first).total_seconds(), item.outcome)
        for item in executions
    ]


def _shift_pairs(run: DemoRun) -> list[tuple[PhotoCard, PhotoCard]]:
    """A few photos before and after the shift, from all over the drill."""
    before = {item.key: item for item in run.classified.executions}
    after = {item.key: item for item in run.shift_classified.executions}
    shown = run.pairs[:: max(1, len(run.pairs) // _MAX_PAIRS)][:_MAX_PAIRS]
    return [(_card(before[old], run.photos[old]), _card(after[new], run.photos[new])) for old, new in shown]


def _card(execution: ClassifiedPhoto, photo: bytes) -> PhotoCard:
    name = PurePosixPath(execution.key).name
    return PhotoCard(photo, name, execution.truth, execution.label or "failed", execution.confidence)
