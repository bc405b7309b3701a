"""How often an alert names the right cause: 25 changes, and the damage that training simulates.

`python -m benchmarks.monitor_causes` trains the product's model on half of the training photos, splits the others into
reference and window again and again, and prints, of the windows that fired, which cause was named: about two minutes.
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.monitor import BUILD, train_wrongly
from benchmarks.monitor_world import (
    CELLS,
    CLEAN,
    MISTRAINED,
    OTHERS,
    PRIORS,
    SHARES,
    SWAPPED,
    TAUGHT,
    Quick,
    Sight,
    Window,
    World,
    load,
    measure_all,
)
from numpy.typing import NDArray

from scones.domain.decision import VEHICLES
from scones.monitoring.alerts.cause import Cause, estimate_mix, probable_cause
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.window_test import window_test
from scones.monitoring.performance.registered_model import check_predictions
from scones.training.features import TrainingData

RATE = 0.01
MIX = (0.5, 0.5)
MODELS = (MISTRAINED, SWAPPED)
_OFTEN = 0.8


@dataclass(frozen=True)
class Change:
    """One change: what it is called, the windows it comes from, and its true cause."""

    name: str
    simulated: bool
    truth: Cause

    @property
    def group(self) -> str:
        """Under what it is counted."""
        return "damage that training simulates" if self.simulated else str(self.truth)


def changes(world: World) -> Iterator[Change]:
    """All changes; damage that training simulates is of the picture."""
    for cell in CELLS:
        truth = Cause.UNFAMILIAR if cell in SHARES or cell == OTHERS else Cause.QUALITY
        yield Change(cell, False, Cause.MODEL if cell in MODELS else Cause.MIX if cell in PRIORS else truth)
    yield from (Change(name, True, Cause.QUALITY) for name in world.simulated)


def main() -> None:
    """Measure, and print one line a kind of change, then those changes whose cause was often named wrongly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--photos", type=Path, default=os.environ.get("SCONES_PHOTOS", "photos"), help="holds the two folders"
    )
    parser.add_argument("--size", type=int, default=100, help="photos in a window")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    world = _world(options.photos, options.seed)
    for replayed in (True, False):
        words = "photos replayed" if replayed else "without a replay"
        print(f"\n| {options.size} photos, {words} | windows | fired | {' | '.join(Cause)} |")
        print("|---|---|---|" + "---|" * len(Cause))
        print("\n".join(_lines(world, options, replayed=replayed)))


def _lines(world: World, options: argparse.Namespace, *, replayed: bool) -> Iterator[str]:
    groups: dict[str, list[tuple[Change, Counter[Cause]]]] = {}
    for change in changes(world):
        found = Counter(_causes(world, change, options, replayed=replayed))
        groups.setdefault(change.group, []).append((change, found))
    for group, members in groups.items():
        total = sum((found for _, found in members), Counter[Cause]())
        yield _line(group, total, members[0][0].truth, options.splits * len(members))
    for change, found in (member for members in groups.values() for member in members):
        if found.total() and found[change.truth] < _OFTEN * found.total():
            name = f"- of these, {'simulated ' if change.simulated else ''}{change.name}"
            yield _line(name, found, change.truth, options.splits)


def _line(name: str, found: Counter[Cause], truth: Cause, windows: int) -> str:
    counts = " | ".join(f"**{found[cause]}**" if cause is truth else str(found[cause]) for cause in Cause)
    return f"| {name} | {windows} | {found.total()} | {counts} |"


def _world(folder: Path, seed: int) -> World:
    two, others = folder / "cifar100-two-wheelers", folder / "cifar100-others"
    photos, labels = load(two / "train", VEHICLES)
    order = np.random.default_rng(seed).permutation(len(photos))
    taught, rest = order[:TAUGHT], order[TAUGHT:]
    training_data = TrainingData(photos[taught], labels[taught], len(VEHICLES), load(others / "train")[0], ())
    model = Quick.learn(training_data, photos[rest], Sight(training_data.photos, BUILD / "features"))
    wrong = train_wrongly(training_data, photos[rest], model.sight, seed)
    return measure_all(model, wrong, photos[rest], labels[rest], load(others / "test")[0])


def _causes(world: World, change: Change, options: argparse.Namespace, *, replayed: bool) -> Iterator[Cause]:
    """Name the cause of one window a split, where it fired."""
    for split in range(options.splits):
        rng = np.random.default_rng([options.seed, split])
        order = rng.permutation(len(world.labels))
        half = len(order) // 2
        reference = Baseline(world.seen[CLEAN].features[order[:half]])
        window = _window(world, change, order[half:], options.size, rng)
        verdict = window_test(reference, window.features(), false_alarm_rate=RATE, seed=split)
        if not verdict.alarm:
            continue
        answers = window.probabilities()
        registered = world.seen[CLEAN].probabilities[window.rows] if change.truth is Cause.MODEL else answers
        replay = check_predictions(answers, registered) if replayed else None
        yield probable_cause(verdict, replay, MIX, estimate_mix(answers, MIX)).cause


def _window(world: World, change: Change, stream: NDArray[np.intp], photos: int, rng: np.random.Generator) -> Window:
    if not change.simulated:
        return world.window(change.name, stream, photos, rng)
    seen, rows = world.simulated[change.name], rng.choice(stream, photos, replace=False)
    return Window(seen, rows, seen, rows[:0])


if __name__ == "__main__":
    main()
