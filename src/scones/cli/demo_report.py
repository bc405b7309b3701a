"""Demo report: what the steps found out, put into the report's plain values."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from scones import __version__
from scones.config.settings import Settings
from scones.deployment.pricing import DECISION_WRITES, SINGLE_PHOTO_FUNCTIONS, Bill, Usage, bill, express_usage
from scones.dispatch.business_value import Line, Worth
from scones.dispatch.orders import Courier
from scones.evaluation.business_value import CityDays, Seen
from scones.evaluation.evaluation import Evaluation
from scones.monitoring.alerts.notices import AlertSummary
from scones.monitoring.drift.features import FEATURE_DESCRIPTIONS
from scones.monitoring.drift.window_test import WindowVerdict
from scones.monitoring.inspect import MonitorResult
from scones.reports.demo import render_report
from scones.reports.evaluation import photo_cards
from scones.reports.gallery import PhotoCard
from scones.reports.story import Channel, Data, DemoReport, Dispatch, Drift, DriftCheck, Run, Trip, VehicleLine
from scones.steps.classify import ClassifiedPhoto, ClassifyResult
from scones.steps.deploy import DeployResult
from scones.steps.dispatch import DispatchResult
from scones.steps.stage import StageResult
from scones.steps.train import TrainingResult

_PAIRS = 6
_FUNCTION_GIGABYTES = 0.5
_UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that the demo did; *photos* holds the bytes of each key that may be shown."""

    settings: Settings
    staged: StageResult
    trained: TrainingResult
    deployed: DeployResult
    classified: ClassifyResult
    evaluated: Evaluation
    calm: MonitorResult
    shifted: ClassifyResult
    alarmed: MonitorResult
    dispatched: DispatchResult
    days: Worth
    photos: Mapping[str, bytes]
    pairs: tuple[tuple[str, str], ...]
    """Keys of the same photo before and after the shift."""


def write_report(path: Path, shown: Shown, seconds: Mapping[str, float]) -> Bill:
    """Write the page to *path*, and return what the same run would cost on AWS."""
    cost = bill(_usage(shown, seconds))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_report(_story(shown, seconds, cost)), "utf-8")
    return cost


def _story(shown: Shown, seconds: Mapping[str, float], cost: Bill) -> DemoReport:
    staged = shown.staged
    return DemoReport(
        created=datetime.now(UTC),
        data=Data(
            name=staged.name,
            kind=staged.kind,
            classes=staged.classes,
            train=staged.train,
            test=staged.test,
            left_out=tuple((item.name, item.reason) for item in staged.left_out),
        ),
        evaluation=shown.evaluated.metrics,
        answers=_answers(shown),
        runs=_runs(shown.classified.executions),
        drift=_drift(shown),
        dispatch=_dispatch(shown.dispatched),
        city=_city(shown.days),
        steps=seconds,
        bill=cost,
        footer={
            "Scones": __version__,
            "Python": platform.python_version(),
            "seed": str(shown.settings.seed),
            "data version": staged.version,
            "training job": shown.trained.job,
            "model": shown.deployed.model,
        },
    )


def _answers(shown: Shown) -> tuple[PhotoCard, ...]:
    predictions = shown.evaluated.predictions
    return photo_cards(predictions, shown.staged.classes, [shown.photos[key] for key in predictions.keys])


def _runs(executions: Sequence[ClassifiedPhoto]) -> tuple[Run, ...]:
    first = min(item.started for item in executions)
    return tuple(
        Run(
            started=(item.started - first).total_seconds(),
            stopped=(item.stopped - first).total_seconds(),
            outcome=item.outcome,
        )
        for item in executions
    )


def _drift(shown: Shown) -> Drift:
    after = {item.key: item for item in shown.shifted.executions}
    before = {item.key: item for item in shown.classified.executions}
    return Drift(
        false_alarm_rate=shown.calm.verdict.false_alarm_rate,
        clean=_check(shown.calm.verdict),
        shifted=_check(shown.alarmed.verdict),
        said=_said(shown.alarmed.alert),
        found_after=found_after(shown.calm, shown.alarmed),
        pairs=tuple(
            (_seen(before[old], shown.photos[old]), _seen(after[new], shown.photos[new]))
            for old, new in shown.pairs[:: max(1, len(shown.pairs) // _PAIRS)][:_PAIRS]
        ),
    )


def found_after(calm: MonitorResult, alarmed: MonitorResult) -> int | None:
    """How many changed photos it took: they came after the unchanged ones of the look before."""
    return None if alarmed.alert is None else alarmed.alert.photo - calm.photos


def _said(alert: AlertSummary | None) -> tuple[str, ...]:
    if alert is None:
        return ()
    return (alert.subject, f"since {alert.since}", f"accuracy: {alert.accuracy}", *alert.changes)


def _seen(execution: ClassifiedPhoto, photo: bytes) -> PhotoCard:
    return PhotoCard(
        photo, PurePosixPath(execution.key).name, execution.truth, execution.label or "failed", execution.confidence
    )


def _check(verdict: WindowVerdict) -> DriftCheck:
    return DriftCheck(
        photos=verdict.photos,
        enough=verdict.enough,
        alarm=verdict.alarm,
        score=verdict.score,
        threshold=verdict.threshold,
        chance=verdict.chance,
        channels=tuple(
            Channel(item.name, FEATURE_DESCRIPTIONS[item.name], item.before, item.now, item.score)
            for item in verdict.features
        ),
    )


def _dispatch(dispatched: DispatchResult) -> Dispatch:
    plan = dispatched.plan
    busy = {item.courier.id for item in plan.assignments}
    return Dispatch(
        trips=tuple(
            Trip(
                vehicle=item.courier.vehicle if item.sure else _UNSURE,
                courier=(item.courier.x_km, item.courier.y_km),
                pickup=item.order.pickup,
                dropoff=item.order.dropoff,
            )
            for item in plan.assignments
        ),
        idle=tuple(_idle(courier) for courier in dispatched.couriers if courier.id not in busy),
        left=tuple((item.order.pickup, item.reason) for item in plan.unassigned),
        totals=tuple(
            VehicleLine(item.vehicle, item.couriers, item.orders, item.mean_trip_km, item.mean_minutes)
            for item in plan.totals()
        ),
    )


def _city(days: Worth) -> CityDays:
    return CityDays(
        couriers=days.trial.city.couriers,
        orders=days.trial.city.orders,
        days=len(days.trial.seeds),
        perfect=_seen_by(days.perfect),
        blind=_seen_by(days.blind),
        reviewed=_seen_by(days.reviewed) if days.reviewed else None,
        measured=tuple(_seen_by(line) for line in days.measured),
        imagined=tuple(_seen_by(line) for line in days.imagined),
    )


def _seen_by(line: Line) -> Seen:
    return Seen(
        name=line.name,
        accuracy=line.accuracy,
        threshold=line.threshold,
        unsure=line.unsure,
        on_time=line.on_time.mean,
        spread=line.on_time.spread,
        minutes_late=line.minutes_late.mean,
        km_per_order=line.km_per_order.mean,
        cancelled=line.cancelled.mean,
    )


def _idle(courier: Courier) -> tuple[str, tuple[float, float]]:
    return courier.vehicle, (courier.x_km, courier.y_km)


def _usage(shown: Shown, seconds: Mapping[str, float]) -> Usage:
    """Count what AWS would bill for the same work; reading back for the report is not counted."""
    executions = (*shown.classified.executions, *shown.shifted.executions)
    in_functions = sum((item.stopped - item.started).total_seconds() for item in executions)
    photos = len(executions) + len(shown.evaluated.predictions.keys)
    hours = sum(seconds[step] for step in seconds if step not in _WITHOUT_ENDPOINT) / 3600
    return {
        **express_usage(len(executions), in_functions),
        f"training:{shown.settings.training_instance}": seconds["train"] / 3600,
        f"endpoint:{shown.settings.endpoint_instance}": shown.settings.endpoint_instances * hours,
        "lambda_request": len(SINGLE_PHOTO_FUNCTIONS) * len(executions),
        "lambda_gigabyte_second": _FUNCTION_GIGABYTES * in_functions,
        "s3_put": shown.staged.uploaded + photos,
        "s3_get": shown.staged.train + 2 * photos,
        "table_write": DECISION_WRITES * len(executions),
        "sns_publish": sum(bool(item.error) for item in executions),
    }


_WITHOUT_ENDPOINT = ("local cloud", "stage", "train", "up", "simulated days", "down", "report", "total")
