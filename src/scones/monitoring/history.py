"""History: a summary of each window of photos, in a few kilobytes, to be drawn over time."""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec
import numpy as np
from PIL import Image

from scones.monitoring.drift.features import FEATURES, current_names
from scones.monitoring.drift.traffic import PhotoWindow
from scones.monitoring.drift.window_test import WindowVerdict
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate

THUMBNAILS: Final = 6
"""The number of small photos that are kept of each window."""
_SIDE_PIXELS = 48
_DIGITS = 6
_MAX_POINTS = 200


class Thumbnail(msgspec.Struct, frozen=True):
    """A photo of the window, as a JPEG in base64, and its prediction."""

    jpeg: str
    prediction: str = msgspec.field(name="said")
    confidence: float
    time: str


class HistoryPoint(msgspec.Struct, frozen=True):
    """One window: time and number of its last photo, the number of photos, and what was found.

    *drift_score* and the *drift* of each feature are in units of the threshold. *quartiles* of each feature are at 25,
    50 and 75%.
    """

    time: str
    number: int
    photos: int
    drift_score: float = msgspec.field(name="evidence")
    alarm: bool
    quartiles: Mapping[str, tuple[float, float, float]]
    drift: Mapping[str, float]
    thumbnails: tuple[Thumbnail, ...] = msgspec.field(name="shots")
    accuracy: AccuracyEstimate | None = None


class ThinnedHistory:
    """Keeps an even selection of any number of points, so that very many photos leave a small history."""

    def __init__(self) -> None:
        self.kept: list[HistoryPoint] = []
        self._added, self._every = 0, 1

    def add(self, new: HistoryPoint) -> None:
        """Add a point, if it is one of those selected."""
        if self._added % self._every == 0:
            self.kept.append(new)
        self._added += 1
        if len(self.kept) > _MAX_POINTS:
            self._every *= 2
            del self.kept[1::2]


def history_point(
    window: PhotoWindow,
    verdict: WindowVerdict,
    classes: tuple[str, ...],
    *,
    drift_score: float,
    accuracy: AccuracyEstimate | None = None,
) -> HistoryPoint:
    """Summarise a window of one photo or more; *drift_score* may be the stream detector's."""
    measured = [place for place in range(len(FEATURES)) if np.isfinite(window.features[:, place]).all()]
    cuts = np.quantile(window.features[:, measured], [0.25, 0.5, 0.75], axis=0).T
    last = max(range(len(window)), key=lambda place: window.times[place])
    chosen = np.unique(np.linspace(0, len(window) - 1, THUMBNAILS).astype(int)).tolist()
    return HistoryPoint(
        time=window.times[last],
        number=window.first + len(window) - 1,
        photos=len(window),
        drift_score=round(drift_score, _DIGITS),
        alarm=drift_score > 1,
        quartiles={FEATURES[place]: _three(cut.tolist()) for place, cut in zip(measured, cuts, strict=True)},
        drift={shift.name: round(shift.score / verdict.threshold, _DIGITS) for shift in verdict.features},
        thumbnails=tuple(_thumbnail(window, place, classes) for place in chosen),
        accuracy=accuracy,
    )


def to_lines(points: Iterable[HistoryPoint]) -> bytes:
    """Encode the points, one JSON object per line."""
    return b"".join(msgspec.json.encode(point) + b"\n" for point in points)


def from_lines(body: bytes) -> Iterator[HistoryPoint]:
    """Decode points; damaged lines and those of other versions are skipped, since they are only drawn."""
    for line in body.splitlines():
        try:
            point = msgspec.json.decode(line, type=HistoryPoint)
            # The endpoint's clock is stored as it came.
            datetime.fromisoformat(point.time)
        except (msgspec.ValidationError, msgspec.DecodeError, ValueError):
            continue
        quartiles = dict(zip(current_names(point.quartiles), point.quartiles.values(), strict=True))
        drift = dict(zip(current_names(point.drift), point.drift.values(), strict=True))
        yield msgspec.structs.replace(point, quartiles=quartiles, drift=drift)


def _three(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = (round(value, _DIGITS) for value in values)
    return low, middle, high


def _thumbnail(window: PhotoWindow, place: int, classes: tuple[str, ...]) -> Thumbnail:
    image = Image.fromarray(np.ascontiguousarray(window.photos[place]))
    image.thumbnail((_SIDE_PIXELS, _SIDE_PIXELS))
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=85)
    probabilities = window.probabilities[place]
    return Thumbnail(
        jpeg=base64.b64encode(out.getvalue()).decode("ascii"),
        prediction=classes[int(probabilities.argmax())],
        confidence=round(float(probabilities.max()), _DIGITS),
        time=window.times[place],
    )
