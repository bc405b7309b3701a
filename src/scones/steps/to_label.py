"""To label: choose the photos that a person should label next, and write a page of them."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from scones.aws.connection import Aws
from scones.domain.errors import SconesError
from scones.domain.keys import LABEL_SAMPLE_KEY, features_prefix
from scones.model.model_file import open_model_file
from scones.monitoring.capture.records import CapturedRecord, parse_records, split_lines
from scones.monitoring.drift.traffic import RecordedTraffic
from scones.monitoring.performance.labels import LabelRequest
from scones.reports.labels import LabelPagePhoto, render_labels, table_to_fill

NEWEST = 1000
"""Among so many photos is chosen."""
_LATE = timedelta(hours=1)


class NothingToLabel(SconesError):
    """No look has seen a photo that this model answered."""


def to_label(aws: Aws, capture_prefix: str, endpoint: str, model_uri: str, page: Path) -> int:
    """Choose among the newest photos, write *page* and, beside it, a table to fill in; give the number of photos.

    Raises:
        NothingToLabel: no look has seen a photo yet.
    """
    with open_model_file(aws.bucket.get(aws.bucket.key(model_uri))) as model_file:
        classes, model = model_file.classes, model_file.version
    measured = _newest(aws, endpoint, model)
    # The photos differ from day to day, and with them what is chosen.
    asked = LabelRequest.of(measured.model, measured.events, measured.probabilities, seed=len(measured))
    times = [measured.times[place] for place in asked.places]
    pictures = dict(_pictures(aws, capture_prefix, asked.events, times))
    photos = [LabelPagePhoto(event, time, pictures.get(event)) for event, time in zip(asked.events, times, strict=True)]
    table = page.with_suffix(".csv")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_labels(endpoint, classes, photos, table.name), "utf-8")
    table.write_text(table_to_fill(asked, pictures), "utf-8")
    aws.bucket.put(LABEL_SAMPLE_KEY, asked.to_json(), "application/json")
    return len(photos)


def _newest(aws: Aws, endpoint: str, model: str) -> RecordedTraffic:
    """The newest photos, as far as they were answered by this model."""
    parts: list[RecordedTraffic] = []
    for item in reversed(list(aws.bucket.list(features_prefix(endpoint)))):
        part = RecordedTraffic.from_bytes(aws.bucket.get(item.key), aws.bucket.uri(item.key))
        if part.model == model:
            parts.insert(0, part)
        if part.model != model or sum(map(len, parts)) >= NEWEST:
            break
    if not parts:
        raise NothingToLabel(f"no look at endpoint {endpoint!r} has seen a photo of this model; run: scones monitor")
    return RecordedTraffic.join(parts).last(NEWEST)


def _pictures(aws: Aws, prefix: str, events: Sequence[str], times: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Find the photos of the *events* in the capture, in the folders of their hours and of the next."""
    wanted = set(events)
    for folder in sorted({folder for time in times for folder in _folders(time)}):
        for _, pieces in aws.bucket.read_all(aws.bucket.list(f"{prefix}{folder}/")):
            for record in parse_records(split_lines(pieces or ())):
                if isinstance(record, CapturedRecord) and record.event_id in wanted and record.photo is not None:
                    yield record.event_id, record.photo


def _folders(time: str) -> Iterator[str]:
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return
    yield from (f"{each:%Y/%m/%d/%H}" for each in (moment, moment + _LATE))
