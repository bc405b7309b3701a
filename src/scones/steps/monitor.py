"""Monitor: compare what the endpoint received since the last run with the baseline, and send an alert if it changed."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from scones.aws.client import AwsError, AwsUnreachable, wait
from scones.aws.connection import Aws
from scones.aws.s3 import S3Object
from scones.config.settings import Settings
from scones.data.dataset import Sample
from scones.domain.errors import MonitoringError
from scones.domain.naming import (
    MONITOR_STATE_KEY,
    features_prefix,
    history_prefix,
    learned_baseline_key,
    probe_id,
    split_prefix,
)
from scones.domain.progress import Reporter
from scones.monitoring.capture.records import CaptureReader
from scones.monitoring.drift.traffic import MAX_PHOTOS_KEPT, RecordedTraffic, learn_days
from scones.monitoring.inspect import Document, Inspection, MonitorResult, inspect
from scones.monitoring.model_monitor import NAMESPACE, dimensions
from scones.monitoring.monitor_state import MonitorState, RunContext
from scones.monitoring.performance.labels import measure_accuracy
from scones.monitoring.performance.registered_model import ProbeResult, RegisteredModel, open_model, probe_images

__all__ = ["ConcurrentRunError", "LearnedDays", "MonitorResult", "MonitorTarget", "history", "learn", "monitor"]

_CAPTURE_SECONDS = 900.0  # SageMaker writes captures minutes later
_MAX_RUNS = 1000
"""The history draws, and learning reads, at most the newest runs: at one per hour about six weeks."""
# Twice as many as are learned, so that days of little traffic are not thinned with the busy ones.
_MAX_PHOTOS_READ = 2 * MAX_PHOTOS_KEPT


class ConcurrentRunError(MonitoringError):
    """Two runs at once: the one that ends first counts each record."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(
            f"another monitoring run of endpoint {endpoint!r} ended first, and its result counts; run: scones monitor"
        )


@dataclass(frozen=True, slots=True)
class MonitorTarget:
    """What to monitor: the endpoint and its configuration, its capture, the model deployed last, and the alert topic.

    The run waits for *at_least* photos, because the capture reaches the bucket some time after the predictions. After
    *seconds* it leaves the rest to the next run. *samples* are the staged photos, of which some are sent as probes.
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


@dataclass(frozen=True, slots=True)
class LearnedDays:
    """The photos and days of the new baseline; none if the training photos are the baseline again."""

    photos: int
    days: int


def monitor(aws: Aws, settings: Settings, target: MonitorTarget, report: Reporter) -> MonitorResult:
    """Inspect each captured photo once; the state in the bucket says how far the capture was read.

    Raises:
        WaitTimeout: fewer than *at_least* photos were captured in a minute.
        ConcurrentRunError: another run ended meanwhile; nothing of this one is kept.
        UnreadableMonitorState: the state in the bucket is damaged.
    """
    deadline = time.monotonic() + target.seconds
    endpoint = aws.sagemaker.find_endpoint(target.endpoint)
    updating = endpoint is not None and endpoint.status != "InService"
    state, tag = _load_state(aws)
    if endpoint is not None and not updating:
        state = state.serving(endpoint.config, endpoint.changed)
    model = _load_model(aws, settings, target.model_uri)
    context = RunContext(
        now=datetime.now(UTC),
        bucket_uri=aws.bucket.uri(""),
        endpoint=target.endpoint,
        deployed=target.config,
        serving=endpoint.config if endpoint else None,
        updating=updating,
        probes=tuple(_send_probes(aws, target, model)),
        acknowledge=target.acknowledge,
    )
    fetch = partial(_fetch, aws, target, state.cursor.start_after(target.capture_prefix), deadline)
    records = CaptureReader(state.cursor, model.classes, model.image_size, fetch, state.since)
    found = inspect(state, records, model, context)
    _write_alert(aws, found, model)
    # Saved first: if a later call fails, the next run sends the notices, and no photo counts twice.
    tag = _save_state(aws, target, found.state, tag)
    for document in found.documents:
        _write(aws, document)
    aws.metrics.publish(NAMESPACE, dimensions(target.endpoint), {**found.metrics, **_of_people(aws, model)})
    if found.result.photos:
        aws.metrics.enable_alarm(f"{aws.name}-silence")
    for notice in found.notices:
        aws.notices.publish(target.alert_topic, notice.subject, notice.body, notice.attributes)
    if found.notices:
        _save_state(aws, target, found.state.with_sent_notices(), tag)
    report.tell(found.result.headline())
    return found.result


def _of_people(aws: Aws, model: RegisteredModel) -> dict[str, float]:
    """The metrics of the reviews, and of the accuracy that labels measured; none where the tables do not exist."""
    try:
        waiting, labels = aws.tables.reviews.backlog(), aws.tables.labels.all()
    except AwsError as error:
        if not error.not_found:
            raise
        return {}
    metrics = dict(zip(("reviews_open", "couriers_waiting", "review_oldest_minutes"), map(float, waiting), strict=True))
    for each in measure_accuracy(labels):
        if each.model == model.version and each.measured:
            figure = each.measured
            metrics |= {"accuracy_measured": figure.accuracy, "labels_measured": figure.labels}
            metrics |= {"accuracy_measured_low": figure.low, "accuracy_measured_high": figure.high}
            metrics |= {"performance_alarm": float(each.degraded(model.accuracy))}
    return metrics


def learn(aws: Aws, endpoint: str, model_uri: str, days: int, seed: int) -> LearnedDays:
    """Make the last *days* days of recorded traffic the baseline; 0 returns to the training photos.

    Raises:
        TooFewDays: fewer than five days of the model's traffic are recorded; nothing changes.
    """
    model = open_model(aws.bucket.get(aws.bucket.key(model_uri)))
    key = learned_baseline_key(model.version)
    if not days:
        aws.bucket.remove([key])
        return LearnedDays(0, 0)
    files = list(aws.bucket.list(features_prefix(endpoint)))[-_MAX_RUNS:]
    max_photos = max(1, _MAX_PHOTOS_READ // max(1, len(files)))
    traffic = [
        RecordedTraffic.from_bytes(b"".join(pieces), aws.bucket.uri(item.key)).thinned(max_photos)
        for item, pieces in aws.bucket.read_all(files)
        if pieces is not None
    ]
    found = learn_days(model.baseline, traffic, model.version, days, seed)
    aws.bucket.put(key, found.to_bytes())
    return LearnedDays(len(found.values), found.day_count())


def history(aws: Aws, endpoint: str, model_uri: str, page: Path) -> int:
    """Draw the results of all runs as *page*, and return the number of windows on it."""
    from scones.monitoring.history import from_lines  # noqa: PLC0415 - with the page
    from scones.reports.monitoring import render_history  # noqa: PLC0415 - matplotlib loads only to draw

    keys = [item.key for item in aws.bucket.list(history_prefix(endpoint))][-_MAX_RUNS:]
    points = [point for body in aws.bucket.get_all(keys) for point in from_lines(body)]
    model = open_model(aws.bucket.get(aws.bucket.key(model_uri)))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_history(endpoint, points, model.baseline.values, model.accuracy), "utf-8")
    return len(points)


def _load_state(aws: Aws) -> tuple[MonitorState, str]:
    body, tag = aws.bucket.find_version(MONITOR_STATE_KEY)
    return MonitorState() if body is None else MonitorState.from_json(body, aws.bucket.uri(MONITOR_STATE_KEY)), tag


def _save_state(aws: Aws, target: MonitorTarget, state: MonitorState, tag: str) -> str:
    saved = aws.bucket.replace(MONITOR_STATE_KEY, state.to_json(), tag)
    if saved is None:
        raise ConcurrentRunError(target.endpoint)
    return saved


def _load_model(aws: Aws, settings: Settings, model_uri: str) -> RegisteredModel:
    """Open the model; if days of traffic were learned for it, they are the baseline."""
    body = aws.bucket.get(aws.bucket.key(model_uri))
    model = open_model(body, settings.false_alarms_per_1000_photos, settings.seed)
    key = learned_baseline_key(model.version)
    learned = aws.bucket.find(key)
    return model.with_baseline(learned, aws.bucket.uri(key)) if learned else model


def _send_probes(aws: Aws, target: MonitorTarget, model: RegisteredModel) -> Iterator[ProbeResult]:
    """Send staged photos that the registered model predicts correctly, and with high confidence."""
    for sample in probe_images(target.samples):
        photo = aws.bucket.get(sample.key)
        if not model.is_confident_of(sample.label, photo):
            continue
        try:
            reply = aws.sagemaker.invoke(target.endpoint, photo, "application/x-image", probe_id(sample.sha256))
        except (AwsError, AwsUnreachable):
            reply = None
        yield ProbeResult.of(sample, reply, model.classes)


def _fetch(
    aws: Aws, target: MonitorTarget, after: str, deadline: float, reader: CaptureReader
) -> Iterator[tuple[S3Object, Iterable[bytes] | None]]:
    """Read new capture files until there are photos enough, or no time is left."""
    what, until = (
        f"capture of {target.at_least} photos of endpoint {target.endpoint}",
        time.monotonic() + _CAPTURE_SECONDS,
    )

    def chosen() -> list[S3Object] | None:
        listed = aws.bucket.list(target.capture_prefix, after)
        found = reader.choose(listed, target.capture_prefix, complete=not after)
        return found if found or reader.photos >= target.at_least else None

    while True:
        for item, pieces in aws.bucket.read_all(wait(what, chosen, until - time.monotonic())):
            if time.monotonic() > deadline:
                reader.complete = False
                return
            yield item, pieces
        if reader.photos >= target.at_least:
            return


def _write_alert(aws: Aws, found: Inspection, model: RegisteredModel) -> None:
    """Write the page of a new alert, which must exist before a notice refers to it."""
    if found.alert is None or not found.alert_page:
        return
    from scones.reports.monitoring import render_alert  # noqa: PLC0415 - most runs have no alert

    prefix = split_prefix(model.data_version, "train")
    names = {example.similar_to for example in found.alert.examples if example.similar_to}
    photos = {name: photo for name in names if (photo := aws.bucket.find(f"{prefix}{name}")) is not None}
    aws.bucket.put(found.alert_page, render_alert(found.alert, photos).encode(), "text/html")
    for document in found.alert_documents:
        _write(aws, document)


def _write(aws: Aws, document: Document) -> None:
    if document.rewrite or aws.bucket.find(document.key) != document.content:
        aws.bucket.put(document.key, document.content, document.content_type)
