"""Four weeks of couriers, orders and reviews in simulated time, with a model that stays and with one that learns."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from benchmarks.loop_world import CLASSES, DIRTY, FIRST, NIGHT, PHONE, Labelled, Model, Numbers, Split, World
from numpy.typing import NDArray

from scones.config.settings import Settings
from scones.data.labels import Purpose
from scones.dispatch.orders import Rules
from scones.dispatch.simulation import BICYCLE, MOTORCYCLE, SHIFTS, UNSURE, City, Day, play
from scones.evaluation.gate import PairedAnswers, check_challenger, check_labels
from scones.monitoring.performance.sampling import plan
from scones.training.features import Features

CITY = City(couriers=40, orders=725)
A_DAY = CITY.couriers * SHIFTS
DAYS, A_WEEK = 28, 7
NAMES = ("1: as trained, nights from day 4", "2: another phone", "3: and a dirty lens", "4: and unknown vehicles")
TO_LABEL = 30
"""Photos a day that the plan asks for, besides those that come to review by themselves."""
MAX_REVIEWS = 60
WRONG, LATE = 0.02, 0.3
"""The share of labels that are wrong, and of those that come a day late."""
FRESH_DAYS = 7
TRAINING_DOLLARS = 0.05
RETRAIN_LABELS, RETRAIN_PER_WEEK = 50, 2
"""The defaults of `retrain_labels` and `retrain_max_per_week`."""
RECOVERED = 0.02


@dataclass
class Week:
    """One week's figures; in the last with the loop, after how many days with another phone accuracy had come back.

    *days_to_recover*: to within two points of that before; *days_to_reach*: of a model that learnt all that may arrive.
    """

    name: str
    loop: bool
    accuracy: float
    on_time: float
    reviews: float
    dollars: float
    promoted: int
    days_to_recover: int | None = None
    days_to_reach: int | None = None
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Arrivals:
    """A day's photos, three of each courier: kind, place and label of each, and whether it shows another vehicle."""

    day: int
    kinds: list[str]
    rows: Numbers
    labels: Numbers
    strange: NDArray[np.bool_]
    features: Features


@dataclass(frozen=True)
class Said:
    """One label: the day, its purpose, the photo and what a person said."""

    day: int
    purpose: Purpose
    photo: tuple[str, int]
    label: int


@dataclass
class Memory:
    """The labels of photos, those a day late, how many trained any model, and what the live one learnt.

    Of each photo the first label counts.
    """

    labels: dict[tuple[str, int], Said] = field(default_factory=dict)
    waiting: list[Said] = field(default_factory=list)
    used: int = 0
    learnt: set[tuple[str, int]] = field(default_factory=set)

    def of(self, purpose: Purpose, since: int = 0) -> list[Said]:
        """The labels for this purpose; a photo that measures never trains, though it comes again."""
        return [said for said in self.labels.values() if said.purpose is purpose and said.day >= since]

    def add(self, said: Said) -> None:
        """Keep a label."""
        self.labels.setdefault(said.photo, said)


def weeks(world: World, seed: int) -> Iterator[Week]:
    """Both worlds see the same photos, couriers and orders."""
    for loop in (False, True):
        yield from _live(world, seed, loop)


def _mix(day: int) -> dict[str, float]:
    """What share of the day's photos is of which kind; the evening's are dark from day 4 on."""
    camera = PHONE if day >= A_WEEK else FIRST
    if day < 3:
        return {camera: 1.0}
    if day < 2 * A_WEEK:
        return {camera: 5 / 6, NIGHT: 1 / 6}
    return {camera: 0.58, NIGHT: 1 / 6, DIRTY: 0.25}


def _arrive(world: World, split: Split, day: int, truth: Numbers, rng: np.random.Generator) -> Arrivals:
    names, shares = zip(*_mix(day).items(), strict=True)
    labels = np.tile(truth, SHIFTS)
    kinds = rng.choice(names, A_DAY, p=np.array(shares) / sum(shares)).tolist()
    rows = np.zeros(A_DAY, np.int64)
    for place, (kind, label) in enumerate(zip(kinds, labels.tolist(), strict=True)):
        some = split.rows(kind, judged=False)
        rows[place] = rng.choice(some[world.kinds[kind].labels[some] == label])
    strange = rng.random(A_DAY) < (0.1 if day >= 3 * A_WEEK else 0)
    others = rng.integers(len(world.strange), size=A_DAY)
    features = np.stack(
        [
            world.strange[others[place]] if strange[place] else world.kinds[kinds[place]].views[0][rows[place]]
            for place in range(A_DAY)
        ]
    )
    return Arrivals(day, kinds, rows, labels, strange, features)


def true_accuracy(world: World, split: Split, model: Model, day: int) -> float:
    """On photos that never arrive, in the day's mix."""
    return float(
        sum(
            share * model.right(world.kinds[kind], split.rows(kind, judged=True)).mean()
            for kind, share in _mix(day).items()
        )
    )


def _live(world: World, seed: int, loop: bool) -> Iterator[Week]:
    settings, rng = Settings(), np.random.default_rng([seed, 7])
    split = Split.of(world, seed)
    base: Labelled = (FIRST, split.train, world.kinds[FIRST].labels[split.train])
    model, memory, retrained = world.train([base], seed), Memory(), [-A_WEEK]
    rules, accuracy = Rules(), []
    before = true_accuracy(world, split, model, 3)
    rows, promoted, cpu = [], 0, 0.0
    for day in range(DAYS):
        town = Day.of(CITY, seed * DAYS + day)
        arrivals = _arrive(world, split, day, town.motorcycle.astype(np.int64), np.random.default_rng([seed, day]))
        believed = _decide(model, arrivals)
        reviews = _review(world, model, (arrivals, believed), memory, rng) if loop else 0
        truth = np.array([BICYCLE, MOTORCYCLE])[arrivals.labels]
        wrong = int(((believed != UNSURE) & ((believed != truth) | arrivals.strange)).sum())
        accuracy.append(true_accuracy(world, split, model, day))
        on_time = play(town, believed.reshape(SHIFTS, CITY.couriers), rules).on_time
        rows.append(
            (accuracy[-1], on_time, reviews, reviews * settings.review_cost + wrong * settings.wrong_route_cost)
        )
        this_week = [when for when in retrained if when > day - A_WEEK]
        if loop and len(memory.of(Purpose.LEARN)) - memory.used >= RETRAIN_LABELS and len(this_week) < RETRAIN_PER_WEEK:
            memory.used = len(memory.of(Purpose.LEARN))
            retrained.append(day)
            parts = _parts(memory)
            challenger = world.train([base, *parts], seed)
            began = time.process_time()
            recent = memory.of(Purpose.MEASURE, day - FRESH_DAYS)
            passed = _gate(world, split, (model, challenger), recent, settings.gate_margin)
            passed &= _labels_agree(challenger, parts, memory.learnt)
            cpu = max(cpu, time.process_time() - began)
            rows[-1] = (*rows[-1][:3], rows[-1][3] + TRAINING_DOLLARS)
            if passed:
                model, promoted = challenger, promoted + 1
                memory.learnt = set(memory.labels)
        if (day + 1) % A_WEEK == 0:
            right, on_time, reviews, dollars = np.mean(rows[-A_WEEK:], axis=0).tolist()
            week = Week(NAMES[day // A_WEEK], loop, right, on_time, reviews, dollars, promoted, cpu_seconds=cpu)
            if loop and day // A_WEEK == DAYS // A_WEEK - 1:
                week.days_to_recover = _days(accuracy, [before] * DAYS)
                week.days_to_reach = _days(accuracy, _reachable(world, split, base, seed))
            promoted = 0
            yield week


def _days(accuracy: Sequence[float], before: Sequence[float]) -> int:
    """After how many days with another phone the accuracy had come back; all if it never did."""
    days = range(A_WEEK, DAYS)
    return next((day - A_WEEK for day in days if accuracy[day] >= before[day] - RECOVERED), DAYS)


def _reachable(world: World, split: Split, base: Labelled, seed: int) -> list[float]:
    """The accuracy, by day, of a model that learnt all photos that may arrive, with their true labels."""
    kinds = {kind: split.rows(kind, judged=False) for kind in (PHONE, NIGHT, DIRTY)}
    model = world.train([base, *((kind, rows, world.kinds[kind].labels[rows]) for kind, rows in kinds.items())], seed)
    return [true_accuracy(world, split, model, day) for day in range(DAYS)]


def _parts(memory: Memory) -> list[Labelled]:
    learnt = memory.of(Purpose.LEARN)
    return [
        (
            kind,
            np.array([said.photo[1] for said in learnt if said.photo[0] == kind]),
            np.array([said.label for said in learnt if said.photo[0] == kind]),
        )
        for kind in dict.fromkeys(said.photo[0] for said in learnt)
    ]


def _decide(model: Model, arrivals: Arrivals) -> Numbers:
    """The dispatcher's belief about each photo's courier."""
    answers = model.ask(arrivals.features)
    sure = answers.probabilities.max(axis=1) >= Settings().threshold
    sure &= answers.unfamiliarity <= model.detector.refused_above
    return np.where(sure, np.array([BICYCLE, MOTORCYCLE])[answers.probabilities.argmax(axis=1)], UNSURE)


def _review(
    world: World, model: Model, seen: tuple[Arrivals, Numbers], memory: Memory, rng: np.random.Generator
) -> int:
    """People answer the unsure photos, whose couriers wait, and then those of the plan; some answers come tomorrow."""
    arrivals, believed = seen
    due, memory.waiting = memory.waiting, []
    for said in due:
        memory.add(said)
    features = arrivals.features[:, world.last].astype(np.float32)
    planned = plan(model.ask(arrivals.features).probabilities, features, TO_LABEL, arrivals.day)
    chosen = {photo.place: photo.purpose for photo in planned}
    unsure = np.flatnonzero(believed == UNSURE).tolist()
    queue = [*unsure, *(place for place in chosen if believed[place] != UNSURE)][:MAX_REVIEWS]
    for place in queue:
        # Photos of other vehicles are labelled as such, and teach neither class.
        if arrivals.strange[place]:
            continue
        label = int(arrivals.labels[place])
        label = 1 - label if rng.random() < WRONG else label
        photo = arrivals.kinds[place], int(arrivals.rows[place])
        said = Said(arrivals.day, chosen.get(place, Purpose.LEARN), photo, label)
        if rng.random() < LATE:
            memory.waiting.append(said)
            continue
        memory.add(said)
        if believed[place] == UNSURE:
            believed[place] = (BICYCLE, MOTORCYCLE)[label]
    return len(queue)


def _labels_agree(challenger: Model, parts: list[Labelled], learnt: set[tuple[str, int]]) -> bool:
    """What the challenger learnt and the live model did not."""
    said = [
        (kind, int(row), CLASSES[label])
        for kind, rows, labels in parts
        for row, label in zip(rows, labels, strict=True)
    ]
    new = [place for place, (kind, row, _) in enumerate(said) if (kind, row) not in learnt]
    table = challenger.out_of_fold[-len(said) :][new]
    return all(check.passed for check in check_labels([said[place][2] for place in new], table, CLASSES))


def _gate(world: World, split: Split, models: tuple[Model, Model], recent: list[Said], margin: float) -> bool:
    """The test set, and the photos that measured the accuracy in the last days."""

    def pairs(items: list[tuple[str, int, int]]) -> PairedAnswers:
        features = np.stack([world.kinds[kind].views[0][row] for kind, row, _ in items])
        old, new = (model.ask(features).probabilities for model in models)
        return PairedAnswers([CLASSES[label] for _, _, label in items], old, new)

    test = pairs([(FIRST, int(row), int(world.kinds[FIRST].labels[row])) for row in split.frozen])
    fresh = pairs([(*said.photo, said.label) for said in recent]) if recent else None
    return all(check.passed for check in check_challenger(test, fresh, CLASSES, must_be_better=False, margin=margin))
