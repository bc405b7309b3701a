"""Draw what a thousand answers cost each server: the model's share, and the server's own."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

MODEL_COLOUR, SERVER_COLOUR, OURS_COLOUR = "#9aa3b2", "#d97706", "#1d6fb8"


def draw(path: Path, ours: str, limits: Sequence[float], rounds: Mapping[str, Sequence[float]]) -> None:
    """Write an SVG of CPU seconds per 1,000 answers, medians over the rounds; *limits* are the bare loop's."""
    limit = statistics.median(limits)
    names = sorted(rounds, key=lambda name: statistics.median(rounds[name]), reverse=True)
    medians = [statistics.median(rounds[name]) for name in names]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "scones", "font.size": 10}):
        figure = Figure(figsize=(8, 0.45 * len(names) + 1.3), layout="constrained")
        axes = figure.subplots()
        axes.barh(names, limit, color=MODEL_COLOUR, label="decoder and model, in a bare loop")
        own = [max(median - limit, 0) for median in medians]
        colours = [OURS_COLOUR if name == ours else SERVER_COLOUR for name in names]
        axes.barh(names, own, left=limit, color=colours, label="the server's own")
        for place, median in enumerate(medians):
            axes.annotate(f" {median:.2f}", (max(median, limit), place), va="center")
        axes.set_xlabel("CPU seconds per 1,000 answers (lower is better)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper right", frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
