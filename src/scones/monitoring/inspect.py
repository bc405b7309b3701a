"""Inspect: one pure function from the state and the captured records to everything that a monitoring run writes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from scones.domain.naming import (
    LABEL_SAMPLE_KEY,
    alert_key,
    baseline_key,
    features_prefix,
    history_prefix,
    monitor_results_key,
    run_suffix,
)
from scones.domain.result import StepResult
from scones.domain.text import name_env, plural
from scones.monitoring.alerts.alert import Alert, make_alert
from scones.monitoring.alerts.notices import (
    ActiveAlarm,
    AlertSummary,
    Notice,
    alert_event,
    alert_json,
    drift_beside_model_event,
    new_alarms,
    notice_of,
    summarize,
)
from scones.monitoring.capture.records import CaptureReader, RefusalReason
from scones.monitoring.drift.features import FeatureSummary
from scones.monitoring.drift.window_test import WindowVerdict
from scones.monitoring.history import to_lines
from scones.monitoring.model_monitor import constraints_document, metrics, statistics_document, violations_document
from scones.monitoring.monitor_state import MonitorState, RunContext, check_baseline, check_endpoint
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import LabelRequest
from scones.monitoring.performance.registered_model import PredictionCheck, ProbeResult, RegisteredModel
from scones.monitoring.run import MonitoringRun, RunResult, acknowledge_stream


@dataclass(frozen=True, slots=True)
class Document:
    """An object to write into the bucket."""

    key: str
    content: bytes
    content_type: str = "application/json"
    rewrite: bool = True
    """Whether to write it even if the bucket has the same content."""


@dataclass(frozen=True, slots=True)
class MonitorResult(StepResult):
    """The result of a monitoring run, the records that could not be used, and the active alarms."""

    TABLE = "verdict.features"
    FIGURE = ("verdict.features", "name", "score")

    verdict: WindowVerdict
    photos: int
    malformed: tuple[str, ...]
    """The first records that could not be used, one line each."""
    report_uri: str
    """The page of the alert, while its alarm is active."""
    refused: Mapping[RefusalReason, int]
    """The number of records that were not used, by reason."""
    alarms: tuple[ActiveAlarm, ...]
    """Active until they are acknowledged."""
    acknowledged: int
    probes: tuple[ProbeResult, ...]
    prediction_check: PredictionCheck
    drift_score: float
    """The stream detector's, in units of the threshold."""
    alert: AlertSummary | None
    """What this run found, if it is worth an alert."""
    accuracy: AccuracyEstimate | None
    """Estimated without labels, for the newest photos."""
    complete: bool
    """Whether the capture was read to its end."""

    def headline(self) -> str:
        """The result in one line."""
        if self.alert:
            return self.alert.subject
        if not self.verdict.enough:
            return f"{plural(self.photos, 'photo')} since the last run: too few for a drift score"
        return f"no drift in {plural(self.photos, 'photo')}"


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that a monitoring run writes and returns."""

    alert: Alert | None
    """What this run found, even if its alarm is active already."""
    alert_page: str
    """The key for the page of a new alert; empty if there is none."""
    alert_documents: tuple[Document, ...]
    """The new alert for programs, and the photos that it asks to label; a notice refers to them."""
    state: MonitorState
    documents: tuple[Document, ...]
    metrics: dict[str, float]
    notices: tuple[Notice, ...]
    """One for each active alarm whose notice was not sent yet."""
    result: MonitorResult


def inspect(state: MonitorState, records: CaptureReader, model: RegisteredModel, context: RunContext) -> Inspection:
    """Measure and test all captured *records*; nothing is written, and the only clock is the *context*'s."""
    acknowledged = len(state.alarms) if context.acknowledge else 0
    if context.acknowledge:
        state = replace(state, alarms=(), stream=acknowledge_stream(state.stream, model))
    running = MonitoringRun(model, state.stream)
    for photo in records:
        running.add(photo)
    run = running.finish()
    alert = make_alert(run, run.window, model, context.endpoint, context.env) if run.fired and run.window else None
    new_alert = _new_alert(state, alert, context)
    events = [*check_endpoint(context), *drift_beside_model_event(alert, run), *check_baseline(model)]
    events = [replace(event, body=name_env(event.body, context.env)) for event in events]
    others = [ActiveAlarm(event, _written(context)) for event in new_alarms(state.alarms, events)]
    alarms = (*state.alarms, *([new_alert] if new_alert else []), *others)
    state = replace(state, cursor=records.cursor(), alarms=alarms, stream=run.stream.to_json())
    return Inspection(
        alert=alert,
        alert_page=alert_key(context.now, "html") if new_alert else "",
        alert_documents=tuple(_alert_documents(new_alert, run, model, context)) if new_alert else (),
        state=state,
        documents=tuple(_documents(run, records, model, context)),
        metrics=metrics(run, records.refused, context.probes, alarms),
        notices=tuple(notice_of(alarm, context.env) for alarm in alarms if not alarm.sent),
        result=MonitorResult(
            verdict=run.verdict,
            photos=run.photos,
            malformed=records.examples,
            report_uri=next((alarm.report_uri for alarm in reversed(alarms) if alarm.report_uri), "") if alert else "",
            refused=records.refused,
            alarms=state.with_sent_notices().alarms,
            acknowledged=acknowledged,
            probes=context.probes,
            prediction_check=run.check,
            drift_score=run.stream_score,
            alert=summarize(alert) if alert else None,
            accuracy=run.accuracy,
            complete=records.complete,
        ),
    )


def _new_alert(state: MonitorState, alert: Alert | None, context: RunContext) -> ActiveAlarm | None:
    """The alarm of an alert, unless one of its kind is active."""
    if alert is None:
        return None
    page_uri = context.bucket_uri + alert_key(context.now, "html")
    new = new_alarms(state.alarms, [alert_event(alert, page_uri)])
    return ActiveAlarm(new[0], _written(context), page_uri, alert_json(alert, page_uri)) if new else None


def _written(context: RunContext) -> str:
    return f"{context.now:%Y-%m-%dT%H:%M:%SZ}"


def _alert_documents(
    alarm: ActiveAlarm, run: RunResult, model: RegisteredModel, context: RunContext
) -> Iterator[Document]:
    yield Document(alert_key(context.now, "json"), alarm.document.encode())
    if run.window is not None:
        request = LabelRequest.of(model.version, run.window.events, run.window.probabilities, model.seed)
        yield Document(LABEL_SAMPLE_KEY, request.to_json())


def _documents(
    run: RunResult, records: CaptureReader, model: RegisteredModel, context: RunContext
) -> Iterator[Document]:
    """Model Monitor's documents, the history and the recorded traffic."""
    endpoint, now = context.endpoint, context.now
    if run.photos or records.refused:
        summary = FeatureSummary(model.baseline.values)
        summary.add(model.baseline.values)
        constraints = constraints_document(model.baseline, run.verdict.threshold)
        # Tools look at their times: a baseline changes only with the model.
        yield Document(baseline_key("statistics.json"), _encode(statistics_document(summary)), rewrite=False)
        yield Document(baseline_key("constraints.json"), _encode(constraints), rewrite=False)
        statistics, violations = statistics_document(run.summary), violations_document(run.verdict, records.refused)
        yield Document(monitor_results_key(endpoint, now, "statistics.json"), _encode(statistics))
        yield Document(monitor_results_key(endpoint, now, "constraint_violations.json"), _encode(violations))
    if run.traffic:
        name, lines = run_suffix(now), to_lines(run.points)
        yield Document(f"{history_prefix(endpoint)}{name}.jsonl", lines, "application/jsonl")
        content = run.traffic.to_bytes()
        yield Document(f"{features_prefix(endpoint)}{name}.npz", content, "application/octet-stream")


def _encode(document: dict[str, object]) -> bytes:
    return json.dumps(document, indent=1).encode()
