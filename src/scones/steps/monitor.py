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
from scones.domain.tags import canary_id
from scones.monitoring.alerts.alert import Alert as DriftAlert
from scones.monitoring.alerts.alert import Batch
from scones.monitoring.alerts.notices import (
    ActiveAlarm,
    Finding,
    Told,
    fresh,
    in_short,
    of_alert,
    of_baseline,
    of_both,
    of_canaries,
    of_release,
    to_json,
)
from scones.monitoring.capture.cursor import Cursor, File, Reading, is_capture
from scones.monitoring.capture.records import Intake, RefusalReason, Watching, split
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.window_test import Budget, Verdict
from scones.monitoring.history import to_lines
from scones.monitoring.inspect import Look, Looked, MonitoringFigures, Registered, acknowledged, alert_of, figures
from scones.monitoring.model_monitor import (
    NAMESPACE,
    Summary,
    constraints,
    dimensions,
    statistics,
    violations,
)
from scones.monitoring.monitor_state import Remembered
from scones.monitoring.performance.accuracy_estimate import Estimate
from scones.monitoring.performance.labels import Asked
from scones.monitoring.performance.prediction_check import Canary, Replayed, candidates, is_sure
from scones.monitoring.performance.registered_model import RegisteredModel, open_model
from scones.reports.alert import render_alert

_STATISTICS = "statistics.json"
_CAPTURE_SECONDS = 60.0
_UNTIL_ACKNOWLEDGED = "No further notice of this comes until: scones monitor --acknowledge"


class LookOvertaken(SconesError):
    """Two looks at once: each record counts in the one that ended first."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(
            f"another look at endpoint {endpoint!r} ended first, and its result stands; run: scones monitor"
        )


@dataclass(frozen=True, slots=True)
class Watched:
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
class Monitored:
    """The verdict on the photos since the last look, everything that could not be used, and the alarms that stand."""

    verdict: Verdict
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
    canaries: tuple[Canary, ...]
    replayed: Replayed
    """How the captured answers compare with the registered model's."""
    evidence: float
    """The stream detector's, in alarm lines."""
    alert: Told | None
    """What this look found, if that is worth an alert."""
    accuracy: Estimate | None
    """Estimated without labels, for the newest photos."""
    complete: bool
    """Whether the capture was read to its end."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What came of the capture since the last look."""

    looked: Looked
    refused: Mapping[RefusalReason, int]
    examples: tuple[str, ...]
    cursor: Cursor
    complete: bool


def monitor(aws: Aws, settings: Settings, watched: Watched, report: Reporter) -> Monitored:
    """Look at each captured photo once: the state in the bucket says how far the capture was read.

    Raises:
        WaitTimeout: fewer than *at_least* photos were captured in a minute.
        LookOvertaken: another look ended meanwhile; nothing of this one is kept.
        StateUnreadable: the state in the bucket is damaged.
    """
    endpoint = aws.sagemaker.find_endpoint(watched.endpoint)
    before, tag = _recall(aws)
    deployed = _fetch_model(aws, watched.model_uri)
    budget = Budget(settings.false_alarms_per_1000_photos)
    artefact = deployed.artefact
    registered = Registered(
        deployed.baseline, deployed.ask, budget, settings.seed, artefact.classes, model=artefact.version
    )
    state = _at(endpoint, before)
    if watched.acknowledge:
        state = replace(state, alarms=(), stream=acknowledged(state.stream, registered))
    read = _read(aws, watched, state, deployed, registered)
    alert = alert_of(read.looked, deployed.known(watched.endpoint), registered)
    canaries = tuple(_send_canaries(aws, watched, deployed))
    findings = (
        *of_canaries(canaries),
        *_of_release(endpoint, watched),
        *of_both(alert, read.looked.verdict, read.looked.rung),
        *of_baseline(deployed.baseline.data_version, artefact.data_version),
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


def in_words(result: Monitored) -> str:
    """Say in a line what the look found."""
    if result.alert:
        return result.alert.subject
    if not result.verdict.enough:
        return f"{result.photos} photos since the last look: too few for a verdict"
    return f"no drift in {result.photos} photos"


def _result(
    read: _Read, alarms: tuple[ActiveAlarm, ...], canaries: tuple[Canary, ...], alert: DriftAlert | None
) -> Monitored:
    looked = read.looked
    return Monitored(
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
        alert=in_short(alert) if alert else None,
        accuracy=looked.accuracy,
        complete=read.complete,
    )


def _recall(aws: Aws) -> tuple[Remembered, str]:
    body, tag = aws.bucket.find_version(MONITOR_STATE_KEY)
    return Remembered() if body is None else Remembered.from_json(body, aws.bucket.uri(MONITOR_STATE_KEY)), tag


def _keep(aws: Aws, watched: Watched, state: Remembered, tag: str) -> str:
    kept = aws.bucket.replace(MONITOR_STATE_KEY, state.to_json(), tag)
    if kept is None:
        raise LookOvertaken(watched.endpoint)
    return kept


def _at(endpoint: Endpoint | None, state: Remembered) -> Remembered:
    """Note since when the endpoint serves what it serves; scaling changes it too, but not its configuration."""
    if endpoint is None or endpoint.status != "InService":
        return state
    return state.serving(endpoint.config, endpoint.changed)


def _fetch_model(aws: Aws, model_uri: str) -> RegisteredModel:
    """Open the model; where days of traffic were learnt for it, what is seen is compared with those."""
    deployed = open_model(aws.bucket.get(aws.bucket.key(model_uri)))
    key = learned_baseline_key(deployed.artefact.version)
    learnt = aws.bucket.find(key)
    return replace(deployed, baseline=Baseline.from_bytes(learnt, aws.bucket.uri(key))) if learnt else deployed


def _read(aws: Aws, watched: Watched, state: Remembered, deployed: RegisteredModel, registered: Registered) -> _Read:
    artefact, reading = deployed.artefact, Reading(state.cursor)
    intake = Intake(Watching(artefact.classes, artefact.image_size, state.since), reading)
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
            for seen in intake.take(file, split(pieces)):
                look.add(seen)
            reading.done(file)
        if look.photos >= watched.at_least or not complete:
            break
    return _Read(look.finish(), intake.counts, intake.examples, reading.cursor(finished=complete), complete)


def _captures(listed: Iterable[S3Object], watched: Watched, intake: Intake) -> Iterator[File]:
    for item in listed:
        if is_capture(item.key, watched.capture_prefix):
            yield _file(item)
        else:
            intake.refuse_once(RefusalReason.NO_CAPTURE, f"{item.key}: {RefusalReason.NO_CAPTURE}")


def _file(item: S3Object) -> File:
    return File(item.key, item.etag, item.size, item.modified)


def _objects(files: Iterable[File]) -> Iterator[S3Object]:
    return (S3Object(file.key, file.size, file.etag, file.modified) for file in files)


def _send_canaries(aws: Aws, watched: Watched, deployed: RegisteredModel) -> Iterator[Canary]:
    """Ask the endpoint about staged photos of which the registered model is sure, and right."""
    artefact = deployed.artefact
    for sample in candidates(watched.samples):
        photo = aws.bucket.get(sample.key)
        pixels = decode(photo, artefact.image_size)[None]
        if not is_sure(sample.label, deployed.model.predict(pixels)[0], artefact.classes):
            continue
        try:
            reply = aws.sagemaker.invoke(watched.endpoint, photo, "application/x-image", canary_id(sample.sha256))
            answer = artefact.classes[int(np.argmax(json.loads(reply)))]
        except (AwsError, AwsUnreachable, ValueError, IndexError):
            answer = ""
        yield Canary(sample.key, sample.label, answer)


def _of_release(endpoint: Endpoint | None, watched: Watched) -> Iterator[Finding]:
    """Compare what serves with what was deployed; while it is being updated, either may."""
    if endpoint is None or endpoint.status == "InService":
        yield from of_release(watched.endpoint, endpoint.config if endpoint else None, watched.config)


def _asked(batch: Batch | None, registered: Registered) -> Asked | None:
    """The photos that the alert on this batch shows as those to label."""
    if batch is None:
        return None
    return Asked.of(registered.model, batch.events, batch.probabilities, registered.seed)


def _drifted(
    aws: Aws, alert: DriftAlert | None, deployed: RegisteredModel, state: Remembered, asked: Asked | None
) -> Iterator[ActiveAlarm]:
    """Put the alert's page into the bucket, where it must be before anybody is sent to it; one that stands is kept."""
    if alert is None or asked is None:
        return
    moment = datetime.now(UTC)
    page_uri = aws.bucket.uri(alert_key(moment, "html"))
    for finding in fresh(state.alarms, [of_alert(alert, page_uri)]):
        page = render_alert(alert, _training_photos(aws, alert, deployed))
        aws.bucket.put(alert_key(moment, "html"), page.encode(), "text/html")
        document = to_json(alert, page_uri)
        aws.bucket.put(alert_key(moment, "json"), document.encode(), "application/json")
        aws.bucket.put(LABEL_SAMPLE_KEY, asked.to_json(), "application/json")
        yield ActiveAlarm(finding, f"{moment:%Y-%m-%dT%H:%M:%SZ}", page_uri, document)


def _training_photos(aws: Aws, alert: DriftAlert, deployed: RegisteredModel) -> dict[str, bytes]:
    """Fetch the photos that the worst ones are like, as far as they are still staged."""
    prefix = split_prefix(deployed.artefact.data_version, "train")
    names = {example.like for example in alert.worst if example.like}
    found = {name: aws.bucket.find(f"{prefix}{name}") for name in names}
    return {name: photo for name, photo in found.items() if photo is not None}


def _alarms(state: Remembered, findings: Iterable[Finding]) -> Iterator[ActiveAlarm]:
    """Date what was found."""
    for finding in fresh(state.alarms, findings):
        yield ActiveAlarm(finding, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")


def _publish(aws: Aws, watched: Watched, outcome: MonitoringFigures, baseline: Baseline) -> None:
    """Write Model Monitor's documents, and publish the metrics; silence is an alarm once there was a photo."""
    looked, moment = outcome.looked, datetime.now(UTC)
    if looked.photos or outcome.refused:
        standard = Summary(baseline.values)
        standard.add(baseline.values)
        _keep_json(aws, baseline_key(_STATISTICS), statistics(standard))
        _keep_json(aws, baseline_key("constraints.json"), constraints(baseline, looked.verdict.threshold))
        aws.bucket.put_json(monitor_results_key(watched.endpoint, moment, _STATISTICS), statistics(looked.summary))
        key = monitor_results_key(watched.endpoint, moment, "constraint_violations.json")
        aws.bucket.put_json(key, violations(looked.verdict, outcome.refused))
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


def _tell(aws: Aws, watched: Watched, state: Remembered, tag: str) -> tuple[ActiveAlarm, ...]:
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
