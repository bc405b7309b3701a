"""Study charts: the drawings of one model's evaluation."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from scones.evaluation.calibration import Bin, Point
from scones.evaluation.load_test import Load
from scones.evaluation.thresholds import ThresholdTrial
from scones.reports.theme import BAD, GOOD, PAPER, QUIET, RULE, TEXT, UNSURE, canvas

_WIDTH = 480
_DASHES = (0, (4, 2))
_LEAST_DOT, _MOST_DOT = 14, 150


def reliability_diagram(after: Sequence[Bin], before: Sequence[Bin], classes: int) -> Markup:
    """Accuracy against confidence, with the temperature (dots, as large as their share of photos) and without."""
    photos = sum(part.n for part in after)
    with canvas(_WIDTH, 340) as drawing:
        axes = drawing.axes
        _both_grids(axes)
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=_DASHES)
        dots = [part.confidence for part in after]
        axes.vlines(
            dots, [part.interval.low for part in after], [part.interval.high for part in after], color=RULE, linewidth=3
        )
        sizes = [_LEAST_DOT + (_MOST_DOT - _LEAST_DOT) * part.n / photos for part in after]
        axes.scatter(
            dots, [part.accuracy for part in after], s=sizes, color=GOOD, label="with its temperature", zorder=3
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
        axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0.97 / classes, 1.01), ylim=(0, 1.03))
        _percent(axes, "xy")
        _legend(axes, 2)
        return drawing.svg("reliability", "Reliability diagram: accuracy against confidence, with 95% intervals")


def risk_coverage_curve(curve: Sequence[Point], current: float, proposed: float) -> Markup:
    """The share of wrong answers among the surest photos, with the current and the proposed threshold."""
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
                label=f"{word} {threshold:g}",
            )
        axes.set(xlabel="photos accepted, the surest first", ylabel="wrong among them", xlim=(0, 1.01))
        axes.set_ylim(bottom=0)
        _percent(axes, "xy")
        _legend(axes, 2)
        return drawing.svg("risk-coverage", "Risk-coverage curve: wrong answers among the accepted photos")


def cost_curve(trial: ThresholdTrial) -> Markup:
    """Expected dollars for 1,000 photos at every threshold, on the photos that it was chosen on."""
    shown = [point for point in trial.choice.curve if point.coverage < 1] or list(trial.choice.curve)
    best = trial.choice.best
    with canvas(_WIDTH, 300) as drawing:
        axes = drawing.axes
        _both_grids(axes)
        axes.plot([p.threshold for p in shown], [p.dollars_per_1000 for p in shown], color=TEXT, linewidth=1.8)
        axes.axvline(
            trial.terms.current, color=QUIET, linewidth=1.4, linestyle=_DASHES, label=f"current {trial.terms.current:g}"
        )
        axes.plot(
            [best.threshold],
            [best.dollars_per_1000],
            "o",
            color=GOOD if trial.guaranteed else UNSURE,
            markeredgecolor=PAPER,
            markersize=11,
            label=f"proposed {best.threshold:g}",
        )
        axes.set(xlabel="threshold", ylabel="dollars for 1,000 photos")
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="y", labelcolor=QUIET)
        _legend(axes, 2)
        return drawing.svg("costs", "Expected cost of 1,000 photos at every threshold")


def load_chart(load: Load) -> Markup:
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
        axes.set(xscale="log", yscale="log", xlabel="clients at once", ylabel="milliseconds to the answer")
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
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1, handletextpad=0.5, ncols=columns)


def _percent(axes: Axes, which: str) -> None:
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_formatter(PercentFormatter(1))
        axis.set_major_locator(MaxNLocator(6))
    axes.tick_params(axis="y", labelcolor=QUIET)
