"""Report: the demo as one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scones.domain.decision import Outcome
from scones.reports import charts
from scones.reports.charts import on_time_chart
from scones.reports.gallery import choose_photos
from scones.reports.story import DemoReport, Run
from scones.reports.theme import class_colours, environment


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long executions took, in milliseconds, and how many ended in a second."""

    p50: float
    p90: float
    p99: float
    per_second: float


def render_report(report: DemoReport) -> str:
    """Render the report: inline styles, drawings and photos; no script, and nothing is fetched."""
    classes = report.data.classes
    answers = report.answers
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            data=report.data,
            left_out=report.data.left_out,
            classes=classes,
            noun="photo" if report.data.kind == "photos" else "drawing",
            scores=report.evaluation,
            drift=report.drift,
            dispatch=report.dispatch,
            city=report.city,
            threshold=report.evaluation.threshold,
            now=next((item for item in report.city.measured if item.threshold == report.evaluation.threshold), None),
            bill=report.bill,
            gallery=choose_photos(answers, classes, report.evaluation.threshold),
            outcomes=_outcomes(report.runs),
            latencies=latencies(report.runs),
            total_seconds=sum(report.steps.values()),
            charts={
                "confidence": charts.confidence_histogram(answers, report.evaluation.threshold, len(classes)),
                "timeline": charts.timeline(report.runs),
                "steps": charts.steps(report.steps),
                "drift": charts.drift(report.drift.clean, report.drift.shifted) if report.drift.shifted.enough else "",
                "map": charts.dispatch_map(report.dispatch, classes),
                "worth": on_time_chart(report.city),
            },
            colour_of=class_colours(classes),
        )
    )


def latencies(runs: Sequence[Run]) -> Latencies | None:
    """Percentiles of the executions' durations; None without executions."""
    if not runs:
        return None
    milliseconds = [1000 * (run.stopped - run.started) for run in runs]
    p50, p90, p99 = (float(value) for value in np.percentile(milliseconds, [50, 90, 99]))
    span = max(run.stopped for run in runs) - min(run.started for run in runs)
    return Latencies(p50, p90, p99, len(runs) / span if span > 0 else float(len(runs)))


def _outcomes(runs: Sequence[Run]) -> Mapping[str, int]:
    return {outcome: sum(run.outcome == outcome for run in runs) for outcome in Outcome}
