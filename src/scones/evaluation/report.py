"""Report: the demo as one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from scones.evaluation import charts
from scones.evaluation.gallery import choose, picture
from scones.evaluation.story import DemoReport, Run

_CLASS_COLOURS = 6


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
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            data=report.data,
            noun="photo" if report.data.kind == "photos" else "drawing",
            scores=report.evaluation,
            drift=report.drift,
            dispatch=report.dispatch,
            bill=report.bill,
            gallery=choose(answers, classes, report.evaluation.threshold),
            outcomes=_outcomes(report.runs),
            latencies=latencies(report.runs),
            total_seconds=sum(report.steps.values()),
            charts={
                "confidence": charts.confidence_histogram(answers, report.evaluation.threshold, len(classes)),
                "timeline": charts.timeline(report.runs),
                "steps": charts.steps(report.steps),
                "drift": charts.drift(report.drift.clean, report.drift.shifted) if report.drift.shifted.enough else "",
                "map": charts.dispatch_map(report.dispatch, classes),
            },
            colour_of={label: f"var(--class-{1 + index % _CLASS_COLOURS})" for index, label in enumerate(classes)},
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
    return {
        outcome: sum(run.outcome == outcome for run in runs) for outcome in ("succeeded", "below_threshold", "failed")
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("scones.evaluation"),
        # File names of photos come from anywhere.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=lambda share: "none" if share is None else f"{100 * share:.1f}%",
        number=_number,
        dollars=_dollars,
        plural=lambda count, word, words=None: f"{count:,} {word if count == 1 else words or word + 's'}",
        words=lambda name: str(name).replace("_", " "),
        picture=picture,
    )
    return environment


def _number(value: float) -> str:
    """A figure with about three digits, however large it is."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _dollars(value: float) -> str:
    """Dollars with as many places as it takes to see them."""
    if value == 0 or value >= 1:
        return f"${value:,.2f}"
    return f"${value:.4f}" if value >= 0.0001 else "< $0.0001"
