"""Worth chart: what the classifier is worth to a city, as a manager wants to see it; importing it loads matplotlib."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from scones.evaluation.business_value import CityDays, Seen
from scones.reports.theme import CLASSES, PAPER, QUIET, TEXT, canvas

_WIDTH = 480
# Bicycles and motorcycles have the first two colours on every page.
_COLOURS = CLASSES[2:]
_MARKERS = ("o", "s", "^", "D")
_DASHES = (0, (4, 2))


def on_time_chart(city: CityDays) -> Markup:
    """Orders on time by accuracy: imagined classifiers as a line a threshold, the model as large marks."""
    with canvas(_WIDTH, 380) as drawing:
        axes = drawing.axes
        axes.grid(visible=True, axis="both")
        for index, threshold in enumerate(sorted({item.threshold for item in city.imagined})):
            style = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
            _curve(axes, [item for item in city.imagined if item.threshold == threshold], style, _words(threshold))
            for item in city.measured:
                if item.threshold == threshold:
                    _mark(axes, item, style)
        for item, side in ((city.perfect, "bottom"), (city.blind, "top")):
            axes.axhline(item.on_time, color=QUIET, linewidth=1.2, linestyle=_DASHES)
            axes.annotate(
                f"{item.name} {item.on_time:.0%}",
                (0, item.on_time),
                xycoords=("axes fraction", "data"),
                xytext=(3, 3 if side == "bottom" else -3),
                textcoords="offset points",
                va=side,
            )
        axes.set(xlabel="photos that the classifier names rightly", ylabel="orders on time")
        axes.set_ylim(0, 1.06)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.tick_params(axis="y", labelcolor=QUIET)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1, ncols=3, handlelength=1.4)
        return drawing.svg("on-time", "Orders on time by the classifier's accuracy, one line for each threshold")


def _curve(axes: Axes, points: Sequence[Seen], style: tuple[str, str], words: str) -> None:
    colour, marker = style
    axes.errorbar(
        [item.accuracy for item in points],
        [item.on_time for item in points],
        [item.spread for item in points],
        color=colour,
        marker=marker,
        linewidth=1.8,
        markersize=5.5,
        markeredgecolor=PAPER,
        elinewidth=1.2,
        capsize=2.5,
        label=words,
    )


def _mark(axes: Axes, item: Seen, style: tuple[str, str]) -> None:
    colour, marker = style
    axes.plot(item.accuracy, item.on_time, color=colour, marker=marker, markersize=12, markeredgecolor=TEXT)


def _words(threshold: float) -> str:
    return "always trusted" if threshold <= 0.5 else f"from {threshold:.0%}"
