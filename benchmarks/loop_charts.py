"""Draws the loop's charts as SVG files that follow the reader's light or dark theme."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmarks.loop_weeks import Week

from scones.reports.theme import CLASSES, QUIET, TEXT, canvas

if TYPE_CHECKING:
    from benchmarks.loop import Regained

_THEME = """<style>
svg { color: #1b2430; --quiet: #66717f; --rule: #dde2e8; --paper: #fff; --class-1: #1d6fb8; --class-2: #d97706;
  font: 12.5px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { color: #e4e9ef; --quiet: #95a1b0; --rule: #2d3540; --paper: #171c23;
  --class-1: #62aef0; --class-2: #f0a64b; } }
</style>"""
_WIDTH, _HEIGHT = 480, 300


def draw(folder: Path, regained: "Sequence[Regained]", lived: Sequence[Week]) -> None:
    """Write loop-labels.svg and loop-weeks.svg."""
    found = regained[0]
    with canvas(_WIDTH, _HEIGHT) as drawing:
        axes = drawing.axes
        axes.grid(axis="y")
        curves: Mapping[str, tuple[Mapping[int, list[float]], str, str]] = {
            "chosen by the plan": (found.chosen, CLASSES[0], "o"),
            "drawn at random": (found.drawn, CLASSES[1], "s"),
        }
        for name, (curve, colour, marker) in curves.items():
            counts = [0, *curve]
            each = [found.after, *curve.values()]
            means = [100 * float(np.mean(values)) for values in each]
            errors = [100 * float(np.std(values, ddof=1) / np.sqrt(len(values))) for values in each]
            axes.errorbar(counts, means, errors, color=colour, marker=marker, capsize=3, label=name)
        axes.axhline(100 * float(np.mean(found.before)), color=TEXT, linestyle=(0, (4, 2)), label="before the change")
        axes.set(xlabel="labelled photos of the new camera", ylabel="accuracy on its photos, %")
        axes.tick_params(axis="y", labelcolor=QUIET)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1)
        _write(folder / "loop-labels.svg", drawing.svg("labels", "Accuracy by the number of labels, chosen and drawn"))
    with canvas(_WIDTH, _HEIGHT) as drawing:
        axes = drawing.axes
        axes.grid(axis="y")
        for loop, colour, marker, name in (
            (True, CLASSES[0], "o", "with the loop"),
            (False, CLASSES[1], "s", "without"),
        ):
            some = [week for week in lived if week.loop == loop]
            by_week = [[100 * week.accuracy for week in some if week.name == one] for one in _names(some)]
            means = [float(np.mean(values)) for values in by_week]
            errors = [float(np.std(values, ddof=1) / np.sqrt(len(values))) for values in by_week]
            axes.errorbar(range(1, len(means) + 1), means, errors, color=colour, marker=marker, capsize=3, label=name)
        axes.set(xlabel="week", ylabel="accuracy, %", xticks=[1, 2, 3, 4])
        axes.set_xticklabels(["1: nights", "2: another\nphone", "3: and a\ndirty lens", "4: and unknown\nvehicles"])
        axes.tick_params(axis="y", labelcolor=QUIET)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1)
        _write(folder / "loop-weeks.svg", drawing.svg("weeks", "Accuracy by week, with the loop and without"))


def _names(some: Sequence[Week]) -> Sequence[str]:
    return tuple(dict.fromkeys(week.name for week in some))


def _write(path: Path, svg: str) -> None:
    # As a plain string: Markup would escape the style.
    opening, rest = str(svg).split(">", 1)
    path.write_text(f"{opening}>{_THEME}{rest}\n", "utf-8")
