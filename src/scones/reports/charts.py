"""Charts: the report's drawings. The only module that draws; importing it loads matplotlib."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from scones.domain.decision import Outcome
from scones.reports.story import Answer, Dispatch, DriftCheck, Run
from scones.reports.theme import BAD, CLASSES, GOOD, PAPER, QUIET, RULE, TEXT, UNSURE, canvas

_WIDTH = 480
_HISTOGRAM_BINS = 20
_OUTCOMES = {
    Outcome.CLASSIFIED: (GOOD, "classified"),
    Outcome.BELOW_THRESHOLD: (UNSURE, "below the threshold"),
    Outcome.OUT_OF_DISTRIBUTION: (QUIET, "out of distribution"),
    Outcome.UNREADABLE: (TEXT, "unreadable"),
    Outcome.FAILED: (BAD, "failed"),
}
_MARKERS = ("o", "s", "^", "P", "X", "v")
# Beyond this the bars are thinner than a pixel, and the file grows for nothing.
_MOST_BARS = 2000
_LEAST_RATIO = 0.05


def confidence_histogram(answers: Sequence[Answer], threshold: float, classes: int) -> Markup:
    """How sure the model was, right answers below and wrong ones on top, with the threshold."""
    edges = np.linspace(1 / classes, 1, _HISTOGRAM_BINS + 1).tolist()
    right = [answer.confidence for answer in answers if answer.right]
    wrong = [answer.confidence for answer in answers if not answer.right]
    with canvas(_WIDTH, 290) as drawing:
        axes = drawing.axes
        axes.grid(axis="y")
        axes.grid(visible=False, axis="x")
        axes.hist([right, wrong], edges, stacked=True, color=[GOOD, BAD], edgecolor=PAPER, linewidth=1.2)
        axes.axvline(threshold, color=TEXT, linewidth=1.4, linestyle=(0, (4, 2)))
        _note(axes, f"threshold {threshold:.0%}", threshold, "right")
        axes.set(xlim=(edges[0], 1), xlabel="confidence", ylabel="photos")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(axis="y", labelcolor=QUIET)
        handles = [Patch(color=GOOD, label=f"right ({len(right)})"), Patch(color=BAD, label=f"wrong ({len(wrong)})")]
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1)
        return drawing.svg("confidence", "Histogram of the model's confidence, right and wrong answers")


def timeline(runs: Sequence[Run]) -> Markup:
    """Every execution as a bar from start to stop, packed into as many lanes as ran at once."""
    shown = sorted(runs, key=lambda run: run.started)[:_MOST_BARS]
    lanes = pack(shown)
    with canvas(_WIDTH, 70 + 22 * min(max(lanes, default=0) + 1, 12)) as drawing:
        axes = drawing.axes
        for outcome, (colour, _) in _OUTCOMES.items():
            chosen = [(run, lane) for run, lane in zip(shown, lanes, strict=True) if run.outcome == outcome]
            axes.barh(
                [lane for _, lane in chosen],
                [run.stopped - run.started for run, _ in chosen],
                left=[run.started for run, _ in chosen],
                height=0.74,
                color=colour,
                edgecolor=PAPER,
                linewidth=0.6,
            )
        axes.set(xlabel="seconds since the first execution", yticks=[])
        axes.set_xlim(left=0)
        axes.invert_yaxis()
        found = {run.outcome for run in runs}
        handles = [Patch(color=colour, label=word) for name, (colour, word) in _OUTCOMES.items() if name in found]
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
        return drawing.svg("timeline", f"Timeline of {len(runs)} executions")


def pack(runs: Sequence[Run]) -> list[int]:
    """The lane of each run (sorted by start): the first lane that is free when it starts."""
    free_at: list[float] = []
    lanes = []
    for run in runs:
        lane = next((index for index, free in enumerate(free_at) if free <= run.started), len(free_at))
        free_at[lane : lane + 1] = [run.stopped]
        lanes.append(lane)
    return lanes


def steps(seconds: Mapping[str, float]) -> Markup:
    """The steps one below the other, each beginning where the one before it ended."""
    names, lengths = list(seconds), np.array(list(seconds.values()))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    with canvas(_WIDTH, 60 + 25 * len(names)) as drawing:
        axes = drawing.axes
        bars = axes.barh(names, lengths, left=starts, height=0.62, color=QUIET)
        axes.bar_label(bars, [f"{length:.1f} s" for length in lengths], padding=5, color=TEXT)
        axes.set(xlabel="seconds since the start", xlim=(0, max(1e-6, float(lengths.sum())) * 1.2))
        axes.invert_yaxis()
        return drawing.svg("steps", "What each step took, in seconds")


def drift(clean: DriftCheck, shifted: DriftCheck) -> Markup:
    """Scores as multiples of the alarm line: the whole batch, then each channel; clean a ring, shifted a dot."""
    calm = {channel.name: channel.score for channel in clean.channels}
    rows = [("whole batch", clean.score, shifted.score)]
    rows += [(_words(channel.name), calm.get(channel.name, 0.0), channel.score) for channel in shifted.channels]
    names = [name for name, _, _ in rows]
    before = _ratios([score for _, score, _ in rows], clean.threshold)
    after = _ratios([score for _, _, score in rows], shifted.threshold)
    with canvas(_WIDTH, 66 + 23 * len(rows)) as drawing:
        axes = drawing.axes
        axes.hlines(names, before, after, color=RULE, linewidth=2)
        axes.plot(after, names, "o", color=BAD, markersize=7.5, label="darkened and blurred")
        axes.plot(before, names, "o", markerfacecolor=PAPER, markeredgecolor=GOOD, markersize=7, label="as they were")
        axes.axvline(1, color=TEXT, linewidth=1.4, linestyle=(0, (4, 2)))
        axes.set(xscale="log", xlabel="score, as a multiple of the alarm line")
        axes.set_xlim(left=_LEAST_RATIO * 0.8)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} x"))
        axes.invert_yaxis()
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1, handletextpad=0.2)
        return drawing.svg("drift", "Drift scores by channel against the alarm line, before and after the shift")


def dispatch_map(dispatch: Dispatch, classes: Sequence[str]) -> Markup:
    """The city: couriers, the way to each pick-up (dotted) and the trip itself, coloured by vehicle."""
    with canvas(_WIDTH, 430) as drawing:
        axes = drawing.axes
        axes.set_aspect("equal", adjustable="datalim")
        axes.grid(axis="both")
        for trip in dispatch.trips:
            colour, marker = vehicle_style(trip.vehicle, classes)
            way, ride = zip(trip.courier, trip.pickup, strict=True), zip(trip.pickup, trip.dropoff, strict=True)
            axes.plot(*way, color=colour, linewidth=1.1, linestyle=(0, (1, 1.6)))
            axes.plot(*ride, color=colour, linewidth=1.8)
            axes.plot(*trip.dropoff, ".", color=colour, markersize=5)
            axes.plot(*trip.courier, marker, color=colour, markeredgecolor=PAPER, markersize=8.5)
        for vehicle, place in dispatch.idle:
            colour, marker = vehicle_style(vehicle, classes)
            axes.plot(*place, marker, markerfacecolor=PAPER, markeredgecolor=colour, markersize=7)
        for place, _ in dispatch.left:
            axes.plot(*place, "x", color=TEXT, markersize=6)
        axes.set(xlabel="kilometres east of the centre", ylabel="kilometres north")
        axes.tick_params(axis="y", labelcolor=QUIET)
        axes.legend(
            handles=_map_legend(dispatch, classes),
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=4,
            borderaxespad=0.1,
            columnspacing=1.2,
            handletextpad=0.6,
            handlelength=1.2,
        )
        return drawing.svg("map", "Map of couriers and their orders, coloured by vehicle")


def vehicle_style(vehicle: str, classes: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a vehicle: the same in every drawing; what is not among *classes* is unsure."""
    if vehicle not in classes:
        return UNSURE, "D"
    place = list(classes).index(vehicle)
    return CLASSES[place % len(CLASSES)], _MARKERS[place % len(_MARKERS)]


def _map_legend(dispatch: Dispatch, classes: Sequence[str]) -> list[Line2D]:
    found = {trip.vehicle for trip in dispatch.trips} | {vehicle for vehicle, _ in dispatch.idle}
    handles = []
    for vehicle in [*classes, *sorted(found - set(classes))]:
        colour, marker = vehicle_style(vehicle, classes)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=7, linewidth=1.8, label=vehicle))
    if dispatch.left:
        handles.append(Line2D([], [], color=TEXT, marker="x", linestyle="", label="stays"))
    return handles


def _note(axes: Axes, text: str, x: float, side: str) -> None:
    axes.annotate(
        text, (x, 1), xycoords=("data", "axes fraction"), xytext=(-5, -4), textcoords="offset points", ha=side, va="top"
    )


def _ratios(scores: Sequence[float], threshold: float) -> list[float]:
    """Scores as multiples of the alarm line; what lies far below it is drawn at the edge."""
    return [max(_LEAST_RATIO, score / threshold) if threshold > 0 else _LEAST_RATIO for score in scores]


def _words(channel: str) -> str:
    return channel.replace("_", " ")
