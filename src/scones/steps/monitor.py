"""Monitor: compare what the endpoint received since the last run with the baseline, and send an alert if it changed."""

import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from scones.aws.client import AwsError, AwsUnreachable, wait
from scones.aws.connection import Aws
from scones.aws.s3 import S3Object
from scones.config.settings import Settings
from scones.data.dataset import Sample
from scones.data.decode import decode
from scones.data.image_header import UnreadablePhoto
from scones.domain.errors import MonitoringError
from scones.domain.naming import (
    MONITOR_STATE_KEY,
    evaluation_id,
    features_prefix,
    learned_baseline_key,
    observed_prefix,
    probe_id,
    split_prefix,
)
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.wire import read_answers
from scones.monitoring.capture.records import CapturedPhoto, CaptureReader
from scones.monitoring.drift.traffic import MAX_PHOTOS_KEPT, RecordedTraffic, learn_days
from scones.monitoring.inspect import Document, Inspection, MonitorResult, inspect
from scones.monitoring.model_monitor import NAMESPACE, dimensions
from scones.monitoring.monitor_state import MonitorState, RunContext
from scones.monitoring.performance.labels import measure_accuracy
from scones.monitoring.performance.observed_endpoint import (
    SIDE,
    CannotObserve,
    baseline_from_capture,
    baseline_of_answers,
    find_capture,
    observed_model,
)
from scones.monitoring.performance.registered_model import ProbeResult, RegisteredModel, open_model, probe_images

__all__ = ["ConcurrentRunError", "LearnedDays", "MonitorResult", "MonitorTarget", "learn", "monitor"]

_CAPTURE_SECONDS = 900.0  # SageMaker writes captures minutes later
_BASELINE_PHOTOS = 300
"""So many staged photos are sent to an endpoint that Scones did not make, for its baseline."""
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

    def key(self, key: str) -> str:
        """Where to keep what has this *key* for the environment's own endpoint."""
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedEndpoint(MonitorTarget):
    """An endpoint that Scones did not make: its classes in the order of its answers, and the bucket of its capture.

    The baseline is made in its first run: of the *first* captured photos or, if 0, of its answers to the staged ones.
    """

    classes: tuple[str, ...]
    bucket: str
    first: int = 0

    def key(self, key: str) -> str:
        """Keep it apart from what belongs to the environment's own endpoint."""
        return observed_prefix(self.endpoint) + key


@dataclass(frozen=True, slots=True)
class LearnedDays(StepResult):
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
    if endpoint is None and isinstance(target, ObservedEndpoint):
        raise CannotObserve(
            f"there is no endpoint {target.endpoint!r} in {aws.region}; name another, or another --region"
        )
    updating = endpoint is not None and endpoint.status != "InService"
    state, tag = _load_state(aws, target)
    if endpoint is not None and not updating:
        state = state.serving(endpoint.config, endpoint.changed)
    fetch = partial(_fetch, aws, target, state.cursor.start_after(target.capture_prefix), deadline)
    if isinstance(target, ObservedEndpoint):
        records = CaptureReader(state.cursor, target.classes, SIDE, fetch, state.since)
        model = _observe(aws, settings, target, records, report)
    else:
        model = _load_model(aws, settings, target.model_uri)
        records = CaptureReader(state.cursor, model.classes, model.image_size, fetch, state.since)
    context = RunContext(
        now=datetime.now(UTC),
        bucket_uri=aws.bucket.uri(target.key("")),
        endpoint=target.endpoint,
        deployed=target.config or (endpoint.config if endpoint else ""),
        serving=endpoint.config if endpoint else None,
        updating=updating,
        probes=tuple(_send_probes(aws, target, model)),
        acknowledge=target.acknowledge,
        env=aws.env,
    )
    found = inspect(state, records, model, context)
    _write_alert(aws, target, found, model)
    # Saved first: if a later call fails, the next run sends the notices, and no photo counts twice.
    tag = _save_state(aws, target, found.state, tag)
    for document in found.documents:
        _write(aws, target, document)
    own = not isinstance(target, ObservedEndpoint)
    measured = {**found.metrics, **(_of_people(aws, model) if own else {})}
    aws.metrics.publish(NAMESPACE, dimensions(target.endpoint), measured)
    if found.result.photos and own:
        aws.metrics.enable_alarm(f"{aws.name}-silence")
    for notice in found.notices:
        aws.notices.publish(target.alert_topic, notice.subject, notice.body, notice.attributes)
    if found.notices:
        _save_state(aws, target, found.state.with_sent_notices(), tag)
    report.tell(found.result.headline())
    return found.result


def _of_people(aws: Aws, model: RegisteredModel) -> dict[str, float]:
    """The metrics of the reviews, and of the accuracy that labels measured; none where the tables do not exist."""
    waiting, labels = aws.tables.feedback()
    metrics = {name: float(figure) for name, figure in waiting.items()}
    for each in measure_accuracy(labels):
        if each.model == model.version and each.measured:
            figure = each.measured
            metrics |= {"accuracy_measured": figure.accuracy, "labels_measured": figure.labels}
            metrics |= {"accuracy_measured_low": figure.low, "accuracy_measured_high": figure.high}
            metrics |= {"performance_alarm": float(each.degraded(model.accuracy))}
    return metrics


def find_observed(aws: Aws, endpoint: str, capture: str, classes: tuple[str, ...], first: int) -> ObservedEndpoint:
    """Find the capture of an endpoint that Scones did not make, below the URI *capture*.

    Raises:
        CannotObserve: nothing is captured there, or several variants are.
    """
    name, _, prefix = capture.removeprefix("s3://").partition("/")
    if not capture.startswith("s3://") or not name:
        raise CannotObserve(f"{capture!r} is no place of a data capture; name it as s3://bucket/prefix")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    found = find_capture((item.key for item in aws.bucket.beside(name).list(prefix)), endpoint, capture)
    return ObservedEndpoint(endpoint, "", "", found, "", classes=classes, bucket=name, first=first)


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


def _load_state(aws: Aws, target: MonitorTarget) -> tuple[MonitorState, str]:
    key = target.key(MONITOR_STATE_KEY)
    body, tag = aws.bucket.find_version(key)
    return MonitorState() if body is None else MonitorState.from_json(body, aws.bucket.uri(key)), tag


def _save_state(aws: Aws, target: MonitorTarget, state: MonitorState, tag: str) -> str:
    saved = aws.bucket.replace(target.key(MONITOR_STATE_KEY), state.to_json(), tag)
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


def _observe(
    aws: Aws, settings: Settings, target: ObservedEndpoint, records: CaptureReader, report: Reporter
) -> RegisteredModel:
    """Describe the endpoint by its baseline, which the first run makes."""
    key = target.key("baseline.npz")
    body = aws.bucket.find(key)
    if body is None:
        if target.first:
            baseline = baseline_from_capture(records, target.first, settings.seed)
        else:
            baseline = baseline_of_answers(list(_ask(aws, target, settings.clients)), settings.seed)
        body = baseline.to_bytes()
        aws.bucket.put(key, body)
        what = "captured first" if target.first else "staged"
        report.tell(f"baseline: {len(baseline.values)} photos {what}; to make another, delete {aws.bucket.uri(key)}")
    per_thousand = settings.false_alarms_per_1000_photos
    return observed_model(target.classes, body, aws.bucket.uri(key), per_thousand, settings.seed)


def _ask(aws: Aws, target: ObservedEndpoint, clients: int) -> Iterator[CapturedPhoto]:
    """Send staged photos to the endpoint; its capture marks them, so that they do not count as traffic."""
    chosen = target.samples[:: -(-len(target.samples) // _BASELINE_PHOTOS) or 1]

    def ask(sample: Sample) -> CapturedPhoto | None:
        photo = aws.bucket.get(sample.key)
        try:
            pixels = decode(photo, SIDE)
        except UnreadablePhoto:
            return None
        reply = aws.sagemaker.invoke(target.endpoint, photo, "application/x-image", evaluation_id(sample.sha256))
        answer = tuple(map(float, read_answers(reply)[0]["probabilities"]))
        if len(answer) != len(target.classes):
            text = f"endpoint {target.endpoint} answers {len(answer)} numbers for {len(target.classes)} classes"
            raise CannotObserve(f"{text}; name the class of each, in order, with --classes")
        return CapturedPhoto("", "", pixels, answer, sample.sha256)

    with ThreadPoolExecutor(clients) as pool:
        yield from (found for found in pool.map(ask, chosen) if found)


def _fetch(
    aws: Aws, target: MonitorTarget, after: str, deadline: float, reader: CaptureReader
) -> Iterator[tuple[S3Object, Iterable[bytes] | None]]:
    """Read new capture files until there are photos enough, or no time is left."""
    what, until = (
        f"capture of {target.at_least} photos of endpoint {target.endpoint}",
        time.monotonic() + _CAPTURE_SECONDS,
    )

    bucket = aws.bucket.beside(target.bucket) if isinstance(target, ObservedEndpoint) else aws.bucket

    def chosen() -> list[S3Object] | None:
        listed = bucket.list(target.capture_prefix, after)
        found = reader.choose(listed, target.capture_prefix, complete=not after)
        return found if found or reader.photos >= target.at_least else None

    while True:
        for item, pieces in bucket.read_all(wait(what, chosen, until - time.monotonic())):
            if time.monotonic() > deadline:
                reader.complete = False
                return
            yield item, pieces
        if reader.photos >= target.at_least:
            return


def _write_alert(aws: Aws, target: MonitorTarget, found: Inspection, model: RegisteredModel) -> None:
    """Write the page of a new alert, which must exist before a notice refers to it."""
    if found.alert is None or not found.alert_page:
        return
    from scones.reports.monitoring import render_alert  # noqa: PLC0415 - most runs have no alert

    prefix = split_prefix(model.data_version, "train")
    names = {example.similar_to for example in found.alert.examples if example.similar_to}
    photos = {name: photo for name in names if (photo := aws.bucket.find(f"{prefix}{name}")) is not None}
    aws.bucket.put(target.key(found.alert_page), render_alert(found.alert, photos).encode(), "text/html")
    for document in found.alert_documents:
        _write(aws, target, document)


def _write(aws: Aws, target: MonitorTarget, document: Document) -> None:
    key = target.key(document.key)
    if document.rewrite or aws.bucket.find(key) != document.content:
        aws.bucket.put(key, document.content, document.content_type)
