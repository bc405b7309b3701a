"""The charts show their data, and can be drawn with little of it."""

import itertools
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.demo_run import demo_run
from scones.dispatch.assignment import DispatchPlan
from scones.domain.decision import Outcome
from scones.monitoring.drift.window_test import WindowVerdict
from scones.reports import charts
from scones.reports.evaluation import photo_cards
from scones.reports.theme import CLASSES, UNSURE, PhotoCard

seconds = st.floats(0, 100)


def drawn(svg: str) -> str:
    """The drawing, once it is known to be well-formed."""
    ET.fromstring(svg)  # noqa: S314 - our own drawing
    return svg


def test_the_histogram_counts_right_and_wrong() -> None:
    """The legend holds both counts, and the line its threshold."""
    run = demo_run()
    cards = photo_cards(run.evaluation.predictions, run.staged.classes, [b""] * 200)
    right = sum(card.right for card in cards)
    svg = drawn(charts.confidence_histogram(cards, 0.8, 2))
    assert f"right ({right})" in svg
    assert f"wrong ({200 - right})" in svg
    assert "threshold 80%" in svg


def test_the_timeline_names_only_outcomes_that_occurred() -> None:
    """No legend for failures where nothing failed."""
    svg = drawn(charts.timeline([(0.0, 0.1, Outcome.CLASSIFIED), (0.05, 0.2, Outcome.BELOW_THRESHOLD)]))
    assert "classified" in svg
    assert "failed" not in svg


def test_every_step_shows_its_seconds() -> None:
    """Names and durations are on the chart."""
    svg = drawn(charts.steps({"stage": 1.25, "train": 47.0}))
    for text in ("stage", "train", "47.0 s"):
        assert text in svg


def test_drift_shows_the_window_and_each_feature() -> None:
    """One row for all features, one for each, in words."""
    run = demo_run()
    svg = drawn(charts.drift(run.monitored.verdict, run.shift_monitored.verdict))
    for text in ("all features", "red blue", "alarm threshold"):
        assert text in svg


def test_the_map_names_each_vehicle_in_its_own_colour() -> None:
    """Classes in their order, then the unsure."""
    dispatched = demo_run().dispatched
    svg = drawn(charts.dispatch_map(dispatched.plan, dispatched.couriers, demo_run().staged.classes))
    assert dispatched.plan.unassigned
    for text in ("bicycle", "motorcycle", "unsure", "unassigned", "var(--class-1)", "var(--class-2)", "var(--unsure)"):
        assert text in svg


def test_a_vehicle_has_the_same_style_everywhere() -> None:
    """By its place among the classes; what is none of them is unsure."""
    assert charts.vehicle_style("motorcycle", ("bicycle", "motorcycle"))[0] == CLASSES[1]
    assert charts.vehicle_style("unsure", ("bicycle", "motorcycle")) == (UNSURE, "D")


@pytest.mark.parametrize("cards", [(), (PhotoCard(b"", "n", "a", "a", 1.0),)])
def test_few_cards_still_draw(cards: tuple[PhotoCard, ...]) -> None:
    """None and one are no special case."""
    drawn(charts.confidence_histogram(cards, 0.8, 2))


def test_nothing_to_draw_still_draws() -> None:
    """No executions, no trips and steps of no length give empty axes."""
    drawn(charts.timeline(()))
    drawn(charts.dispatch_map(DispatchPlan((), ()), (), ("a", "b")))
    drawn(charts.steps({"stage": 0.0}))
    few = WindowVerdict(False, False, 3, 0.0, 0.0, ())
    drawn(charts.drift(few, few))


@given(st.lists(st.tuples(seconds, seconds), max_size=40))
def test_executions_in_one_lane_never_overlap(pairs: list[tuple[float, float]]) -> None:
    """A lane is free when its next execution starts, and no more lanes are used than ran at once."""
    spans = sorted((start, start + took, Outcome.CLASSIFIED) for start, took in pairs)
    lanes = charts.pack(spans)
    for lane in set(lanes):
        mine = [span for span, its in zip(spans, lanes, strict=True) if its == lane]
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(mine))
    busiest = max((sum(a[0] <= span[0] < a[1] or a is span for a in spans) for span in spans), default=0)
    assert len(set(lanes)) <= busiest


def test_the_value_chart_names_both_ends_and_each_threshold() -> None:
    """Without a classifier and with perfect knowledge, each with its figure, and one line for each threshold."""
    value = demo_run().business_value
    svg = drawn(charts.on_time_chart(value))
    ends = (f"no classifier {value.blind.on_time.mean:.0%}", f"perfect knowledge {value.perfect.on_time.mean:.0%}")
    for words in (*ends, "no threshold", "threshold 80%", "threshold 95%"):
        assert words in svg


def test_the_value_chart_marks_the_model_at_its_own_threshold_too() -> None:
    """Where the workflow has none of the usual thresholds, there is no line, but a mark with its name."""
    value = demo_run().business_value
    assert "this model, threshold" not in drawn(charts.on_time_chart(value))
    other = replace(value.measured[0], threshold=0.925)
    svg = drawn(charts.on_time_chart(replace(value, measured=(*value.measured, other))))
    assert "this model, threshold 92.5%" in svg
