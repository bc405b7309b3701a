"""Monitor: compare what the endpoint saw since the last look with the baseline; send an alert if it changed."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scones.artefact import Artefact, read_artefact, unpack
from scones.aws.connection import Aws
from scones.aws.waiting import pauses
from scones.monitoring.baseline import Baseline
from scones.monitoring.capture import Captured, Malformed, parse
from scones.monitoring.channels import CHANNELS, Photos, measure
from scones.monitoring.detectors import Verdict, check
from scones.monitoring.report import MOST_EXAMPLES, Scene, render_alert, summarise
from scones.monitoring.scores import Floats
from scones.monitoring.traffic import is_ours
from scones.photos.decode import decode
from scones.photos.header import UnreadablePhoto
from scones.progress import Reporter
from scones.settings import Settings

_CURSOR = "monitor/cursor.json"
_CAPTURE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What to look at: the endpoint's capture, the model it serves, and where alerts go.

    *at_least* photos are waited for: the capture reaches the bucket some time after the answers.
    """

    endpoint: str
    model_uri: str
    capture_prefix: str
    alert_topic: str
    at_least: int = 0


@dataclass(frozen=True, slots=True)
class Monitored:
    """The verdict on the photos since the last look, and everything that could not be used."""

    verdict: Verdict
    photos: int
    malformed: tuple[str, ...]
    """One line for each captured record that could not be used."""
    report_uri: str
    """The alert's page, if there was an alarm."""


@dataclass(frozen=True, slots=True)
class _Traffic:
    captured: tuple[Captured, ...]
    malformed: tuple[str, ...]
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Batch:
    captured: tuple[Captured, ...]
    photos: Photos
    answers: Floats
    unreadable: tuple[str, ...]

    def scene(self, endpoint: str, examples: NDArray[np.intp]) -> Scene:
        times = sorted(item.inference_time for item in self.captured) or [""]
        return Scene(endpoint, since=times[0], until=times[-1], examples=self.photos[examples])


def monitor(aws: Aws, settings: Settings, watched: Watched, report: Reporter) -> Monitored:
    """Check each captured photo once: the cursor in the bucket remembers which files were read.

    Raises:
        TookTooLong: fewer than *at_least* photos were captured in a minute.
    """
    seen = frozenset(aws.bucket.find_json(_CURSOR) or ())
    traffic = _read_traffic(aws, watched, seen)
    with tempfile.TemporaryDirectory() as folder:
        artefact = _fetch_model(aws, watched.model_uri, Path(folder))
        baseline = Baseline.load(artefact.baseline_path)
    batch = _decode(traffic.captured, artefact)
    values = measure(batch.photos, batch.answers)
    verdict = check(baseline, values, false_alarm_rate=settings.false_alarm_rate, seed=settings.seed)
    uri = _alert(aws, watched, verdict, batch.scene(watched.endpoint, _oddest(baseline, values, verdict)))
    # Only now: a look that was cut off is made again in full.
    aws.bucket.put_json(_CURSOR, sorted(seen | traffic.keys))
    report.tell(summarise(verdict).splitlines()[0])
    return Monitored(verdict, len(batch.captured), traffic.malformed + batch.unreadable, uri)


def _read_traffic(aws: Aws, watched: Watched, seen: frozenset[str]) -> _Traffic:
    for _ in pauses(f"capture of {watched.at_least} photos of endpoint {watched.endpoint}", _CAPTURE_SECONDS):
        keys = [item.key for item in aws.bucket.list(watched.capture_prefix) if item.key not in seen]
        captured: list[Captured] = []
        malformed: list[str] = []
        for key, body in zip(keys, aws.bucket.get_all(keys), strict=True):
            for record in parse(body.splitlines()):
                if isinstance(record, Malformed):
                    malformed.append(f"{key} line {record.line}: {record.reason}")
                elif not is_ours(record.inference_id):
                    captured.append(record)
        if len(captured) >= watched.at_least:
            break
    return _Traffic(tuple(captured), tuple(malformed), frozenset(keys))


def _alert(aws: Aws, watched: Watched, verdict: Verdict, scene: Scene) -> str:
    if not verdict.alarm:
        return ""
    page = render_alert(verdict, scene).encode()
    uri = aws.bucket.put(f"monitor/alerts/{datetime.now(UTC):%Y%m%d-%H%M%S}.html", page, "text/html")
    subject, _, body = summarise(verdict).partition("\n")
    aws.notices.publish(watched.alert_topic, subject, f"{body}\n\n{uri}")
    return uri


def _oddest(baseline: Baseline, values: Floats, verdict: Verdict) -> NDArray[np.intp]:
    """Order the photos by how far they lie from the baseline in the channel that changed most."""
    column = CHANNELS.index(verdict.channels[0].name) if verdict.channels else 0
    away = np.abs(values[:, column] - np.median(baseline.values[:, column]))
    return np.argsort(-away, kind="stable")[:MOST_EXAMPLES]


def _fetch_model(aws: Aws, model_uri: str, folder: Path) -> Artefact:
    unpack(aws.bucket.get(aws.bucket.key(model_uri)), folder)
    return read_artefact(folder)


def _decode(captured: Sequence[Captured], artefact: Artefact) -> _Batch:
    photos, used, unreadable = [], [], []
    for item in captured:
        if item.photo is None or item.probabilities is None:
            missing = "photo" if item.photo is None else "answer"
            unreadable.append(f"event {item.event_id}: captured without its {missing}")
        elif len(item.probabilities) != len(artefact.classes):
            unreadable.append(f"event {item.event_id}: {len(item.probabilities)} probabilities, another model's")
        else:
            try:
                photos.append(decode(item.photo, artefact.image_size))
                used.append(item)
            except UnreadablePhoto as error:
                unreadable.append(f"event {item.event_id}: the photo {error.reason}")
    side = artefact.image_size
    return _Batch(
        captured=tuple(used),
        photos=np.array(photos, np.uint8).reshape(len(photos), side, side, 3),
        answers=np.array([item.probabilities for item in used], float).reshape(len(used), len(artefact.classes)),
        unreadable=tuple(unreadable),
    )
