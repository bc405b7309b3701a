"""Charts: the reports' drawings; importing this loads matplotlib."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator, NullLocator, PercentFormatter

from scones.dispatch.assignment import DispatchPlan
from scones.dispatch.business_value import NO_THRESHOLD, BusinessValue, DispatchScenario
from scones.dispatch.orders import Courier
from scones.domain.decision import Outcome
from scones.domain.text import exact_percent
from scones.evaluation.metrics import ReliabilityBin, RiskCoveragePoint
from scones.evaluation.model_client import LoadResult
from scones.evaluation.thresholds import ThresholdEvaluation
from scones.monitoring.drift.window_test import WindowVerdict
from scones.reports.theme import BAD, CLASSES, GOOD, PAPER, QUIET, RULE, TEXT, UNSURE, PhotoCard, canvas

# On a phone the drawing is 332 pixels wide: its text, of 12.5 points, is then 11 pixels high.
_WIDTH = 370
_DASHES = (0, (4, 2))
_HISTOGRAM_BINS = 20

Span = tuple[float, float, Outcome]
"""One execution: the seconds at which it started and stopped, and its outcome."""
_OUTCOMES = {
    Outcome.CLASSIFIED: (GOOD, "classified"),
    Outcome.BELOW_THRESHOLD: (UNSURE, "below the threshold"),
    Outcome.OUT_OF_DISTRIBUTION: (QUIET, "out of distribution"),
    Outcome.UNREADABLE: (TEXT, "unreadable"),
    Outcome.FAILED: (BAD, "failed"),
}
_MARKERS = ("o", "s", "^", "P", "X", "v")
# Beyond this the bars are thinner than a pixel, and the file grows for nothing.
_MAX_BARS = 2000
_MIN_RATIO = 0.05


def confidence_histogram(cards: Sequence[PhotoCard], threshold: float, classes: int) -> Markup:
    """Histogram of confidence, right predictions below and wrong ones on top, with the threshold."""
    edges = np.linspace(1 / classes, 1, _HISTOGRAM_BINS + 1).tolist()
    right = [card.confidence for card in cards if card.right]
    wrong = [card.confidence for card in cards if not card.right]
    with canvas(_WIDTH, 290) as drawing:
        axes = drawing.axes
        axes.grid(axis="y")
        axes.grid(visible=False, axis="x")
        axes.hist([right, wrong], edges, stacked=True, color=[GOOD, BAD], edgecolor=PAPER, linewidth=1.2)
        axes.axvline(threshold, color=TEXT, linewidth=1.4, linestyle=_DASHES)
        _note(axes, f"threshold {exact_percent(threshold)}", threshold, "right")
        axes.set(xlim=(edges[0], 1), xlabel="confidence", ylabel="photos")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(axis="y", labelcolor=QUIET)
        handles = [Patch(color=GOOD, label=f"right ({len(right)})"), Patch(color=BAD, label=f"wrong ({len(wrong)})")]
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1)
        return drawing.svg("confidence", "Histogram of confidence for right and wrong predictions")


def timeline(spans: Sequence[Span]) -> Markup:
    """Every execution as a bar from start to stop, packed into as many lanes as ran at once."""
    shown = sorted(spans)[:_MAX_BARS]
    lanes = pack(shown)
    with canvas(_WIDTH, 70 + 22 * min(max(lanes, default=0) + 1, 12)) as drawing:
        axes = drawing.axes
        for outcome, (colour, _) in _OUTCOMES.items():
            chosen = [(span, lane) for span, lane in zip(shown, lanes, strict=True) if span[2] == outcome]
            axes.barh(
                [lane for _, lane in chosen],
                [stopped - started for (started, stopped, _), _ in chosen],
                left=[started for (started, _, _), _ in chosen],
                height=0.74,
                color=colour,
                edgecolor=PAPER,
                linewidth=0.6,
            )
        axes.set(xlabel="seconds since the first execution", yticks=[])
        axes.set_xlim(left=0)
        axes.invert_yaxis()
        found = {outcome for _, _, outcome in spans}
        handles = [Patch(color=colour, label=word) for name, (colour, word) in _OUTCOMES.items() if name in found]
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
        return drawing.svg("timeline", f"Timeline of {len(spans)} executions")


def pack(spans: Sequence[Span]) -> list[int]:
    """The lane of each span (sorted by start): the first lane that is free when it starts."""
    free_at: list[float] = []
    lanes = []
    for started, stopped, _ in spans:
        lane = next((index for index, free in enumerate(free_at) if free <= started), len(free_at))
        free_at[lane : lane + 1] = [stopped]
        lanes.append(lane)
    return lanes


def steps(seconds: Mapping[str, float]) -> Markup:
    """The steps one below the other, each beginning where the previous one ended."""
    names, lengths = list(seconds), np.array(list(seconds.values()))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    with canvas(_WIDTH, 60 + 25 * len(names)) as drawing:
        axes = drawing.axes
        bars = axes.barh(names, lengths, left=starts, height=0.62, color=QUIET)
        axes.bar_label(bars, [f"{length:.1f} s" for length in lengths], padding=5, color=TEXT)
        axes.set(xlabel="seconds since the start", xlim=(0, max(1e-6, float(lengths.sum())) * 1.2))
        axes.invert_yaxis()
        return drawing.svg("steps", "Duration of each step, in seconds")


def drift(before: WindowVerdict, after: WindowVerdict) -> Markup:
    """Scores as multiples of the threshold, of the window and of each feature: a ring before the shift, a dot after."""
    unchanged = {item.name: item.score for item in before.features}
    rows = [("all features", before.score, after.score)]
    rows += [(item.name.replace("_", " "), unchanged.get(item.name, 0.0), item.score) for item in after.features]
    names = [name for name, _, _ in rows]
    circles = _ratios([score for _, score, _ in rows], before.threshold)
    dots = _ratios([score for _, _, score in rows], after.threshold)
    with canvas(_WIDTH, 66 + 23 * len(rows)) as drawing:
        axes = drawing.axes
        axes.hlines(names, circles, dots, color=RULE, linewidth=2)
        axes.plot(dots, names, "o", color=BAD, markersize=7.5, label="darkened and blurred")
        axes.plot(circles, names, "o", markerfacecolor=PAPER, markeredgecolor=GOOD, markersize=7, label="unchanged")
        axes.axvline(1, color=TEXT, linewidth=1.4, linestyle=_DASHES)
        axes.set(xscale="log", xlabel="drift score, 1 x is the alarm threshold")
        axes.set_xlim(left=_MIN_RATIO * 0.8)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} x"))
        axes.invert_yaxis()
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1)
        return drawing.svg("drift", "Drift scores by feature against the alarm threshold, before and after the shift")


def idle_couriers(plan: DispatchPlan, couriers: Sequence[Courier]) -> list[Courier]:
    """The couriers without an order."""
    busy = {item.courier.id for item in plan.assignments}
    return [courier for courier in couriers if courier.id not in busy]


def dispatch_map(plan: DispatchPlan, couriers: Sequence[Courier], classes: Sequence[str]) -> Markup:
    """The city: couriers, the way to each pick-up (dotted) and the trip itself, coloured by vehicle."""
    idle = idle_couriers(plan, couriers)
    with canvas(_WIDTH, 430) as drawing:
        axes = drawing.axes
        axes.set_aspect("equal", adjustable="datalim")
        axes.grid(axis="both")
        for item in plan.assignments:
            colour, marker = vehicle_style(item.courier.vehicle, classes)
            place, pickup, dropoff = item.courier.place, item.order.pickup, item.order.dropoff
            axes.plot(*zip(place, pickup, strict=True), color=colour, linewidth=1.1, linestyle=(0, (1, 1.6)))
            axes.plot(*zip(pickup, dropoff, strict=True), color=colour, linewidth=1.8)
            axes.plot(*dropoff, ".", color=colour, markersize=5)
            axes.plot(*place, marker, color=colour, markeredgecolor=PAPER, markersize=8.5)
        for courier in idle:
            colour, marker = vehicle_style(courier.vehicle, classes)
            axes.plot(*courier.place, marker, markerfacecolor=PAPER, markeredgecolor=colour, markersize=7)
        for waiting in plan.unassigned:
            axes.plot(*waiting.order.pickup, "x", color=TEXT, markersize=6)
        axes.set(xlabel="kilometres east of the centre", ylabel="kilometres north")
        axes.tick_params(axis="y", labelcolor=QUIET)
        vehicles = {item.courier.vehicle or "unsure" for item in plan.assignments} | {
            item.vehicle or "unsure" for item in idle
        }
        handles = []
        for vehicle in [*classes, *sorted(vehicles - set(classes))]:
            colour, marker = vehicle_style(vehicle, classes)
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=7, linewidth=1.8, label=vehicle))
        if plan.unassigned:
            handles.append(Line2D([], [], color=TEXT, marker="x", linestyle="", label="unassigned"))
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=3,
            borderaxespad=0.1,
        )
        return drawing.svg("map", "Map of couriers and their orders, coloured by vehicle")


def vehicle_style(vehicle: str, classes: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a vehicle, the same in every drawing; one that is not among *classes* is unsure."""
    if vehicle not in classes:
        return UNSURE, "D"
    place = list(classes).index(vehicle)
    return CLASSES[place % len(CLASSES)], _MARKERS[place % len(_MARKERS)]


def _note(axes: Axes, text: str, x: float, side: str) -> None:
    axes.annotate(
        text, (x, 1), xycoords=("data", "axes fraction"), xytext=(-5, -4), textcoords="offset points", ha=side, va="top"
    )


def _ratios(scores: Sequence[float], threshold: float) -> list[float]:
    """Scores as multiples of the threshold; those far below it are drawn at the edge."""
    return [max(_MIN_RATIO, score / threshold) if threshold > 0 else _MIN_RATIO for score in scores]


_MIN_DOT, _MAX_DOT = 14, 150


def reliability_diagram(after: Sequence[ReliabilityBin], before: Sequence[ReliabilityBin], classes: int) -> Markup:
    """Accuracy against confidence, with temperature scaling (dots, as large as their share of photos) and without."""
    photos = sum(part.n for part in after)
    with canvas(_WIDTH, 340) as drawing:
        axes = drawing.axes
        _both_grids(axes)
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=_DASHES)
        dots = [part.confidence for part in after]
        axes.vlines(
            dots, [part.interval.low for part in after], [part.interval.high for part in after], color=RULE, linewidth=3
        )
        sizes = [_MIN_DOT + (_MAX_DOT - _MIN_DOT) * part.n / photos for part in after]
        axes.scatter(
            dots, [part.accuracy for part in after], s=sizes, color=GOOD, label="with temperature scaling", zorder=3
        )
        axes.plot(
            [part.confidence for part in before],
            [part.accuracy for part in before],
            "o",
            markerfacecolor=PAPER,
            markeredgecolor=UNSURE,
            markersize=6,
            label="without",
        )
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0.97 / classes, 1.01), ylim=(0, 1.03))
        _percent(axes, "xy")
        _legend(axes, 2)
        return drawing.svg("reliability", "Reliability diagram: accuracy against confidence, with 95% intervals")


def risk_coverage_curve(curve: Sequence[RiskCoveragePoint], current: float, proposed: float) -> Markup:
    """The error rate at each coverage, with the current and the proposed threshold."""
    with canvas(_WIDTH, 340) as drawing:
        axes = drawing.axes
        _both_grids(axes)
        axes.plot([point.coverage for point in curve], [point.risk for point in curve], color=BAD, linewidth=1.8)
        for threshold, colour, word in ((current, QUIET, "current threshold"), (proposed, GOOD, "proposed")):
            place = [point for point in curve if point.threshold >= threshold][-1:]
            axes.plot(
                [point.coverage for point in place],
                [point.risk for point in place],
                "o",
                color=colour,
                markeredgecolor=PAPER,
                markersize=10,
                label=f"{word} {exact_percent(threshold)}",
            )
        axes.set(xlabel="coverage: share of photos accepted", ylabel="error rate among them", xlim=(0, 1.01))
        axes.set_ylim(bottom=0)
        _percent(axes, "xy")
        _legend(axes, 2)
        return drawing.svg("risk-coverage", "Risk-coverage curve: the error rate among the accepted photos")


def cost_curve(threshold: ThresholdEvaluation) -> Markup:
    """Expected dollars for 1,000 photos at every threshold, on the photos that selected it."""
    curve = threshold.selection.curve
    shown = [point for point in curve if point.coverage < 1] or list(curve)
    best = threshold.selection.best
    with canvas(_WIDTH, 300) as drawing:
        axes = drawing.axes
        _both_grids(axes)
        axes.plot([p.threshold for p in shown], [p.dollars_per_1000 for p in shown], color=TEXT, linewidth=1.8)
        axes.axvline(
            threshold.terms.current,
            color=QUIET,
            linewidth=1.4,
            linestyle=_DASHES,
            label=f"current {exact_percent(threshold.terms.current)}",
        )
        axes.plot(
            [best.threshold],
            [best.dollars_per_1000],
            "o",
            color=GOOD if threshold.guaranteed else UNSURE,
            markeredgecolor=PAPER,
            markersize=11,
            label=f"proposed {exact_percent(best.threshold)}",
        )
        axes.set(xlabel="threshold", ylabel="dollars for 1,000 photos")
        axes.set_ylim(bottom=0)
        _percent(axes, "x")
        axes.tick_params(axis="y", labelcolor=QUIET)
        _legend(axes, 2)
        return drawing.svg("costs", "Expected cost of 1,000 photos at every threshold")


def load_chart(load: LoadResult) -> Markup:
    """Latencies by the number of clients, with the throughput above."""
    levels = [level for level in load.levels if level.p50 is not None]
    clients = [level.clients for level in levels]
    with canvas(_WIDTH, 320) as drawing:
        axes = drawing.axes
        _both_grids(axes)
        for name, colour in (("p99", BAD), ("p95", UNSURE), ("p50", GOOD)):
            axes.plot(clients, [getattr(level, name) for level in levels], "o-", color=colour, label=name, markersize=6)
        for level in levels:
            axes.annotate(
                f"{level.per_second:,.0f}/s",
                (level.clients, level.p99 or 0),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
            )
        axes.set(xscale="log", xlabel="clients at once", ylabel="latency in milliseconds")
        if levels:
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        axes.margins(x=0.1, y=0.2)
        axes.set_xticks(clients, [str(count) for count in clients])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(axis="y", labelcolor=QUIET)
        _legend(axes, 3)
        return drawing.svg(f"load-{load.target}", f"Latencies of the {load.target} by the number of clients")


def _both_grids(axes: Axes) -> None:
    axes.grid(visible=True, axis="both")


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1, ncols=columns)


def _percent(axes: Axes, which: str) -> None:
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_formatter(PercentFormatter(1))
        axis.set_major_locator(MaxNLocator(6))
    axes.tick_params(axis="y", labelcolor=QUIET)


# Bicycles and motorcycles have the first two colours on every page.
_CURVE_COLOURS = CLASSES[2:]
_CURVE_MARKERS = ("o", "s", "^", "D")


def on_time_chart(value: BusinessValue) -> Markup:
    """Orders on time by accuracy: hypothetical classifiers as a line for each threshold, the model as large marks."""
    with canvas(_WIDTH, 380) as drawing:
        axes = drawing.axes
        axes.grid(visible=True, axis="both")
        curves, marks = value.hypothetical, value.measured
        for index, threshold in enumerate(sorted({item.threshold for item in (*curves, *marks)})):
            style = _CURVE_COLOURS[index % len(_CURVE_COLOURS)], _CURVE_MARKERS[index % len(_CURVE_MARKERS)]
            words = _threshold_words(threshold)
            if points := [item for item in curves if item.threshold == threshold]:
                _on_time_curve(axes, points, style, words)
            for item in marks:
                if item.threshold == threshold:
                    # The workflow's own threshold has a mark, and a line only if it is one of the usual ones.
                    _on_time_mark(axes, item, style, "" if points else f"this model, {words}")
        for item, side in ((value.perfect, "bottom"), (value.blind, "top")):
            axes.axhline(item.on_time.mean, color=QUIET, linewidth=1.2, linestyle=_DASHES)
            axes.annotate(
                f"{item.name} {item.on_time.mean:.0%}",
                (0, item.on_time.mean),
                xycoords=("axes fraction", "data"),
                xytext=(3, 3 if side == "bottom" else -3),
                textcoords="offset points",
                va=side,
            )
        axes.set(xlabel="accuracy of the classifier", ylabel="orders on time")
        axes.set_ylim(0, 1.06)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.tick_params(axis="y", labelcolor=QUIET)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1, ncols=2)
        return drawing.svg("on-time", "Orders on time by the classifier's accuracy, one line for each threshold")


def _on_time_curve(axes: Axes, points: Sequence[DispatchScenario], style: tuple[str, str], words: str) -> None:
    colour, marker = style
    axes.errorbar(
        [item.accuracy for item in points],
        [item.on_time.mean for item in points],
        [item.on_time.spread for item in points],
        color=colour,
        marker=marker,
        linewidth=1.8,
        markersize=5.5,
        markeredgecolor=PAPER,
        elinewidth=1.2,
        capsize=2.5,
        label=words,
    )


def _on_time_mark(axes: Axes, item: DispatchScenario, style: tuple[str, str], label: str) -> None:
    colour, marker = style
    axes.plot(
        item.accuracy,
        item.on_time.mean,
        color=colour,
        marker=marker,
        markersize=12,
        markeredgecolor=TEXT,
        linestyle="",
        label=label or None,
    )


def _threshold_words(threshold: float) -> str:
    return "no threshold" if threshold <= NO_THRESHOLD else f"threshold {exact_percent(threshold)}"
