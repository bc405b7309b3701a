"""Windows are summed up in a few kilobytes."""

import json
from dataclasses import replace

import numpy as np

from batches import CLASSES, batch, run_of
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.history import THUMBNAILS, HistoryPoint, from_lines, history_point, to_lines
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate

WINDOW = batch(brightness=-2)
FOUND = run_of(WINDOW)
ESTIMATE = AccuracyEstimate(0.71, 0.64, 0.78, trusted=False, why="label some")


def a_point(day: int = 23, drift_score: float = 3.0) -> HistoryPoint:
    """A window of dark photos."""
    times = tuple(time.replace("-23T", f"-{day:02}T") for time in WINDOW.times)
    return history_point(
        replace(WINDOW, times=times), FOUND.verdict, CLASSES, drift_score=drift_score, accuracy=ESTIMATE
    )


def test_a_point_holds_quartiles_drift_and_a_few_photos() -> None:
    """A few kilobytes."""
    found = a_point()
    low, middle, high = found.quartiles["brightness"]
    assert low < middle < high < 120
    assert found.drift["brightness"] > 1
    assert (found.number, found.photos, found.alarm, len(found.thumbnails)) == (1100, 100, True, THUMBNAILS)
    assert len(to_lines([found])) < 12_000


def test_points_are_read_back_and_damaged_ones_passed_over() -> None:
    """A line of another version, half a line, or a clock that says nothing, spoils no page."""
    good = to_lines([a_point(), a_point(24)])
    late = json.loads(good.splitlines()[0]) | {"time": "yesterday"}
    body = good + b'{"time": 3}\n{"ti' + b"\n" + json.dumps(late).encode()
    assert list(from_lines(body)) == [a_point(), a_point(24)]


def test_a_feature_that_was_not_measured_is_left_out() -> None:
    """A model without an OOD detector has no OOD score."""
    values = WINDOW.features.copy()
    values[:, -1] = np.nan
    found = history_point(replace(WINDOW, features=values), FOUND.verdict, CLASSES, drift_score=0.1)
    assert set(found.quartiles) == set(FEATURES[:-1])


def test_the_history_of_an_earlier_release_is_read_too() -> None:
    """It has the earlier name of the OOD score."""
    body = to_lines([a_point()]).replace(b'"ood_score"', b'"unfamiliarity"')
    assert list(from_lines(body)) == [a_point()]
