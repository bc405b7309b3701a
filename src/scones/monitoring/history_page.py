"""History page: how the photos and the answers went over time, with photos at any point; no network is needed."""

from collections.abc import Sequence
from datetime import datetime

from jinja2 import PackageLoader

from scones.evaluation.pages import environment
from scones.monitoring.history import Point
from scones.monitoring.history_charts import Times, accuracy_chart, channel_charts, evidence_chart
from scones.monitoring.notice import at
from scones.monitoring.scores import Floats


def render_history(endpoint: str, points: Sequence[Point], baseline: Floats, accuracy: float) -> str:
    """Render the page; *accuracy* is the one of training, whose channels the *baseline* holds, [n, channels]."""
    ordered = sorted(points, key=lambda point: datetime.fromisoformat(point.time).timestamp())
    times = Times.of(ordered) if ordered else None
    return (
        environment(PackageLoader("scones.monitoring"))
        .get_template("history_page.html.j2")
        .render(
            endpoint=endpoint,
            points=ordered,
            photos=sum(point.photos for point in ordered),
            alarms=sum(point.alarm for point in ordered),
            evidence=evidence_chart(ordered, times) if times else None,
            accuracy=accuracy_chart(ordered, times, accuracy) if times else None,
            channels=channel_charts(ordered, times, baseline) if times else [],
            shown=_shown(ordered, times),
            at=at,
        )
    )


def _shown(points: Sequence[Point], times: Times | None) -> list[dict[str, object]]:
    """What the page shows of each point when one points at it."""
    if times is None:
        return []
    return [
        {
            "x": share,
            "title": f"{at(point.time)}: photos {point.number - point.photos + 1:,} to {point.number:,}",
            "text": _text(point),
            "alarm": point.alarm,
            "shots": [
                [f"data:image/jpeg;base64,{shot.jpeg}", f"{shot.said} {shot.confidence:.0%}"] for shot in point.shots
            ],
        }
        for point, share in zip(points, times.shares(), strict=True)
    ]


def _text(point: Point) -> str:
    parts = [f"evidence {point.evidence:.2g} x the alarm line"]
    if point.accuracy is not None:
        trust = "trusted" if point.accuracy.trusted else "not to be trusted"
        parts.append(f"accuracy {point.accuracy.accuracy:.0%}, estimated, {trust}")
    loud = sorted((name for name, times in point.drift.items() if times > 1), key=lambda name: -point.drift[name])
    if loud:
        parts.append(f"beyond the line: {', '.join(name.replace('_', ' ') for name in loud)}")
    return "; ".join(parts)
