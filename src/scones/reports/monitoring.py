"""Monitoring pages: the alert, the history of all monitoring runs, and the photos to label."""

import base64
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from scones.domain.text import spreadsheet_cell
from scones.monitoring.alerts.alert import Alert, Severity
from scones.monitoring.alerts.cause import Cause
from scones.monitoring.alerts.notices import accuracy_line, format_time, odds_lines, since_line, subject_line
from scones.monitoring.drift.features import FEATURE_DESCRIPTIONS, FEATURES, Floats
from scones.monitoring.history import HistoryPoint
from scones.reports.theme import (
    BAD,
    CLASSES,
    GOOD,
    PAPER,
    QUIET,
    RULE,
    TEXT,
    UNSURE,
    Canvas,
    canvas,
    environment,
    picture,
)

_TITLES: Mapping[Cause, str] = {
    Cause.MODEL: "Another model answers",
    Cause.QUALITY: "The pictures changed",
    Cause.UNFAMILIAR: "The photos show something else",
    Cause.MIX: "The mix of vehicles changed",
    Cause.UNCLEAR: "Something changed",
}
_SOON: Mapping[Severity, str] = {
    Severity.CRITICAL: "Act now",
    Severity.WARNING: "Act today",
    Severity.NOTICE: "No hurry",
}


def render_alert(alert: Alert, training_photos: Mapping[str, bytes]) -> str:
    """Render the alert; *training_photos* are those that its examples are similar to, if they are still staged."""
    return (
        environment()
        .get_template("alert_page.html.j2")
        .render(
            alert=alert,
            subject=subject_line(alert),
            title=_TITLES[alert.cause.cause],
            soon=_SOON[alert.severity],
            # The sentence below the title says it already.
            words="" if alert.cause.cause is Cause.MODEL else ", ".join(alert.headline),
            accuracy=accuracy_line(alert),
            since=since_line(alert.when),
            odds=list(odds_lines(alert)),
            at=format_time,
            picture=picture,
            pictures={name: picture(photo) for name, photo in training_photos.items()},
            uri=_uri,
        )
    )


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


_WIDTH, _HIGH, _LOW = 900, 190, 130
_MARGIN = 0.015
# Drawings count days, from 1970 on.
_DAY_SECONDS = 86_400
_DAYS = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S.%f"]


@dataclass(frozen=True, slots=True)
class HistoryChart:
    """A drawing, and where its time axis begins and ends, as shares of its width."""

    title: str
    about: str
    svg: Markup
    left: float
    right: float


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The points on the time axis, and the part of it that is shown."""

    numbers: Floats
    low: float
    high: float

    @classmethod
    def of(cls, points: Sequence[HistoryPoint]) -> "TimeAxis":
        """The axis of one point or more, in the order of time."""
        numbers = np.array([datetime.fromisoformat(point.time).timestamp() / _DAY_SECONDS for point in points])
        margin = max(float(np.ptp(numbers)) * _MARGIN, 1e-4)
        return cls(numbers, float(numbers[0]) - margin, float(numbers[-1]) + margin)

    def shares(self) -> list[float]:
        """The place of each point on the axis, between 0 and 1."""
        return [round(float(share), 5) for share in (self.numbers - self.low) / (self.high - self.low)]


def drift_chart(points: Sequence[HistoryPoint], times: TimeAxis) -> HistoryChart:
    """The drift score with its threshold; windows above it in the colour of alarms."""
    values = np.array([point.drift_score for point in points])
    with canvas(_WIDTH, _HIGH) as drawing:
        axes = _prepare(drawing, times)
        axes.plot(times.numbers, values, color=QUIET, linewidth=1.2)
        _dots(axes, times, values, values > 1)
        axes.axhline(1, color=TEXT, linewidth=1.4, linestyle=(0, (4, 2)))
        axes.annotate("threshold", (times.low, 1), (4, 4), textcoords="offset points", color=TEXT)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, max(3.0, float(values.max()) * 1.5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} x"))
        return _chart(drawing, "Drift score", "in units of the threshold", "drift")


def accuracy_chart(points: Sequence[HistoryPoint], times: TimeAxis, before: float) -> HistoryChart | None:
    """The estimated accuracy with its interval; hollow if it is not trusted. None if nothing was estimated."""
    found = [(place, point.accuracy) for place, point in enumerate(points) if point.accuracy is not None]
    if not found:
        return None
    at = times.numbers[[place for place, _ in found]]
    estimates = [estimate for _, estimate in found]
    with canvas(_WIDTH, _HIGH) as drawing:
        axes = _prepare(drawing, times)
        low, high = [each.low for each in estimates], [each.high for each in estimates]
        axes.fill_between(at, low, high, color=GOOD, alpha=0.18, linewidth=0)
        axes.vlines(at, low, high, color=GOOD, linewidth=0.6, alpha=0.5)
        axes.plot(at, [each.accuracy for each in estimates], color=GOOD, linewidth=1.4)
        for trusted, face in ((True, GOOD), (False, PAPER)):
            chosen = [place for place, each in enumerate(estimates) if each.trusted is trusted]
            values = [estimates[place].accuracy for place in chosen]
            axes.plot(at[chosen], values, "o", markerfacecolor=face, markeredgecolor=GOOD, markersize=5.5)
        axes.axhline(before, color=TEXT, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.annotate("when trained", (times.low, before), (4, 4), textcoords="offset points", color=TEXT)
        axes.set_ylim(min(0.5, *low), 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        about = "estimated without labels, with its 90% interval; hollow if it is not to be trusted"
        return _chart(drawing, "Accuracy", about, "accuracy")


def feature_charts(points: Sequence[HistoryPoint], times: TimeAxis, baseline: Floats) -> list[HistoryChart]:
    """One chart per measured feature: median and quartiles, and those of the *baseline* [n, features] behind them."""
    measured = [name for name in FEATURES if any(name in point.quartiles for point in points)]
    return [_feature_chart(points, times, name, baseline[:, FEATURES.index(name)]) for name in measured]


def _feature_chart(points: Sequence[HistoryPoint], times: TimeAxis, name: str, baseline: Floats) -> HistoryChart:
    nothing = (np.nan, np.nan, np.nan)
    low, middle, high = np.array([point.quartiles.get(name, nothing) for point in points]).T
    changed = np.array([point.drift.get(name, 0.0) > 1 for point in points])
    with canvas(_WIDTH, _LOW) as drawing:
        axes = _prepare(drawing, times)
        if np.isfinite(baseline).all():
            usual = np.quantile(baseline, [0.25, 0.5, 0.75])
            axes.axhspan(usual[0], usual[2], color=RULE, alpha=0.55, linewidth=0)
            axes.axhline(usual[1], color=UNSURE, linewidth=1.2)
        axes.fill_between(times.numbers, low, high, color=CLASSES[0], alpha=0.22, linewidth=0)
        axes.plot(times.numbers, middle, color=CLASSES[0], linewidth=1.4)
        _dots(axes, times, middle, changed)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        return _chart(drawing, name.replace("_", " "), FEATURE_DESCRIPTIONS[name], f"feature-{name}")


def _prepare(drawing: Canvas, times: TimeAxis) -> Axes:
    axes = drawing.axes
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    formatter = ConciseDateFormatter(locator, formats=_DAYS, show_offset=False)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
    axes.set_xlim(times.low, times.high)
    return axes


def _dots(axes: Axes, times: TimeAxis, values: Floats, beyond: NDArray[np.bool_]) -> None:
    axes.plot(times.numbers[~beyond], values[~beyond], "o", color=QUIET, markersize=3.5)
    axes.plot(times.numbers[beyond], values[beyond], "o", color=BAD, markersize=6)


def _chart(drawing: Canvas, title: str, about: str, name: str) -> HistoryChart:
    svg = drawing.svg(name, f"{title} over time")
    left, right = drawing.span()
    return HistoryChart(title, about, svg, round(left, 5), round(right, 5))


def render_history(endpoint: str, points: Sequence[HistoryPoint], baseline: Floats, accuracy: float) -> str:
    """Render the page; *accuracy* is that of the training, whose features are the *baseline*, [n, features]."""
    ordered = sorted(points, key=lambda point: datetime.fromisoformat(point.time).timestamp())
    times = TimeAxis.of(ordered) if ordered else None
    return (
        environment()
        .get_template("history_page.html.j2")
        .render(
            endpoint=endpoint,
            points=ordered,
            photos=sum(point.photos for point in ordered),
            alarms=sum(point.alarm for point in ordered),
            drift=drift_chart(ordered, times) if times else None,
            accuracy=accuracy_chart(ordered, times, accuracy) if times else None,
            features=feature_charts(ordered, times, baseline) if times else [],
            shown=_shown(ordered, times),
            at=format_time,
        )
    )


def _shown(points: Sequence[HistoryPoint], times: TimeAxis | None) -> list[dict[str, object]]:
    """What the page shows of a point under the pointer."""
    if times is None:
        return []
    return [
        {
            "x": share,
            "title": f"{format_time(point.time)}: photos {point.number - point.photos + 1:,} to {point.number:,}",
            "text": _text(point),
            "alarm": point.alarm,
            "shots": [
                [f"data:image/jpeg;base64,{shot.jpeg}", f"{shot.prediction} {shot.confidence:.0%}"]
                for shot in point.thumbnails
            ],
        }
        for point, share in zip(points, times.shares(), strict=True)
    ]


def _text(point: HistoryPoint) -> str:
    parts = [f"drift score {point.drift_score:.2g} times the threshold"]
    if point.accuracy is not None:
        trust = "trusted" if point.accuracy.trusted else "not to be trusted"
        parts.append(f"accuracy {point.accuracy.accuracy:.0%}, estimated, {trust}")
    changed = sorted((name for name, times in point.drift.items() if times > 1), key=lambda name: -point.drift[name])
    if changed:
        parts.append(f"above the threshold: {', '.join(name.replace('_', ' ') for name in changed)}")
    return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class LabelPagePhoto:
    """One photo to label, without its prediction, which could bias the label."""

    event: str
    time: str
    photo: bytes | None
    """None if it no longer exists."""


def render_labels(endpoint: str, classes: Sequence[str], photos: Sequence[LabelPagePhoto], table: str) -> str:
    """Render the page; *table* is the name of the file to fill in."""
    pictures = {item.event: picture(item.photo) for item in photos if item.photo is not None}
    template = environment().get_template("label_page.html.j2")
    return template.render(
        endpoint=endpoint, classes=classes, photos=photos, pictures=pictures, table=table, at=format_time
    )


def table_to_fill(rows: Iterable[Mapping[str, str]]) -> str:
    """The table as CSV: a row per photo, in the order of the page, with an empty label."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["photo", "event", "reason", "label"])
    table.writerows([*(spreadsheet_cell(row[name]) for name in ("photo", "event", "reason")), ""] for row in rows)
    return out.getvalue()
