"""How well the monitoring works: false alarms, power, delay, accuracy without labels, and its peers on the same photos.

`make bench-monitor` trains the product's model on half of the training photos, measures all others under 25 changes,
splits them into reference and stream many times, and writes the tables into docs/monitoring.md: about ten minutes on
two quiet cores. What the backbone sees is kept in build/, so that another run takes less.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from benchmarks.monitor_estimates import (
    LABELS,
    Accuracies,
    measure_accuracy,
    measure_replay,
    measure_times,
)
from benchmarks.monitor_measures import (
    CLEAN_SPLITS,
    LONGEST,
    SIZES,
    STREAMS,
    STRICT,
    USUAL,
    Streams,
    Windows,
    measure_fresh,
    measure_streams,
    measure_windows,
)
from benchmarks.monitor_month import Month, measure_months, month_lines
from benchmarks.monitor_peers import DEFAULTS, SCORES
from benchmarks.monitor_world import (
    CELLS,
    CLEAN,
    DAMAGES,
    MISTRAINED,
    PRIORS,
    SHARES,
    SWAPPED,
    TAUGHT,
    WRONG_LABELS,
    Floats,
    Quick,
    Sight,
    World,
    load,
    measure_all,
)

from scones.domain.decision import VEHICLES
from scones.training.features import TrainingData

PAGE = Path(__file__).parents[1] / "docs" / "monitoring.md"
BUILD = Path("build/bench-monitor")
BEGIN, END = "<!-- measured: written by make bench-monitor -->", "<!-- end of measured -->"
_WEAK = 0.95
_FAR = 0.1
_MET = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True)
class Row:
    """One line of the table; what has no target has no *met*."""

    words: str
    target: str
    measured: str
    met: bool | None
    count: str


def main() -> None:
    """Measure, print the tables, and with --write put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--photos", type=Path, default=os.environ.get("SCONES_PHOTOS", "photos"), help="holds the two folders"
    )
    parser.add_argument("--splits", type=int, default=40, help="how often reference and stream are split again")
    parser.add_argument("--without-others", action="store_true", help="train without photos of other things")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write docs/monitoring.md")
    options = parser.parse_args()
    lines = list(_measure(options))
    print("\n".join(lines))
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        PAGE.write_text(before + "\n".join([BEGIN, *lines, END]) + after, encoding="utf-8")


def _measure(options: argparse.Namespace) -> Iterator[str]:
    started, spent = time.monotonic(), time.process_time()
    two, others = options.photos / "cifar100-two-wheelers", options.photos / "cifar100-others"
    (photos, labels), (tests, truths) = (load(two / part, VEHICLES) for part in ("train", "test"))
    order = np.random.default_rng(options.seed).permutation(len(photos))
    taught, rest = order[:TAUGHT], order[TAUGHT:]
    unseen, known = np.concatenate([photos[rest], tests]), np.concatenate([labels[rest], truths])
    learnt = load(others / "train")[0]
    training_data = TrainingData(
        photos[taught], labels[taught], len(VEHICLES), learnt[:0] if options.without_others else learnt, ()
    )
    sight = Sight(training_data.photos, BUILD / "features")
    model = Quick.learn(training_data, photos[rest], sight)
    wrong = train_wrongly(training_data, photos[rest], sight, options.seed)
    world = measure_all(model, wrong, unseen, known, load(others / "test")[0])
    parts = options.splits
    windows = measure_windows(world, parts, max(2, parts // 4), options.seed)
    streams = measure_streams(world, max(2, parts // 4), options.seed, BUILD / "river")
    left = TrainingData(photos[rest], labels[rest], len(VEHICLES), training_data.outliers, ())
    fresh = measure_fresh(held_out_features(world, training_data, left, sight), 2 * parts, options.seed)
    accuracies = measure_accuracy(world, max(2, parts // 4), options.seed)
    replayed = measure_replay(world, parts, options.seed)
    months = measure_months(model, unseen, known, options.seed)
    times = measure_times(world, unseen)
    half = len(unseen) // 2
    yield f"Measured on {datetime.now(UTC):%Y-%m-%d}, seed {options.seed}, in {time.monotonic() - started:.0f} s"
    yield f"({time.process_time() - spent:.0f} CPU seconds). The product's model, trained on {len(taught)} photos"
    yield f"beside {len(training_data.outliers)} photos of other things, is right on"
    yield f"{world.seen[CLEAN].right.mean():.3f} of {len(unseen)} unseen photos; each repetition splits these again,"
    yield f"{half} reference and {len(unseen) - half} stream."
    yield ""
    yield "| | target | measured | met | n |"
    yield "|---|---|---|---|---|"
    rows = [*_window_rows(windows, parts), *_stream_rows(streams, fresh, 2 * parts), *_accuracy_rows(accuracies)]
    for row in [*rows, *_replay_rows(replayed), *_time_rows(times)]:
        yield f"| {row.words} | {row.target} | {row.measured} | {_MET[row.met]} | {row.count} |"
    yield ""
    yield from _details(windows, streams, accuracies, months, world)


def train_wrongly(training_data: TrainingData, unseen: np.ndarray, sight: Sight, seed: int) -> Quick:
    """Train a model with many wrong labels."""
    wrong = np.random.default_rng(seed).random(len(training_data.labels)) < WRONG_LABELS
    labels = np.where(wrong, 1 - training_data.labels, training_data.labels)
    return Quick.learn(replace(training_data, labels=labels), unseen, sight)


def held_out_features(world: World, taught: TrainingData, rest: TrainingData, sight: Sight) -> Floats:
    """The features of all photos, [n, features], by models not trained on them: a second one is trained on the rest.

    Some photos come from one model and some from the other, in reference and stream alike.
    """
    other = Quick.learn(rest, taught.photos, sight)
    return np.concatenate([world.seen[CLEAN].features, other.measure(taught.photos, taught.labels).features])


def _share(fired: Sequence[bool], splits: int) -> str:
    """A share with its standard error over splits, whose windows have a reference in common."""
    by_split = np.array(fired).reshape(splits, -1).mean(axis=1)
    return f"{np.mean(fired):.3f} ± {by_split.std(ddof=1) / np.sqrt(splits):.3f}"


def _window_rows(windows: Windows, splits: int) -> Iterator[Row]:
    for photos in SIZES:
        fired = windows.false[photos, USUAL]
        met = 0.035 <= np.mean(fired) <= 0.065
        words = f"false alarms of a window test of {photos}, nominal 5%"
        clean = CLEAN_SPLITS * splits
        yield Row(words, ".035 to .065", _share(fired, clean), bool(met), f"{len(fired)} tests, {clean} splits")
    for photos, target in zip(SIZES, (0.95, 0.98, 0.995), strict=True):
        yield _power(windows, photos, USUAL, target, splits)
    yield _power(windows, SIZES[-1], STRICT, 0.85, splits)
    for cell, target in (("OOD 10%", 0.8), ("gray 0.25", 0.5), ("classes 70/30", 0.5)):
        found = windows.fired[SIZES[0], USUAL, cell]
        words = f"power at 5%, {cell}, n = {SIZES[0]}"
        yield Row(words, f">= {target}", _share(found, splits), bool(np.mean(found) >= target), f"{len(found)} windows")
    turned = windows.fired[100, USUAL, "rotation 90"]
    words = "power at 5%, rotated by 90°, n = 100"
    yield Row(words, ">= .8", f"{np.mean(turned):.3f}", bool(np.mean(turned) >= 0.8), f"{splits} windows")


def _power(windows: Windows, photos: int, rate: float, target: float, splits: int) -> Row:
    by_split = np.array([windows.fired[photos, rate, cell] for cell in CELLS]).mean(axis=0)
    measured = f"{by_split.mean():.3f} ± {by_split.std(ddof=1) / np.sqrt(splits):.3f}"
    words = f"power at {rate:.1%} false alarms, n = {photos}, mean of {len(CELLS)} changes"
    return Row(
        words, f">= {target}", measured, bool(by_split.mean() >= target), f"{by_split.size * len(CELLS)} windows"
    )


def _stream_rows(streams: Streams, fresh: list[bool], splits: int) -> Iterator[Row]:
    delays = np.concatenate([streams.delays[cell] for cell in CELLS])
    count = f"{len(delays)} streams"
    words = "false alarms per 1,000 new photos, nominal 10%"
    met = bool(np.mean(fresh) <= 0.12)
    yield Row(words, "<= .12", _share(fresh, splits), met, f"{len(fresh)} streams, {splits} splits")
    parts = len(streams.delays[CELLS[0]]) // STREAMS
    words = "the same if 350 photos are repeated"
    yield Row(words, "none", _share(streams.repeated, parts), None, f"{len(streams.repeated)} streams")
    median, mean = np.median(delays), np.minimum(delays, LONGEST).mean()
    yield Row("delay, median photos", "<= 25", f"{median:.0f}", bool(median <= 25), count)
    yield Row("delay, mean photos (600 if missed)", "<= 95", f"{mean:.0f}", bool(mean <= 95), count)
    missed = float((delays > LONGEST).mean())
    yield Row(f"missed within {LONGEST} photos", "<= .04", f"{missed:.3f}", missed <= 0.04, count)


def _accuracy_rows(found: Accuracies) -> Iterator[Row]:
    errors = _errors(found, "estimated, no labels")
    count = f"{sum(len(found.errors['estimated, no labels', cell]) for cell in DAMAGES)} windows"
    words = f"accuracy without labels: mean error over {len(DAMAGES)} damages, points"
    yield Row(words, "<= 3.5", f"{np.mean(errors):.1f}", bool(np.mean(errors) <= 3.5), count)
    worst = DAMAGES[int(np.argmax(errors))]
    words = f"its worst damage ({worst})"
    yield Row(words, "<= 10", f"{max(errors):.1f}", bool(max(errors) <= 10), count)


def _errors(found: Accuracies, method: str) -> list[float]:
    return [100 * float(np.mean(found.errors[method, cell])) for cell in DAMAGES]


def _off(found: Accuracies, cells: Iterable[str]) -> float:
    return 100 * float(np.mean([found.errors["estimated, no labels", cell] for cell in cells]))


def _replay_rows(found: dict[str, list[int | None]]) -> Iterator[Row]:
    for cell in (MISTRAINED, SWAPPED):
        places = [201 if place is None else place for place in found[cell]]
        median, late = np.median(places), np.quantile(places, 0.95)
        measured = f"{median:.0f}, 95% by {late:.0f}"
        yield Row(
            f"prediction check, {cell}: photos until found", "<= 5", measured, bool(late <= 5), f"{len(places)} streams"
        )
    false = sum(place is not None for place in found["the same model, in int8"])
    yield Row("prediction check, the same model in int8: found", "0", str(false), false == 0, f"{len(places)} streams")


def _time_rows(times: dict[str, float]) -> Iterator[Row]:
    run, made = times["run"], times["baseline"]
    yield Row("a monitoring run of 200 photos, CPU seconds", "< 1", f"{run:.2f}", run < 1, "1")
    yield Row("the baseline, CPU seconds", "< 20", f"{made:.1f}", made < 20, "1")


def _details(
    windows: Windows, streams: Streams, accuracies: Accuracies, months: dict[str, Month], world: World
) -> Iterator[str]:
    yield from _weak(windows, streams)
    if streams.onsets:
        away = np.abs(streams.onsets)
        yield f"The onset is off by {np.median(away):.0f} photos in the median, nine times in ten by at most"
        yield f"{np.quantile(away, 0.9):.0f} (n = {len(away)}, changes after 300 unchanged photos)."
    yield from month_lines(months)
    yield from _peers(windows, streams)
    yield ""
    yield "| accuracy, error in points at n = 200 | mean | worst damage |"
    yield "|---|---|---|"
    for method in dict.fromkeys(name for name, _ in accuracies.errors):
        errors = _errors(accuracies, method)
        yield f"| {method} | {np.mean(errors):.1f} | {max(errors):.1f} |"
    yield ""
    held, by_labels = np.mean(accuracies.covered), np.mean(accuracies.covered_by_labels)
    trusted, doubted = (accuracies.by_trust[trust] for trust in (True, False))
    yield f"The 90% interval held the truth in {held:.2f}, with {LABELS} chosen labels in {by_labels:.2f} of windows."
    off = {trust: 100 * float(np.mean(errors)) for trust, errors in accuracies.by_trust.items()}
    yield f"Trusted estimates (n = {len(trusted)}) were off by {off.get(True, 0):.1f} points,"
    yield f"untrusted ones (n = {len(doubted)}) by {off.get(False, 0):.1f}; by more than 10 points"
    far = {trust: sum(error > _FAR for error in errors) for trust, errors in accuracies.by_trust.items()}
    yield f"{far.get(True, 0)} trusted and {far.get(False, 0)} untrusted ones. Under another class mix"
    yield f"the estimate was off by {_off(accuracies, PRIORS):.1f} points, with 10 and 30% of OOD photos"
    yield f"by {_off(accuracies, SHARES):.1f}."
    yield f"The class mix was off by {np.mean(accuracies.mix):.3f}."
    yield f"The mis-trained model is right on {world.seen[MISTRAINED].right.mean():.3f}."


def _peers(windows: Windows, streams: Streams) -> Iterator[str]:
    yield ""
    yield "| peer, mean power at a fair threshold for 5% | " + " | ".join(f"n = {photos}" for photos in SIZES) + " |"
    yield "|---" * (1 + len(SIZES)) + "|"
    ours = " | ".join(f"**{np.mean(list(windows.power(photos, USUAL).values())):.2f}**" for photos in SIZES)
    yield f"| **Scones** | {ours} |"
    for name in SCORES:
        yield f"| {name} | " + " | ".join(f"{windows.power_of(name, photos):.2f}" for photos in SIZES) + " |"
    yield ""
    yield "| peer with its defaults: false alarms of a test | " + " | ".join(f"n = {photos}" for photos in SIZES) + " |"
    yield "|---" * (1 + len(SIZES)) + "|"
    for name in DEFAULTS:
        yield f"| {name} | " + " | ".join(f"{np.mean(windows.defaults[name, photos]):.2f}" for photos in SIZES) + " |"
    adwin = np.concatenate([streams.adwin[cell] for cell in CELLS])
    yield ""
    yield f"river's ADWIN on the certainty, with its defaults: {np.mean(streams.adwin_false):.2f} of clean streams"
    yield f"of 1,000 fire; median delay {np.median(adwin):.0f}, missed within {LONGEST} {(adwin > LONGEST).mean():.2f}."


def _weak(windows: Windows, streams: Streams) -> Iterator[str]:
    yield "Changes that a window test at 5% finds in fewer than 95 of 100 cases:"
    yield ""
    for photos in SIZES:
        weak = {cell: power for cell, power in windows.power(photos, USUAL).items() if power < _WEAK}
        yield f"- n = {photos}: " + (", ".join(f"{cell} {power:.2f}" for cell, power in weak.items()) or "none")
    slow = {cell: np.median(delays) for cell, delays in streams.delays.items() if np.median(delays) > 100}
    yield "- in the stream, median delay over 100 photos: " + ", ".join(f"{c} {d:.0f}" for c, d in slow.items())
    yield ""


if __name__ == "__main__":
    main()
