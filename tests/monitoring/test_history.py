"""Windows are summed up in a few kilobytes, and drawn over time."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from batches import CLASSES, baseline, batch, run_of
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.history import THUMBNAILS, HistoryPoint, from_lines, history_point, to_lines
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.reports.monitoring import render_history

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


EVIL = "</script><script>alert(1)//"


@pytest.fixture(scope="module")
def odd() -> HistoryPoint:
    """A window without the last feature, whose photos have names from outside."""
    values = WINDOW.features.copy()
    values[:, -1] = np.nan
    found = history_point(replace(WINDOW, features=values), FOUND.verdict, CLASSES, drift_score=0.1)
    return msgspec.structs.replace(
        found, thumbnails=tuple(msgspec.structs.replace(each, prediction=EVIL) for each in found.thumbnails)
    )


@pytest.fixture(scope="module")
def odd_page(odd: HistoryPoint) -> str:
    """The page of that one window."""
    return render_history(EVIL, [odd], baseline(), 0.9)


def test_a_feature_that_was_not_measured_is_left_out(odd: HistoryPoint, odd_page: str) -> None:
    """A model without an OOD detector has no OOD score."""
    assert FEATURES[-1] not in odd.quartiles
    assert f"<b>{FEATURES[-1]}</b>" not in odd_page


def test_the_page_draws_all_features_and_holds_the_photos() -> None:
    """Drift score, accuracy and one chart per feature; it fetches nothing."""
    page = render_history("scones-test", [a_point(24), a_point(23, drift_score=0.5)], baseline(), 0.88)
    assert page.count('<figure class="chart"') == 2 + len(FEATURES)
    assert page.count("data:image/jpeg") == 2 * THUMBNAILS
    assert "1 window above the threshold" in page
    assert "from 2026-11-23 03:01 UTC to 2026-11-24 03:01 UTC" in page
    for outside in ('src="http', 'href="http', "url(http", "@import", "fetch("):
        assert outside not in page


def test_few_points_are_a_page_too(odd_page: str) -> None:
    """Of nothing and of one window."""
    assert "</html>" in render_history("scones-test", [], baseline(), 0.88)
    assert "</html>" in odd_page


def test_names_from_outside_are_text_on_the_page(odd_page: str) -> None:
    """Also within the data that its script reads."""
    assert "<script>alert" not in odd_page


def test_the_history_of_an_earlier_release_is_drawn_too() -> None:
    """It has the earlier name of the OOD score."""
    body = to_lines([a_point()]).replace(b'"ood_score"', b'"unfamiliarity"')
    assert list(from_lines(body)) == [a_point()]
