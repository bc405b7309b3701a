"""History: what each window of photos came to, in a few kilobytes, so that it can be drawn over time."""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import numpy as np
from PIL import Image

from scones.monitoring.alerts.alert import PhotoWindow
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.window_test import WindowVerdict
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate

THUMBNAILS: Final = 6
"""So many photos of each window are kept, small."""
_SIDE_PIXELS = 48
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A photo of the window, as a JPEG in base64, and what was answered."""

    jpeg: str
    said: str
    confidence: float
    time: str


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """One window: the time and number of its last photo, how many there are, and what was found.

    *evidence* is in alarm lines. *quartiles* of each channel are at 25, 50 and 75%, and *drift* is in alarm lines.
    """

    time: str
    number: int
    photos: int
    evidence: float
    alarm: bool
    quartiles: Mapping[str, tuple[float, float, float]]
    drift: Mapping[str, float]
    shots: tuple[Thumbnail, ...]
    accuracy: AccuracyEstimate | None = None


def history_point(
    batch: PhotoWindow,
    verdict: WindowVerdict,
    classes: tuple[str, ...],
    *,
    evidence: float,
    accuracy: AccuracyEstimate | None = None,
) -> HistoryPoint:
    """Sum a window up; *evidence* may come from the watch over the stream. A window has one photo or more."""
    known = [place for place in range(len(FEATURES)) if np.isfinite(batch.values[:, place]).all()]
    cuts = np.quantile(batch.values[:, known], [0.25, 0.5, 0.75], axis=0).T
    last = max(range(len(batch)), key=lambda place: batch.times[place])
    chosen = np.unique(np.linspace(0, len(batch) - 1, THUMBNAILS).astype(int)).tolist()
    return HistoryPoint(
        time=batch.times[last],
        number=batch.first + len(batch) - 1,
        photos=len(batch),
        evidence=round(evidence, _DIGITS),
        alarm=evidence > 1,
        quartiles={FEATURES[place]: _three(quartiles.tolist()) for place, quartiles in zip(known, cuts, strict=True)},
        drift={shift.name: round(shift.score / verdict.threshold, _DIGITS) for shift in verdict.channels},
        shots=tuple(_thumbnail(batch, place, classes) for place in chosen),
        accuracy=accuracy,
    )


def to_lines(points: Iterable[HistoryPoint]) -> bytes:
    """Write the points, one JSON object a line."""
    return b"".join(msgspec.json.encode(point) + b"\n" for point in points)


def from_lines(body: bytes) -> Iterator[HistoryPoint]:
    """Read points back; what another version wrote, or what is damaged, is passed over: it is only for drawing."""
    for line in body.splitlines():
        try:
            point = msgspec.json.decode(line, type=HistoryPoint)
            # The endpoint's clock is written down as it came.
            datetime.fromisoformat(point.time)
        except (msgspec.ValidationError, msgspec.DecodeError, ValueError):
            continue
        yield point


def _three(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = (round(value, _DIGITS) for value in values)
    return low, middle, high


def _thumbnail(batch: PhotoWindow, place: int, classes: tuple[str, ...]) -> Thumbnail:
    image = Image.fromarray(np.ascontiguousarray(batch.photos[place]))
    image.thumbnail((_SIDE_PIXELS, _SIDE_PIXELS))
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=85)
    answer = batch.probabilities[place]
    return Thumbnail(
        jpeg=base64.b64encode(out.getvalue()).decode("ascii"),
        said=classes[int(answer.argmax())],
        confidence=round(float(answer.max()), _DIGITS),
        time=batch.times[place],
    )
