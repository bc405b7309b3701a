"""Labels: export photos for a person to label, and import the labels to measure the accuracy."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from scones.aws.connection import Aws
from scones.data.labels import InvalidLabels, parse_labels
from scones.domain.errors import DeploymentError
from scones.domain.naming import LABEL_SAMPLE_KEY, features_prefix
from scones.model.model_file import open_model_file
from scones.monitoring.capture.records import CapturedRecord, parse_records, split_lines
from scones.monitoring.drift.traffic import RecordedTraffic
from scones.monitoring.performance.labels import LabelRequest, LabelResult, compare_labels

__all__ = ["LabelResult", "NothingToLabel", "export_labels", "import_labels"]

_NEWEST_PHOTOS = 1000
"""The photos to label are drawn from this many."""
_LATE = timedelta(hours=1)


class NothingToLabel(DeploymentError):
    """No monitoring run has recorded a photo of this model."""


def export_labels(aws: Aws, capture_prefix: str, endpoint: str, model_uri: str, page: Path) -> int:
    """Draw from the newest photos; write *page* and, beside it, a table to fill in; return the number of photos.

    Raises:
        NothingToLabel: no monitoring run has recorded a photo of this model.
    """
    from scones.reports.monitoring import (  # noqa: PLC0415 - matplotlib loads only to draw
        LabelPagePhoto,
        render_labels,
        table_to_fill,
    )

    classes, model = _classes_and_version(aws, model_uri)
    traffic = _newest(aws, endpoint, model)
    # The photos differ from day to day, and with the seed so does the sample.
    request = LabelRequest.of(traffic.model, traffic.events, traffic.probabilities, seed=len(traffic))
    times = [traffic.times[place] for place in request.places]
    found = dict(_captured_photos(aws, capture_prefix, request.events, times))
    photos = [LabelPagePhoto(event, time, found.get(event)) for event, time in zip(request.events, times, strict=True)]
    table = page.with_suffix(".csv")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_labels(endpoint, classes, photos, table.name), "utf-8")
    table.write_text(table_to_fill(request, found), "utf-8")
    aws.bucket.put(LABEL_SAMPLE_KEY, request.to_json(), "application/json")
    return len(photos)


def import_labels(aws: Aws, endpoint: str, model_uri: str, file: Path) -> LabelResult:
    """Read the labels in *file*, CSV or JSON Lines, and compare the model's recorded predictions with them.

    Rows that cannot be used are left out, with their reasons.

    Raises:
        InvalidLabels: the file cannot be read, or no label matches a photo recorded with this model.
    """
    classes, model = _classes_and_version(aws, model_uri)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidLabels(f"cannot read {file}: {error}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidLabels(f"cannot read {file}: it is in UTF-16; save it in UTF-8")
    refused: list[str] = []

    def refuse(error: InvalidLabels) -> None:
        refused.append(str(error))

    # A byte that is not UTF-8 is the fault of its row alone.
    given = parse_labels(content.decode("utf-8-sig", errors="replace"), classes, refuse)
    labels = {label.photo or label.event: label.label for label in given}
    request = aws.bucket.find(LABEL_SAMPLE_KEY)
    traffic = (
        RecordedTraffic.from_bytes(b"".join(pieces), aws.bucket.uri(item.key))
        for item, pieces in aws.bucket.read_all(aws.bucket.list(features_prefix(endpoint)))
        if pieces is not None
    )
    asked = LabelRequest.from_json(request) if request else None
    result = compare_labels(traffic, labels, asked, model, classes)
    return replace(result, refused=(*refused, *result.refused))


def _classes_and_version(aws: Aws, model_uri: str) -> tuple[tuple[str, ...], str]:
    with open_model_file(aws.bucket.get(aws.bucket.key(model_uri))) as model_file:
        return model_file.classes, model_file.version


def _newest(aws: Aws, endpoint: str, model: str) -> RecordedTraffic:
    """The newest photos, as far as this model predicted them."""
    parts: list[RecordedTraffic] = []
    for item in reversed(list(aws.bucket.list(features_prefix(endpoint)))):
        part = RecordedTraffic.from_bytes(aws.bucket.get(item.key), aws.bucket.uri(item.key))
        if part.model == model:
            parts.insert(0, part)
        if part.model != model or sum(map(len, parts)) >= _NEWEST_PHOTOS:
            break
    if not parts:
        raise NothingToLabel(
            f"no monitoring run of endpoint {endpoint!r} has recorded a photo of this model; run: scones monitor"
        )
    return RecordedTraffic.join(parts).last(_NEWEST_PHOTOS)


def _captured_photos(aws: Aws, prefix: str, events: Sequence[str], times: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Find the photos of the *events* in the capture, in the folders of their hours and the next ones."""
    wanted = set(events)
    for folder in sorted({folder for time in times for folder in _folders(time)}):
        for _, pieces in aws.bucket.read_all(aws.bucket.list(f"{prefix}{folder}/")):
            for record in parse_records(split_lines(pieces or ())):
                if isinstance(record, CapturedRecord) and record.photos is not None:
                    named = zip(record.photo_events(), record.photos, strict=True)
                    yield from ((event, photo) for event, photo in named if event in wanted)


def _folders(time: str) -> Iterator[str]:
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return
    yield from (f"{each:%Y/%m/%d/%H}" for each in (moment, moment + _LATE))
