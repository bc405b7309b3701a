"""Measures what is not a detector: accuracy without labels, class mix, replay, and time."""

import time
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from benchmarks.monitor_measures import split
from benchmarks.monitor_world import (
    CELLS,
    CLEAN,
    DAMAGES,
    FAMILIES,
    MISTRAINED,
    OTHERS,
    PRIORS,
    SWAPPED,
    Pixels,
    Seen,
    Window,
    World,
)
from numpy.typing import NDArray

from scones.monitoring.alerts.cause import estimate_mix
from scones.monitoring.drift.baseline import Baseline, LabelledPhotos, SimulatedDamage
from scones.monitoring.drift.features import measure_features
from scones.monitoring.drift.stream_detector import StreamDetector
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.drift.window_test import FalseAlarmBudget, window_test
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimator
from scones.monitoring.performance.labels import choose_photos, corrected_accuracy, labelled_accuracy
from scones.monitoring.performance.registered_model import check_predictions
from scones.training.calibration import fit_temperature, soften

WINDOW, LABELS, DAMAGED = 200, 30, 170
SAME_KIND = {"brightness": ("brighter", "darker")}
# Rounding in int8 moved probabilities by this at most, when both were compared.
_NUMERICS = 0.06


@dataclass
class Accuracies:
    """Errors in accuracy by method and cell; whether the interval held the truth, and was trusted, by cell."""

    errors: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    covered: list[bool] = field(default_factory=list)
    covered_by_labels: list[bool] = field(default_factory=list)
    by_trust: dict[bool, list[float]] = field(default_factory=lambda: defaultdict(list))
    mix: list[float] = field(default_factory=list)


def measure_accuracy(world: World, splits: int, seed: int) -> Accuracies:
    """Estimate each cell's accuracy with its own family left out of what was simulated."""
    found, rng = Accuracies(), np.random.default_rng(seed)
    for number in range(splits):
        reference, stream = split(world, rng)
        for family in (*FAMILIES, ""):
            left_out = SAME_KIND.get(family, (family,))
            names = [name for name in world.simulated if name.split()[0] not in left_out]
            draws = {name: rng.choice(reference, DAMAGED, replace=False) for name in names}
            damaged = {name: _judge(world.simulated[name], rows) for name, rows in draws.items()}
            estimator = AccuracyEstimator.fit(SimulatedDamage(_judge(world.seen[CLEAN], reference), damaged), number)
            own = [cell for cell in DAMAGES if cell.split()[0] == family]
            for cell in own or [CLEAN, *PRIORS, *(c for c in CELLS if c.startswith("OOD") and c != OTHERS)]:
                _estimate(found, cell, estimator, world.window(cell, stream, WINDOW, rng), rng)
        _mix(found, world, reference, stream, rng)
    return found


def _judge(seen: Seen, rows: NDArray[np.intp]) -> LabelledPhotos:
    return LabelledPhotos(seen.features[rows], seen.probabilities[rows], seen.right[rows])


def _estimate(
    found: Accuracies, cell: str, estimator: AccuracyEstimator, window: Window, rng: np.random.Generator
) -> None:
    probabilities, right = window.probabilities(), window.right()
    confidence, truth = probabilities.max(axis=1), float(right.mean())
    estimate = estimator.estimate(window.features(), probabilities)
    choice = choose_photos(confidence, LABELS, int(rng.integers(1 << 30)))
    corrected = corrected_accuracy(confidence, choice, right[choice.photos])
    some = labelled_accuracy(right[rng.choice(WINDOW, LABELS, replace=False)])
    for name, value in (
        ("estimated, no labels", estimate.accuracy),
        ("mean confidence", float(confidence.mean())),
        ("the baseline's accuracy", estimator.clean),
        (f"{LABELS} labels at random, alone", some.accuracy),
        (f"{LABELS} chosen labels, prediction-powered", corrected.accuracy),
    ):
        found.errors[name, cell].append(abs(value - truth))
    if cell in (CLEAN, *DAMAGES):
        found.covered.append(estimate.low <= truth <= estimate.high)
        found.covered_by_labels.append(corrected.low <= truth <= corrected.high)
        found.by_trust[estimate.trusted].append(abs(estimate.accuracy - truth))


def _mix(
    found: Accuracies, world: World, reference: NDArray[np.intp], stream: NDArray[np.intp], rng: np.random.Generator
) -> None:
    logs = np.log(np.maximum(world.seen[CLEAN].probabilities, 1e-12))
    temperature = fit_temperature(logs[reference], world.labels[reference])
    prior = np.bincount(world.labels[reference], minlength=2) / len(reference)
    for cell in (CLEAN, *PRIORS):
        rows = world.window(cell, stream, WINDOW, rng).rows
        estimated = estimate_mix(soften(logs[rows], temperature), prior.tolist())
        found.mix.append(abs(estimated[0] - float((world.labels[rows] == 0).mean())))


def measure_replay(world: World, streams: int, seed: int) -> dict[str, list[int | None]]:
    """Count the photos until another model is certain; None is never. The same model differs by int8's numerics."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[int | None]] = defaultdict(list)
    expected = world.seen[CLEAN].probabilities
    for _ in range(streams):
        rows = rng.permutation(len(expected))[:WINDOW]
        for cell in (MISTRAINED, SWAPPED):
            found[cell].append(check_predictions(world.seen[cell].probabilities[rows], expected[rows]).found_after)
        shaken = expected[rows] + rng.uniform(-_NUMERICS, _NUMERICS, (WINDOW, 1)) * np.array([1, -1])
        found["the same model, in int8"].append(check_predictions(shaken, expected[rows]).found_after)
    return found


def measure_times(world: World, photos: Pixels) -> dict[str, float]:
    """Processor seconds: for a monitoring run of 200 photos, and for making the baseline."""
    seen = world.seen[CLEAN]
    started = time.process_time()
    line = calibrate_stream(seen.features).threshold(FalseAlarmBudget().of_stream())
    damaged = {name: _judge(other, np.arange(DAMAGED)) for name, other in world.simulated.items()}
    detector = StreamDetector.of(seen.features, line)
    estimator = AccuracyEstimator.fit(SimulatedDamage(_judge(seen, np.arange(len(seen.right))), damaged))
    made = time.process_time()
    values = measure_features(photos[:WINDOW], seen.probabilities[:WINDOW], seen.features[:WINDOW, -1])
    detector.update(detector.initial_state(), values)
    window_test(Baseline(seen.features), values, false_alarm_rate=FalseAlarmBudget().of_window(WINDOW))
    estimator.estimate(values, seen.probabilities[:WINDOW])
    return {"baseline": made - started, "run": time.process_time() - made}
