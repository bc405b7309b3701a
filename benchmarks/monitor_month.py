"""Measures a month of days and nights: false alarms with and without days in the baseline, and what is still found."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from benchmarks.monitor_world import LIGHT_LEFT, Floats, Pixels, Quick, Seen, damage, lights
from numpy.typing import NDArray

from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.stream_detector import StreamDetector
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.drift.window_test import FalseAlarmBudget, calibrate_windows, window_test

DAYS, CLEAN_DAYS, A_DAY, CHANGED_DAYS = 30, 14, 1000, 20
BY_WINDOWS = (40, 500)
"""An hour's photos, and the most that are judged together."""
CHANGES = ("blur 0.8", "brightness -40")
_HOURS = 24


@dataclass(frozen=True)
class Month:
    """False alarms within the month, of a baseline of days and of photos assumed independent; and how soon it finds.

    *windows* are checks of so many photos one after the other: by size, with days and without.
    """

    by_days: int
    independent: int
    windows: dict[int, tuple[int, int]]
    delays: dict[str, list[int]]


def measure_month(lights: list[Seen], changed: dict[str, list[Seen]], seed: int) -> Month:
    """StreamDetector 30 days of 1,000 photos, dark at night; *lights* has the photos from the darkest to daylight.

    Each alarm is acknowledged at once, so that the next can fire. Clean traffic and the month show the same photos:
    with some hundred of each they would differ as no month of thousands of new photos does. *changed* has the same
    photos after a change, with which other days begin.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(len(lights[0].features))
    clean = np.concatenate([_day(lights, rows, rng) for _ in range(CLEAN_DAYS)])
    days = [_day(lights, rows, rng) for _ in range(DAYS)]
    rate = FalseAlarmBudget().of_stream()
    blocks = np.arange(len(clean)) // A_DAY
    by_days, alike = (
        StreamDetector.of(clean, calibrate_stream(clean, groups, seed=seed).threshold(rate))
        for groups in (blocks, None)
    )
    windows = {
        photos: (_windows(Baseline(clean, days=blocks), days, photos), _windows(Baseline(clean[::7]), days, photos))
        for photos in BY_WINDOWS
    }
    delays = {
        name: [_count_alarms(by_days, _day(other, rows, rng)) for _ in range(CHANGED_DAYS)]
        for name, other in changed.items()
    }
    return Month(_count(by_days, days), _count(alike, days), windows, delays)


def _day(lights: list[Seen], rows: NDArray[np.intp], rng: np.random.Generator) -> Floats:
    """One day in order: the light follows the hour, a little different every day, with fewer photos at night."""
    hours = np.sort(rng.choice(_HOURS, A_DAY, p=_busy()))
    sun = np.clip(np.sin((hours - 6) / _HOURS * 2 * np.pi) * 0.5 + 0.5 + rng.normal(0, 0.05), 0, 1)
    light = np.round(sun * (len(lights) - 1)).astype(int)
    photos = rng.choice(rows, A_DAY)
    return np.stack([lights[place].features[photo] for place, photo in zip(light, photos, strict=True)])


def _busy() -> Floats:
    hours = np.arange(_HOURS)
    busy = 0.3 + np.exp(-(((hours - 13) / 6) ** 2))
    return np.asarray(busy / busy.sum())


def _count(detector: StreamDetector, days: list[Floats]) -> int:
    state, fired = detector.initial_state(), 0
    for day in days:
        state = detector.update(state, day)
        if state.alarm is not None:
            fired, state = fired + 1, detector.acknowledge(state)
    return fired


def _count_alarms(detector: StreamDetector, day: Floats) -> int:
    """The photo at which the day fired; one more than there are if it did not."""
    alarm = detector.update(detector.initial_state(), day).alarm
    return len(day) + 1 if alarm is None else alarm.photo


def _windows(baseline: Baseline, days: list[Floats], photos: int) -> int:
    """The alarms of checks of so many *photos*, one after the other through all days."""
    rate, month = FalseAlarmBudget().of_window(photos), np.concatenate(days)
    calibration = calibrate_windows(baseline, photos, rate)
    windows = [month[start : start + photos] for start in range(0, len(month), photos)]
    return sum(window_test(baseline, each, false_alarm_rate=rate, calibration=calibration).alarm for each in windows)


def measure_months(model: Quick, photos: Pixels, labels: NDArray[np.int64], seed: int) -> dict[str, Month]:
    """Months of dark nights and of moderate ones, by name."""
    lit = lights(model, photos, labels)
    changed = {cell: lights(model, damage(photos, cell), labels) for cell in CHANGES}
    found = {}
    for darkest in (0, 2):
        other = {cell: seen[darkest:] for cell, seen in changed.items()}
        found[f"{LIGHT_LEFT[darkest]:.0%} of the light"] = measure_month(lit[darkest:], other, seed)
    return found


def month_lines(months: dict[str, Month]) -> Iterator[str]:
    """Say how often it fired, and how soon a change is found, as a table."""
    yield ""
    yield f"Days and nights, {DAYS} days of 1,000 photos at the default budget, which allows for 1.5 false alarms of"
    yield f"the stream detector and 1.5 of the windows; baselines of {CLEAN_DAYS} days. A change lasts a day; photos"
    yield f"until it is found are counted from midnight (n = {CHANGED_DAYS})."
    yield ""
    sizes = "".join(f" windows of {photos} |" for photos in BY_WINDOWS)
    yield f"| nights, baseline | stream |{sizes}" + "".join(f" {cell}: median photos, missed |" for cell in CHANGES)
    yield "|---" * (2 + len(BY_WINDOWS) + len(CHANGES)) + "|"
    for name, month in months.items():
        for place, kind in enumerate(("with days", "photos assumed independent")):
            counts = "".join(f" {month.windows[photos][place]} |" for photos in BY_WINDOWS)
            delays = [np.array(month.delays[cell]) for cell in CHANGES]
            found = [f" {np.median(each):.0f}, {(each > A_DAY).mean():.2f} |" for each in delays]
            stream = (month.by_days, month.independent)[place]
            yield f"| {name}, {kind} | {stream} |{counts}" + "".join(found if place == 0 else " |" * len(CHANGES))
