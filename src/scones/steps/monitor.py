"""Monitor: compare what the endpoint saw since the last look with the baseline; send an alert if it changed."""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from scones.aws.client import AwsError, AwsUnreachable, poll
from scones.aws.connection import Aws
from scones.aws.s3 import S3Object
from scones.aws.sagemaker import Endpoint
from scones.config.settings import Settings
from scones.data.decode import decode
from scones.data.manifest import Sample
from scones.domain.errors import SconesError
from scones.domain.keys import (
    LABEL_SAMPLE_KEY,
    MONITOR_STATE_KEY,
    alert_key,
    baseline_key,
    features_prefix,
    history_prefix,
    learned_baseline_key,
    monitor_results_key,
    run_suffix,
    split_prefix,
)
from scones.domain.progress import Reporter
from scones.domain.tags import probe_id
from scones.monitoring.alerts.alert import Alert as DriftAlert
from scones.monitoring.alerts.alert import PhotoWindow
from scones.monitoring.alerts.notices import (
    ActiveAlarm,
    AlarmEvent,
    AlertSummary,
    alert_event,
    alert_json,
    baseline_event,
    drift_beside_model_event,
    new_alarms,
    probe_event,
    release_event,
    summarize,
)
from scones.monitoring.capture.cursor import CaptureCursor, CaptureFile, Reading, is_capture
from scones.monitoring.capture.records import CaptureReader, RefusalReason, Watching, split_lines
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.window_test import FalseAlarmBudget, WindowVerdict
from scones.monitoring.history import to_lines
from scones.monitoring.inspect import Look, Looked, MonitoringFigures, Registered, acknowledged, alert_of, figures
from scones.monitoring.model_monitor import (
    NAMESPACE,
    FeatureSummary,
    constraints_document,
    dimensions,
    statistics_document,
    violations_document,
)
from scones.monitoring.monitor_state import MonitorState
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import LabelRequest
from scones.monitoring.performance.prediction_check import PredictionCheck, ProbeResult, is_reliable_probe, probe_images
from scones.monitoring.performance.registered_model import RegisteredModel, open_model
from scones.reports.alert import render_alert

_STATISTICS = "statistics.json"
_CAPTURE_SECONDS = 60.0
_UNTIL_ACKNOWLEDGED = "No further notice of this comes until: scones monitor --acknowledge"


class ConcurrentRunError(SconesError):
    """Two looks at once: each record counts in the one that ended first."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(
            f"another look at endpoint {endpoint!r} ended first, and its result stands; run: scones monitor"
        )


@dataclass(frozen=True, slots=True)
class MonitorTarget:
    """What to look at: the endpoint and its configuration, its capture, the model deployed last, and where alerts go.

    *at_least* photos are waited for: the capture reaches the bucket some time after the answers. After *seconds* what
    has not been read is left for the next look. *samples* are the staged photos, of which some are sent as canaries.
    """

    endpoint: str
    config: str
    model_uri: str
    capture_prefix: str
    alert_topic: str
    samples: tuple[Sample, ...] = ()
    at_least: int = 0
    seconds: float = math.inf
    acknowledge: bool = False
    """Whether the alarms that stand are taken note of, and may ring anew."""


@dataclass(frozen=True, slots=True)
class MonitorResult:
    """The verdict on the photos since the last look, everything that could not be used, and the alarms that stand."""

    verdict: WindowVerdict
    photos: int
    malformed: tuple[str, ...]
    """One line for each of the first captured records that could not be used."""
    report_uri: str
    """The page of the alert, while that stands."""
    refused: Mapping[RefusalReason, int]
    """How many records were not looked at, by reason."""
    alarms: tuple[ActiveAlarm, ...]
    """What stands until it is acknowledged."""
    acknowledged: int
    canaries: tuple[ProbeResult, ...]
    replayed: PredictionCheck
    """How the captured answers compare with the registered model's."""
    evidence: float
    """The stream detector's, in alarm lines."""
    alert: AlertSummary | None
    """What this look found, if that is worth an alert."""
    accuracy: AccuracyEstimate | None
    """Estimated without labels, for the newest photos."""
    complete: bool
    """Whether the capture was read to its end."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What came of the capture since the last look."""

    looked: Looked
    refused: Mapping[RefusalReason, int]
    examples: tuple[str, ...]
    cursor: CaptureCursor
    complete: bool


def monitor(aws: Aws, settings: Settings, watched: MonitorTarget, report: Reporter) -> MonitorResult:
    """Look at each captured photo once: the state in the bucket says how far the capture was read.

    Raises:
        WaitTimeout: fewer than *at_least* photos were captured in a minute.
        LookOvertaken: another look ended meanwhile; nothing of this one is kept.
        StateUnreadable: the state in the bucket is damaged.
    """
    endpoint = aws.sagemaker.find_endpoint(watched.endpoint)
    before, tag = _recall(aws)
    deployed = _fetch_model(aws, watched.model_uri)
    budget = FalseAlarmBudget(settings.false_alarms_per_1000_photos)
    model_file = deployed.model_file
    registered = Registered(
        deployed.baseline, deployed.ask, budget, settings.seed, model_file.classes, model=model_file.version
    )
    state = _at(endpoint, before)
    if watched.acknowledge:
        state = replace(state, alarms=(), stream=acknowledged(state.stream, registered))
    read = _read(aws, watched, state, deployed, registered)
    alert = alert_of(read.looked, deployed.known(watched.endpoint), registered)
    canaries = tuple(_send_canaries(aws, watched, deployed))
    findings = (
        *probe_event(canaries),
        *_of_release(endpoint, watched),
        *drift_beside_model_event(alert, read.looked.verdict, read.looked.rung),
        *baseline_event(deployed.baseline.data_version, model_file.data_version),
    )
    new = (*_drifted(aws, alert, deployed, state, _asked(read.looked.batch, registered)), *_alarms(state, findings))
    state = replace(state, cursor=read.cursor, alarms=(*state.alarms, *new), stream=read.looked.stream.to_json())
    # Before the notices: what fails from here on is told by the next look, and no photo counts twice.
    tag = _keep(aws, watched, state, tag)
    _publish(aws, watched, MonitoringFigures(read.looked, read.refused, canaries, state.alarms), deployed.baseline)
    alarms = _tell(aws, watched, state, tag)
    result = _result(read, alarms, canaries, alert)
    report.tell(in_words(result))
    return replace(result, acknowledged=len(before.alarms) if watched.acknowledge else 0)


def in_words(result: MonitorResult) -> str:
    """Say in a line what the look found."""
    if result.alert:
        return result.alert.subject
    if not result.verdict.enough:
        return f"{result.photos} photos since the last look: too few for a verdict"
    return f"no drift in {result.photos} photos"


def _result(
    read: _Read, alarms: tuple[ActiveAlarm, ...], canaries: tuple[ProbeResult, ...], alert: DriftAlert | None
) -> MonitorResult:
    looked = read.looked
    return MonitorResult(
        verdict=looked.verdict,
        photos=looked.photos,
        malformed=read.examples,
        report_uri=next((alarm.report_uri for alarm in reversed(alarms) if alarm.report_uri), "") if alert else "",
        refused=read.refused,
        alarms=alarms,
        acknowledged=0,
        canaries=canaries,
        replayed=looked.replayed,
        evidence=looked.evidence,
        alert=summarize(alert) if alert else None,
        accuracy=looked.accuracy,
        complete=read.complete,
    )


def _recall(aws: Aws) -> tuple[MonitorState, str]:
    body, tag = aws.bucket.find_version(MONITOR_STATE_KEY)
    return MonitorState() if body is None else MonitorState.from_json(body, aws.bucket.uri(MONITOR_STATE_KEY)), tag


def _keep(aws: Aws, watched: MonitorTarget, state: MonitorState, tag: str) -> str:
    kept = aws.bucket.replace(MONITOR_STATE_KEY, state.to_json(), tag)
    if kept is None:
        raise ConcurrentRunError(watched.endpoint)
    return kept


def _at(endpoint: Endpoint | None, state: MonitorState) -> MonitorState:
    """Note since when the endpoint serves what it serves; scaling changes it too, but not its configuration."""
    if endpoint is None or endpoint.status != "InService":
        return state
    return state.serving(endpoint.config, endpoint.changed)


def _fetch_model(aws: Aws, model_uri: str) -> RegisteredModel:
    """Open the model; where days of traffic were learnt for it, what is seen is compared with those."""
    deployed = open_model(aws.bucket.get(aws.bucket.key(model_uri)))
    key = learned_baseline_key(deployed.model_file.version)
    learnt = aws.bucket.find(key)
    return replace(deployed, baseline=Baseline.from_bytes(learnt, aws.bucket.uri(key))) if learnt else deployed


def _read(
    aws: Aws, watched: MonitorTarget, state: MonitorState, deployed: RegisteredModel, registered: Registered
) -> _Read:
    model_file, reading = deployed.model_file, Reading(state.cursor)
    intake = CaptureReader(Watching(model_file.classes, model_file.image_size, state.since), reading)
    look = Look(registered, state.stream)
    deadline = time.monotonic() + watched.seconds
    after = state.cursor.start_after(watched.capture_prefix)
    complete = True
    for _ in poll(f"capture of {watched.at_least} photos of endpoint {watched.endpoint}", _CAPTURE_SECONDS):
        listed = _captures(aws.bucket.list(watched.capture_prefix, after), watched, intake)
        for item, pieces in aws.bucket.read_all(_objects(reading.choose(listed, complete=not after))):
            if time.monotonic() > deadline:
                complete = False
                break
            file = _file(item)
            if pieces is None:
                intake.refuse_once(RefusalReason.GONE, f"{item.key}: {RefusalReason.GONE}")
                continue
            for seen in intake.take(file, split_lines(pieces)):
                look.add(seen)
            reading.done(file)
        if look.photos >= watched.at_least or not complete:
            break
    return _Read(look.finish(), intake.counts, intake.examples, reading.cursor(finished=complete), complete)


def _captures(listed: Iterable[S3Object], watched: MonitorTarget, intake: CaptureReader) -> Iterator[CaptureFile]:
    for item in listed:
        if is_capture(item.key, watched.capture_prefix):
            yield _file(item)
        else:
            intake.refuse_once(RefusalReason.NO_CAPTURE, f"{item.key}: {RefusalReason.NO_CAPTURE}")


def _file(item: S3Object) -> CaptureFile:
    return CaptureFile(item.key, item.etag, item.size, item.modified)


def _objects(files: Iterable[CaptureFile]) -> Iterator[S3Object]:
    return (S3Object(file.key, file.size, file.etag, file.modified) for file in files)


def _send_canaries(aws: Aws, watched: MonitorTarget, deployed: RegisteredModel) -> Iterator[ProbeResult]:
    """Ask the endpoint about staged photos of which the registered model is sure, and right."""
    model_file = deployed.model_file
    for sample in probe_images(watched.samples):
        photo = aws.bucket.get(sample.key)
        pixels = decode(photo, model_file.image_size)[None]
        if not is_reliable_probe(sample.label, deployed.model.predict(pixels)[0], model_file.classes):
            continue
        try:
            reply = aws.sagemaker.invoke(watched.endpoint, photo, "application/x-image", probe_id(sample.sha256))
            answer = model_file.classes[int(np.argmax(json.loads(reply)))]
        except (AwsError, AwsUnreachable, ValueError, IndexError):
            answer = ""
        yield ProbeResult(sample.key, sample.label, answer)


def _of_release(endpoint: Endpoint | None, watched: MonitorTarget) -> Iterator[AlarmEvent]:
    """Compare what serves with what was deployed; while it is being updated, either may."""
    if endpoint is None or endpoint.status == "InService":
        yield from release_event(watched.endpoint, endpoint.config if endpoint else None, watched.config)


def _asked(batch: PhotoWindow | None, registered: Registered) -> LabelRequest | None:
    """The photos that the alert on this batch shows as those to label."""
    if batch is None:
        return None
    return LabelRequest.of(registered.model, batch.events, batch.probabilities, registered.seed)


def _drifted(
    aws: Aws, alert: DriftAlert | None, deployed: RegisteredModel, state: MonitorState, asked: LabelRequest | None
) -> Iterator[ActiveAlarm]:
    """Put the alert's page into the bucket, where it must be before anybody is sent to it; one that stands is kept."""
    if alert is None or asked is None:
        return
    moment = datetime.now(UTC)
    page_uri = aws.bucket.uri(alert_key(moment, "html"))
    for finding in new_alarms(state.alarms, [alert_event(alert, page_uri)]):
        page = render_alert(alert, _training_photos(aws, alert, deployed))
        aws.bucket.put(alert_key(moment, "html"), page.encode(), "text/html")
        document = alert_json(alert, page_uri)
        aws.bucket.put(alert_key(moment, "json"), document.encode(), "application/json")
        aws.bucket.put(LABEL_SAMPLE_KEY, asked.to_json(), "application/json")
        yield ActiveAlarm(finding, f"{moment:%Y-%m-%dT%H:%M:%SZ}", page_uri, document)


def _training_photos(aws: Aws, alert: DriftAlert, deployed: RegisteredModel) -> dict[str, bytes]:
    """Fetch the photos that the worst ones are like, as far as they are still staged."""
    prefix = split_prefix(deployed.model_file.data_version, "train")
    names = {example.like for example in alert.worst if example.like}
    found = {name: aws.bucket.find(f"{prefix}{name}") for name in names}
    return {name: photo for name, photo in found.items() if photo is not None}


def _alarms(state: MonitorState, findings: Iterable[AlarmEvent]) -> Iterator[ActiveAlarm]:
    """Date what was found."""
    for finding in new_alarms(state.alarms, findings):
        yield ActiveAlarm(finding, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")


def _publish(aws: Aws, watched: MonitorTarget, outcome: MonitoringFigures, baseline: Baseline) -> None:
    """Write Model Monitor's documents, and publish the metrics; silence is an alarm once there was a photo."""
    looked, moment = outcome.looked, datetime.now(UTC)
    if looked.photos or outcome.refused:
        standard = FeatureSummary(baseline.values)
        standard.add(baseline.values)
        _keep_json(aws, baseline_key(_STATISTICS), statistics_document(standard))
        _keep_json(aws, baseline_key("constraints.json"), constraints_document(baseline, looked.verdict.threshold))
        aws.bucket.put_json(
            monitor_results_key(watched.endpoint, moment, _STATISTICS), statistics_document(looked.summary)
        )
        key = monitor_results_key(watched.endpoint, moment, "constraint_violations.json")
        aws.bucket.put_json(key, violations_document(looked.verdict, outcome.refused))
    if looked.measured:
        run = run_suffix(moment)
        aws.bucket.put(f"{history_prefix(watched.endpoint)}{run}.jsonl", to_lines(looked.points), "application/jsonl")
        aws.bucket.put(f"{features_prefix(watched.endpoint)}{run}.npz", looked.measured.to_bytes())
    aws.metrics.publish(NAMESPACE, dimensions(watched.endpoint), figures(outcome))
    if looked.photos:
        aws.metrics.enable_alarm(f"{aws.name}-silence")


def _keep_json(aws: Aws, key: str, value: dict[str, object]) -> None:
    """Write what is not there already: a baseline's documents change with the model only, and are looked at by time."""
    if aws.bucket.find_json(key) != value:
        aws.bucket.put_json(key, value)


def _tell(aws: Aws, watched: MonitorTarget, state: MonitorState, tag: str) -> tuple[ActiveAlarm, ...]:
    """Send a notice of each alarm that has had none, and note that; the alarms that stand, all of them told."""
    new = [alarm for alarm in state.alarms if not alarm.told]
    for alarm in new:
        # An alert's own text names its page, and says what to do when it is dealt with.
        body = alarm.finding.body if alarm.report_uri else f"{alarm.finding.body}\n\n{_UNTIL_ACKNOWLEDGED}"
        attributes = {"alert": alarm.document} if alarm.document else {}
        aws.notices.publish(watched.alert_topic, alarm.finding.subject, body, attributes)
    told = tuple(replace(alarm, told=True) for alarm in state.alarms)
    if new:
        _keep(aws, watched, replace(state, alarms=told), tag)
    return told
