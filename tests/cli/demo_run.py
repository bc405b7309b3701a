"""The results of a demo, computed from made-up predictions in this process, for the tests of its report."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np

from evaluation.small_model import PLAN, facts, photos, small_model
from scones.cli.demo_report import DemoRun, render_demo
from scones.config.settings import Settings
from scones.data.dataset import ExcludedFile
from scones.dispatch.assignment import assign
from scones.dispatch.business_value import ValueSimulation, measured_classifier, simulate_business_value
from scones.dispatch.orders import Rules
from scones.dispatch.simulation import City, example_couriers, example_orders
from scones.domain.decision import Outcome
from scones.evaluation.evaluation import Evaluation, evaluate_model
from scones.monitoring.alerts.notices import AlertSummary
from scones.monitoring.drift.features import FEATURE_DESCRIPTIONS
from scones.monitoring.drift.window_test import FeatureShift, WindowVerdict
from scones.monitoring.inspect import MonitorResult
from scones.monitoring.performance.registered_model import PredictionCheck
from scones.steps.classify import ClassifiedPhoto, ClassifyResult
from scones.steps.deploy import DeployResult
from scones.steps.dispatch import DispatchResult
from scones.steps.stage import StageResult
from scones.steps.train import TrainingResult

CLASSES = ("bicycle", "motorcycle")
THRESHOLD = 0.8
TEST_PHOTOS = 200
SHIFTED = 40
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECONDS = {
    "local cloud": 1.8,
    "stage": 6.4,
    "train": 47.2,
    "up": 5.1,
    "deploy": 3.9,
    "classify": 2.6,
    "evaluate": 1.1,
    "monitor": 1.9,
    "drift drill": 3.3,
    "dispatch": 0.2,
    "simulated days": 1.2,
    "down": 4.4,
}
ALERT = AlertSummary(
    "Scones warning: quality", "warning", "quality", "photos are darker", 212, "photo 205", ("90% -> 71%",), ("darker",)
)


def verdict(photos: int, alarm: bool) -> WindowVerdict:
    """A verdict on a window, with the features that darkness changes first."""
    scores = (
        np.linspace(18, -1, len(FEATURE_DESCRIPTIONS)) if alarm else np.linspace(0.9, -1, len(FEATURE_DESCRIPTIONS))
    )
    shifts = tuple(
        FeatureShift(name, 10.0 + index, (5.0 if alarm else 10.1) + index, float(score))
        for index, (name, score) in enumerate(zip(FEATURE_DESCRIPTIONS, scores, strict=True))
    )
    score, chance = (161.0, 0.0001) if alarm else (1.1, 0.31)
    return WindowVerdict(alarm, True, photos, score, 2.5, shifts, chance, 0.001)


def monitored(found: WindowVerdict, alert: AlertSummary | None) -> MonitorResult:
    """A monitoring run with this verdict."""
    return MonitorResult(
        verdict=found,
        photos=found.photos,
        malformed=(),
        report_uri="",
        refused={},
        alarms=(),
        acknowledged=0,
        probes=(),
        prediction_check=PredictionCheck(found.photos),
        drift_score=0.0,
        alert=alert,
        accuracy=None,
        complete=True,
    )


def classified(evaluation: Evaluation, keys: Mapping[str, str], clients: int = 8) -> ClassifyResult:
    """Executions of so many clients, one after the other in each; *keys* gives the key of each evaluated photo."""
    rng = np.random.default_rng(0)
    free = [0.0] * clients
    executions = []
    rows = zip(*(getattr(evaluation.predictions, name) for name in ("keys", "labels", "probabilities")), strict=True)
    for key, label, row in rows:
        if key not in keys:
            continue
        client, took = int(np.argmin(free)), float(rng.gamma(12, 0.006))
        executions.append(
            ClassifiedPhoto(
                name=key,
                key=keys[key],
                truth=label,
                outcome=Outcome.CLASSIFIED if max(row) >= THRESHOLD else Outcome.BELOW_THRESHOLD,
                label=CLASSES[row.index(max(row))],
                confidence=max(row),
                probabilities=row,
                error="",
                cause="",
                started=START + timedelta(seconds=free[client]),
                stopped=START + timedelta(seconds=free[client] + took),
            )
        )
        free[client] += took + 0.002
    return ClassifyResult(tuple(executions))


@cache
def demo_run(kind: str = "photos") -> DemoRun:
    """The results of a demo on photos, or on the rendered sample."""
    evaluation = evaluate_model(small_model(), facts(TEST_PHOTOS, kind), photos(TEST_PHOTOS), PLAN, lambda *_: None)
    keys = evaluation.predictions.keys
    shifted = {key: f"asked/{key}" for key in keys[:SHIFTED]}
    couriers = example_couriers([(str(i), (*CLASSES, "")[i % 3], 0.7 + i / 80) for i in range(24)], 0)
    orders = example_orders(40, 0)
    rules = Rules()
    trial = ValueSimulation(City(couriers=16, orders=60), seeds=(0, 1))
    found = measured_classifier(evaluation.predictions.labels, evaluation.predictions.probabilities, CLASSES)
    images = {photo.key: photo.data for photo in photos(TEST_PHOTOS)}
    return DemoRun(
        settings=Settings(),
        staged=StageResult(
            "grays",
            "photos" if kind == "photos" else "rendered",
            "",
            "5be1c0ffee12",
            CLASSES,
            1000,
            TEST_PHOTOS,
            1200,
            (
                ExcludedFile("train/bicycle/<b>torn</b>.png", "is cut off"),
                ExcludedFile("train/notes.txt", "is not an image"),
            ),
        ),
        trained=TrainingResult("job-1", "s3://b/model.tar.gz", "5be1c0ffee12", CLASSES, {}, 47.2),
        deployed=DeployResult("scones-test", "c", "scones-model-1", "s3://b/model.tar.gz", CLASSES, "capture/"),
        classified=classified(evaluation, {key: key for key in keys}),
        evaluation=evaluation,
        monitored=monitored(verdict(TEST_PHOTOS, alarm=False), None),
        shift_classified=classified(evaluation, shifted),
        shift_monitored=monitored(verdict(SHIFTED, alarm=True), ALERT),
        dispatched=DispatchResult(couriers, orders, assign(couriers, orders, rules), "s3://b/plan.json"),
        business_value=simulate_business_value(found, trial, rules, THRESHOLD),
        photos=images | {shifted[key]: images[key] for key in shifted},
        pairs=tuple(shifted.items()),
        seconds=SECONDS,
    )


def page(run: DemoRun) -> str:
    """The report of *run*."""
    return render_demo(run, run.bill())


@cache
def demo_page() -> str:
    """The report of a demo on photos, rendered once for all tests that only read it."""
    return page(demo_run())


def with_verdicts(run: DemoRun, before: WindowVerdict, after: WindowVerdict) -> DemoRun:
    """The same run with other verdicts on the unchanged and the shifted photos."""
    alert = ALERT if after.alarm else None
    return replace(run, monitored=monitored(before, None), shift_monitored=monitored(after, alert))
