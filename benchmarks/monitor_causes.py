"""How often an alert names the right cause: 25 changes, and nine kinds of damage that the rules were not made on.

`python -m benchmarks.monitor_causes` teaches a quick model half of the training photos, splits the others into
reference and window again and again, and prints, of the windows that rang, which cause was named: about three minutes.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmarks.monitor import mistaught
from benchmarks.monitor_world import (
    CELLS,
    CLEAN,
    EPOCHS,
    MISTRAINED,
    PRIORS,
    SHARES,
    STRANGERS,
    SWAPPED,
    TAUGHT,
    Quick,
    Window,
    World,
    load,
    look_at_all,
)

from scones.monitoring.baseline import Baseline
from scones.monitoring.cause import Cause, Signs, likely_cause
from scones.monitoring.class_mix import estimate_mix
from scones.monitoring.detectors import check
from scones.monitoring.replay import compare
from scones.vehicles import VEHICLES
from scones.vision.messages import Labelled

RATE = 0.01
MIX = (0.5, 0.5)
MODELS = (MISTRAINED, SWAPPED)


def truth(cell: str) -> Cause:
    """What the cause of a change is; damage that training simulates is of the picture."""
    if cell in MODELS:
        return Cause.MODEL
    if cell in PRIORS:
        return Cause.MIX
    return Cause.UNFAMILIAR if cell in SHARES or cell == STRANGERS else Cause.QUALITY


def main() -> None:
    """Measure, and print one line a change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("../shared/data"), help="holds the two folders of photos")
    parser.add_argument("--size", type=int, default=100, help="photos in a window")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    world = _world(options.photos, options.seed)
    for replayed in (True, False):
        words = "with the photos replayed" if replayed else "without a replay"
        print(f"\n| {options.size} photos, {words} | rang | {' | '.join(Cause)} |\n|---|---|{'---|' * len(Cause)}")
        for cell in (*CELLS, *world.simulated):
            found = Counter(_causes(world, cell, options, replayed=replayed))
            counts = " | ".join(f"**{found[cause]}**" if cause is truth(cell) else str(found[cause]) for cause in Cause)
            print(f"| {cell} | {sum(found.values())} of {options.splits} | {counts} |")


def _world(folder: Path, seed: int) -> World:
    two, others = folder / "cifar100-two-wheelers", folder / "cifar100-others"
    photos, labels = load(two / "train", VEHICLES)
    order = np.random.default_rng(seed).permutation(len(photos))
    taught, rest = order[:TAUGHT], order[TAUGHT:]
    lesson = Labelled(photos[taught], labels[taught], len(VEHICLES), load(others / "train")[0])
    model = Quick.learn(lesson, photos[rest], EPOCHS, seed)
    wrong = mistaught(lesson, photos[rest], seed)
    return look_at_all(model, wrong, photos[rest], labels[rest], load(others / "test")[0])


def _causes(world: World, cell: str, options: argparse.Namespace, *, replayed: bool) -> Iterator[Cause]:
    """Name the cause of one window a split, where it rings."""
    for split in range(options.splits):
        rng = np.random.default_rng([options.seed, split])
        order = rng.permutation(len(world.labels))
        half = len(order) // 2
        reference = Baseline(world.seen[CLEAN].channels[order[:half]])
        window = _window(world, cell, order[half:], options.size, rng)
        verdict = check(reference, window.channels(), false_alarm_rate=RATE, seed=split)
        if not verdict.alarm:
            continue
        answers = window.probabilities()
        registered = world.seen[CLEAN].probabilities[window.rows] if cell in MODELS else answers
        replay = compare(answers, registered) if replayed else None
        yield likely_cause(Signs(verdict, replay, MIX, estimate_mix(answers, MIX))).cause


def _window(world: World, cell: str, stream: np.ndarray, photos: int, rng: np.random.Generator) -> Window:
    if cell in world.simulated:
        rows = rng.choice(stream, photos, replace=False)
        return Window(world.simulated[cell], rows, world.simulated[cell], rows[:0])
    return world.window(cell, stream, photos, rng)


if __name__ == "__main__":
    main()
