"""Measures what the loop is worth: labels chosen and drawn, the gate, and four weeks of traffic with it and without.

Everything is computed by the product's own functions, in simulated time, on real photos. What decides (the sampling
plan, the gate and its margin, the settings) was fixed before, on other divisions of the same photos.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.loop_charts import draw
from benchmarks.loop_weeks import DAYS, Week, weeks
from benchmarks.loop_world import CLASSES, FIRST, PHONE, SOFT, Labelled, Model, Numbers, Rows, Split, World, load
from threadpoolctl import threadpool_limits

from scones.config.settings import Settings
from scones.evaluation.comparison import photos_needed
from scones.evaluation.gate import GateCheck, PairedAnswers, check_challenger, check_labels
from scones.monitoring.performance.sampling import informative

PAGE = Path(__file__).parents[1] / "docs" / "loop.md"
BEGIN, END = "<!-- figures: written by make bench-loop -->", "<!-- end of figures -->"
CACHE = Path("~/.cache/scones/bench-loop")
COUNTS = (12, 24, 36, 60)
LABELS = 60
WORSE = 0.01
_OFFSET = 100
"""Seeds of the figures: the choices were made with lower ones."""

Curve = Mapping[int, list[float]]


@dataclass(frozen=True)
class Regained:
    """The accuracy on new photos before the change, after it, and with so many labels chosen and drawn, by seed."""

    change: str
    before: list[float]
    after: list[float]
    everything: list[float]
    """With all photos that arrived labelled: more than that cannot be regained."""
    chosen: Curve
    drawn: Curve

    @classmethod
    def join(cls, parts: "Sequence[Regained]") -> "Regained":
        """The seeds of several measurements of one change."""
        before, after, everything = (
            [value for part in parts for value in getattr(part, name)] for name in ("before", "after", "everything")
        )
        chosen, drawn = (
            {count: [value for part in parts for value in getattr(part, name)[count]] for count in COUNTS}
            for name in ("chosen", "drawn")
        )
        return cls(parts[0].change, before, after, everything, chosen, drawn)

    def share(self, curve: Curve, count: int) -> list[float]:
        """How much of the lost accuracy so many labels regain."""
        each = zip(self.before, self.after, curve[count], strict=True)
        return [(now - after) / (before - after) for before, after, now in each]

    def of_all(self, curve: Curve, count: int) -> float:
        """How much of what all labels regain so many regain, in the mean."""
        after = np.mean(self.after)
        return float((np.mean(curve[count]) - after) / (np.mean(self.everything) - after))

    def needed(self) -> float:
        """How many chosen labels are as good as LABELS drawn ones, between the counts by straight lines."""
        target = np.mean(self.drawn[LABELS])
        counts = [0, *COUNTS]
        means = np.maximum.accumulate([float(np.mean(self.after)), *(float(np.mean(self.chosen[n])) for n in COUNTS)])
        return float(np.interp(target, means, counts)) if means[-1] >= target else float("inf")


def regain(world: World, change: str, seeds: Sequence[int]) -> Regained:
    """Train on the first camera's photos and so many of the changed ones, chosen by the plan or drawn at random."""
    found = Regained(change, [], [], [], {n: [] for n in COUNTS}, {n: [] for n in COUNTS})
    for seed in seeds:
        split = Split.of(world, seed)
        base = first_photos(world, split)
        champion = world.train([base], seed)
        photos, judged = world.kinds[change], split.rows(change, judged=True)
        found.before.append(float(champion.right(world.kinds[FIRST], split.judged).mean()))
        found.after.append(float(champion.right(photos, judged).mean()))
        arrived = split.rows(change, judged=False)
        model = world.train([base, (change, arrived, photos.labels[arrived])], seed)
        found.everything.append(float(model.right(photos, judged).mean()))
        for count in COUNTS:
            for curve, rows in (
                (found.chosen, choose(world, champion, (change, arrived), count, seed)),
                (found.drawn, np.random.default_rng(seed).permutation(arrived)[:count]),
            ):
                model = world.train([base, (change, rows, photos.labels[rows])], seed)
                curve[count].append(float(model.right(photos, judged).mean()))
    return found


def first_photos(world: World, split: Split) -> Labelled:
    """What the first model is trained on."""
    return FIRST, split.train, world.kinds[FIRST].labels[split.train]


def choose(world: World, model: Model, pool: tuple[str, Rows], count: int, seed: int) -> Rows:
    """The photos from which the next model learns most, by the plan."""
    kind, rows = pool
    features = world.kinds[kind].views[0][rows]
    probabilities = model.ask(features).probabilities
    last = features[:, world.last].astype(np.float32)
    return rows[informative(probabilities, last, count, np.random.default_rng(seed))]


@dataclass(frozen=True)
class Verdict:
    """One challenger: how much better it truly is on today's photos, if the gate passed it, and what it would need."""

    kind: str
    lead: float
    checks: tuple[GateCheck, ...]
    needed: int | None

    @property
    def promoted(self) -> bool:
        """Whether it passed."""
        return all(check.passed for check in self.checks)


def flip(labels: Numbers, share: float, rng: np.random.Generator) -> Numbers:
    """Change this share of the labels to the other class."""
    return np.where(rng.random(len(labels)) < share, 1 - labels, labels)


def judge(world: World, seed: int, margin: float) -> Iterator[Verdict]:
    """Challengers after the camera changed, trained on good labels, poisoned ones, and by bad luck."""
    split, rng = Split.of(world, seed), np.random.default_rng(seed)
    base, phone = first_photos(world, split), world.kinds[PHONE]
    champion = world.train([base], seed)
    pool = rng.permutation(split.phone_traffic)
    fresh, rest = pool[:LABELS], pool[LABELS:]
    learnt = choose(world, champion, (PHONE, rest), LABELS, seed)
    truth = phone.labels[learnt]
    some = rng.permutation(split.traffic)[:30]
    clean = world.kinds[FIRST].labels[some]
    trials: list[tuple[str, Labelled, bool, float]] = [
        ("good labels", (PHONE, learnt, flip(truth, 0.02, rng)), True, 0.02),
        ("good labels, no drift reported", (PHONE, learnt, flip(truth, 0.02, rng)), False, 0.02),
        ("30% flipped", (PHONE, learnt, flip(truth, 0.3, rng)), True, 0.02),
        ("30% flipped, also those that measure", (PHONE, learnt, flip(truth, 0.3, rng)), True, 0.3),
        ("60% flipped", (PHONE, learnt, flip(truth, 0.6, rng)), False, 0.02),
        ("all of one class", (PHONE, learnt, np.zeros_like(truth)), True, 0.02),
        ("unlucky: 30 labels, 20% wrong", (FIRST, some, flip(clean, 0.2, rng)), False, 0.02),
    ]
    for kind, batch, drift, wrong in trials:
        challenger = world.train([base, batch], seed)
        test = paired(world, (champion, challenger), FIRST, split.frozen, world.kinds[FIRST].labels[split.frozen])
        recent = paired(world, (champion, challenger), PHONE, fresh, flip(phone.labels[fresh], wrong, rng))
        said = [CLASSES[number] for number in batch[2]]
        checks = (
            *check_challenger(test, recent, CLASSES, must_be_better=drift, margin=margin),
            *check_labels(said, challenger.out_of_fold[-len(said) :], CLASSES),
        )
        old, new = (
            np.mean([model.right(world.kinds[each], split.rows(each, judged=True)).mean() for each in (FIRST, PHONE)])
            for model in (champion, challenger)
        )
        yield Verdict(kind, float(new - old), checks, needed(test, margin))


def paired(world: World, models: tuple[Model, Model], kind: str, rows: Rows, labels: Numbers) -> PairedAnswers:
    """Both models' answers to the same photos."""
    champion, challenger = (model.ask(world.kinds[kind].views[0][rows]).probabilities for model in models)
    return PairedAnswers([CLASSES[number] for number in labels], champion, challenger)


def needed(test: PairedAnswers, margin: float) -> int | None:
    """With how many test photos the margin's check would pass."""
    old, new = test.right(CLASSES)
    return photos_needed(int((new & ~old).sum()), int((old & ~new).sum()), len(old), margin)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and standard deviation in percent."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{100 * np.mean(values):.{digits}f}% ± {100 * deviation:.{digits}f}"


def regain_lines(results: Sequence[Regained]) -> Iterator[str]:
    """The table of labels and accuracy."""
    yield "| change | before | after | labels | accuracy, chosen | regained | accuracy, drawn at random | regained |"
    yield "|---|---|---|---|---|---|---|---|"
    for found in results:
        for count in COUNTS:
            yield (
                f"| {found.change} | {spread(found.before)} | {spread(found.after)} | {count} "
                f"| {spread(found.chosen[count])} | {np.mean(found.share(found.chosen, count)):.0%} "
                f"| {spread(found.drawn[count])} | {np.mean(found.share(found.drawn, count)):.0%} |"
            )
    yield ""
    for found in results:
        needed = f"{found.needed():.0f}" if np.isfinite(found.needed()) else f"more than {LABELS}"
        yield (
            f"{found.change[0].upper()}{found.change[1:]}: {needed} chosen labels are as good as {LABELS} "
            f"drawn ones; with all photos labelled, accuracy is {spread(found.everything)}."
        )


def gate_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """The table of challengers, by how they were made."""
    yield "| challenger | n | truly worse by a point | of them promoted | truly better by a point | of them refused |"
    yield "|---|---|---|---|---|---|"
    for kind in dict.fromkeys(verdict.kind for verdict in verdicts):
        yield _gate_row(kind, [verdict for verdict in verdicts if verdict.kind == kind])
    yield _gate_row("all", verdicts)
    refused = [verdict for verdict in verdicts if verdict.lead > WORSE and not verdict.promoted]
    reasons: dict[str, int] = {}
    for verdict in refused:
        for check in verdict.checks:
            if not check.passed:
                reasons[check.setting] = reasons.get(check.setting, 0) + 1
    yield ""
    counted = ", ".join(f"{name} {count}" for name, count in sorted(reasons.items())) or "none"
    yield f"Better models were refused by these checks (one may fail several): {counted}."
    missing = [verdict.needed for verdict in refused if verdict.needed]
    if missing:
        yield f"For these, `gate_margin` alone needs {int(np.median(missing))} test photos (median); there are 250."


def _gate_row(kind: str, verdicts: Sequence[Verdict]) -> str:
    worse = [verdict for verdict in verdicts if verdict.lead < -WORSE]
    better = [verdict for verdict in verdicts if verdict.lead > WORSE]
    promoted, refused = sum(each.promoted for each in worse), sum(not each.promoted for each in better)
    return f"| {kind} | {len(verdicts)} | {len(worse)} | {promoted} | {len(better)} | {refused} |"


def week_lines(found: Sequence[Week]) -> Iterator[str]:
    """The table of weeks, with the loop and without."""
    yield "| week | loop | accuracy | orders on time | reviews a day | dollars a day | models promoted |"
    yield "|---|---|---|---|---|---|---|"
    for name in dict.fromkeys(week.name for week in found):
        for loop in (False, True):
            some = [week for week in found if week.name == name and week.loop == loop]
            dollars = [week.dollars for week in some]
            yield (
                f"| {name} | {'with' if loop else 'without'} | {spread([week.accuracy for week in some])} "
                f"| {spread([week.on_time for week in some])} | {np.mean([week.reviews for week in some]):.0f} "
                f"| {np.mean(dollars):.0f} ± {np.std(dollars, ddof=1):.0f} "
                f"| {np.mean([week.promoted for week in some]):.1f} |"
            )


_WORLD: list[World] = []


def _load(folder: Path) -> None:
    _WORLD[:] = [load(folder, CACHE.expanduser())]


def _regain(change: str, seed: int) -> Regained:
    with threadpool_limits(1):
        return regain(_WORLD[0], change, [seed])


def _judge(seed: int) -> list[Verdict]:
    with threadpool_limits(1):
        return list(judge(_WORLD[0], seed, Settings().gate_margin))


def _weeks(seed: int) -> list[Week]:
    with threadpool_limits(1):
        return list(weeks(_WORLD[0], seed))


def measure(folder: Path, seeds: int, gate_seeds: int, week_seeds: int) -> tuple[list[str], list[Regained], list[Week]]:
    """Everything, as lines of Markdown."""
    _load(folder)
    some, more, few = (range(_OFFSET, _OFFSET + count) for count in (seeds, gate_seeds, week_seeds))
    # Two processes, which share the features by fork.
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        parts = {change: [pool.submit(_regain, change, seed) for seed in some] for change in (PHONE, SOFT)}
        judged = [pool.submit(_judge, seed) for seed in more]
        lives = [pool.submit(_weeks, seed) for seed in few]
        regained = [Regained.join([each.result() for each in found]) for found in parts.values()]
        verdicts = [verdict for each in judged for verdict in each.result()]
        lived = [week for each in lives for week in each.result()]
    delays, reached = (
        sorted(days for week in lived if week.loop and (days := getattr(week, name)) is not None)
        for name in ("days_to_recover", "days_to_reach")
    )
    phone, worse = regained[0], [verdict for verdict in verdicts if verdict.lead < -WORSE]
    cpu = [week.cpu_seconds for week in lived if week.loop]
    better = [verdict for verdict in verdicts if verdict.lead > WORSE]
    chosen, drawn = (np.mean(phone.share(curve, LABELS)) for curve in (phone.chosen, phone.drawn))
    most = [phone.of_all(curve, LABELS) for curve in (phone.chosen, phone.drawn)]
    lines = [
        f"{seeds} seeds for labels, {gate_seeds} for the gate, {week_seeds} for weeks; ± is their deviation.",
        "",
        "| | target | measured |",
        "|---|---|---|",
        f"| lost accuracy regained with {LABELS} labels, chosen / drawn | 80% / - | {chosen:.0%} / {drawn:.0%} |",
        f"| the same, of what all that arrived regain, labelled | - | {most[0]:.0%} / {most[1]:.0%} |",
        f"| labels chosen for the accuracy of {LABELS} drawn ones | at most 60% | {phone.needed() / LABELS:.0%} |",
        f"| days to within 2 points of before: median, each ({DAYS}: never) | 3 | {np.median(delays):.0f} {delays} |",
        f"| the same, of a model that learnt all photos that may arrive | - | {np.median(reached):.0f} {reached} |",
        f"| worse models promoted, of {len(worse)} | 0 | {sum(each.promoted for each in worse)} |",
        f"| better models refused, of {len(better)} | - | {sum(not each.promoted for each in better)} |",
        f"| the gate's own CPU seconds in a cycle | 20 | {np.max(cpu):.1f} |",
        "",
        *regain_lines(regained),
        "",
        *gate_lines(verdicts),
        "",
        *week_lines(lived),
    ]
    return lines, regained, lived


def main() -> None:
    """Print the tables, or write them and the charts into the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--photos", type=Path, default=os.environ.get("SCONES_PHOTOS", "photos"), help="holds the three folders"
    )
    parser.add_argument("--seeds", type=int, default=8, help="divisions of the photos, to count labels")
    parser.add_argument("--gate-seeds", type=int, default=20, help="divisions of the photos, to judge challengers")
    parser.add_argument("--week-seeds", type=int, default=4, help="cities, for four weeks each")
    parser.add_argument("--write", action="store_true", help="write docs/loop.md and its charts")
    arguments = parser.parse_args()
    began = time.monotonic()
    lines, regained, lived = measure(arguments.photos, arguments.seeds, arguments.gate_seeds, arguments.week_seeds)
    text = "\n".join([BEGIN, "", *lines, "", END])
    print(text)
    print(f"{time.monotonic() - began:.0f} seconds", file=sys.stderr)
    if arguments.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + text + rest.partition(END)[2])
        draw(PAGE.parent, regained, lived)


if __name__ == "__main__":
    main()
