"""Charts draw what they are given, and do not break on little."""

import itertools
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.domain.decision import Outcome
from scones.reports import charts
from scones.reports.charts import on_time_chart
from scones.reports.demo import render_report
from scones.reports.gallery import PhotoCard
from scones.reports.story import DemoReport, Dispatch, DriftCheck, Run
from scones.reports.theme import CLASSES, UNSURE

seconds = st.floats(0, 100)


def drawn(svg: str) -> str:
    """The drawing, once it is known to be well-formed."""
    ET.fromstring(svg)  # noqa: S314 - our own drawing
    return svg


def test_the_histogram_counts_right_and_wrong(demo_report: DemoReport) -> None:
    """The legend holds both counts, and the line its threshold."""
    right = sum(answer.right for answer in demo_report.answers)
    svg = drawn(charts.confidence_histogram(demo_report.answers, 0.8, 2))
    assert f"right ({right})" in svg
    assert f"wrong ({200 - right})" in svg
    assert "threshold 80%" in svg


def test_the_timeline_names_only_outcomes_that_were(demo_report: DemoReport) -> None:
    """No legend for failures where nothing failed."""
    svg = drawn(charts.timeline(demo_report.runs))
    assert "classified" in svg
    assert "failed" not in svg


def test_every_step_shows_its_seconds() -> None:
    """Names and durations are on the chart."""
    svg = drawn(charts.steps({"stage": 1.25, "train": 47.0}))
    for text in ("stage", "train", "47.0 s"):
        assert text in svg


def test_drift_shows_the_batch_and_each_channel(demo_report: DemoReport) -> None:
    """One row for the whole batch, one for each channel, in words."""
    svg = drawn(charts.drift(demo_report.drift.clean, demo_report.drift.shifted))
    for text in ("whole batch", "red blue", "alarm line"):
        assert text in svg


def test_the_map_names_each_vehicle_in_its_own_colour(demo_report: DemoReport) -> None:
    """Classes in their order, then the unsure."""
    svg = drawn(charts.dispatch_map(demo_report.dispatch, demo_report.data.classes))
    for text in ("bicycle", "motorcycle", "unsure", "stays", "var(--class-1)", "var(--class-2)", "var(--unsure)"):
        assert text in svg


def test_a_vehicle_has_the_same_style_everywhere() -> None:
    """By its place among the classes; what is none of them is unsure."""
    assert charts.vehicle_style("motorcycle", ("bicycle", "motorcycle"))[0] == CLASSES[1]
    assert charts.vehicle_style("unsure", ("bicycle", "motorcycle")) == (UNSURE, "D")


@pytest.mark.parametrize("answers", [(), (PhotoCard(b"", "n", "a", "a", 1.0),)])
def test_few_answers_still_draw(answers: tuple[PhotoCard, ...]) -> None:
    """None and one are no special case."""
    drawn(charts.confidence_histogram(answers, 0.8, 2))


def test_nothing_to_draw_still_draws() -> None:
    """No runs, no trips and steps of no length give empty axes."""
    drawn(charts.timeline(()))
    drawn(charts.dispatch_map(Dispatch((), (), (), ()), ("a", "b")))
    drawn(charts.steps({"stage": 0.0}))
    few = DriftCheck(3, False, False, 0.0, 0.0, 1.0, ())
    drawn(charts.drift(few, few))


@given(st.lists(st.tuples(seconds, seconds), max_size=40))
def test_runs_in_one_lane_never_overlap(pairs: list[tuple[float, float]]) -> None:
    """The packing is honest: a lane is free when its next run starts, and no more lanes are used than ran at once."""
    runs = sorted((Run(start, start + took, Outcome.CLASSIFIED) for start, took in pairs), key=lambda run: run.started)
    lanes = charts.pack(runs)
    for lane in set(lanes):
        mine = [run for run, its in zip(runs, lanes, strict=True) if its == lane]
        assert all(one.stopped <= other.started for one, other in itertools.pairwise(mine))
    busiest = max((sum(r.started <= run.started < r.stopped or r is run for r in runs) for run in runs), default=0)
    assert len(set(lanes)) <= busiest


def test_the_chart_names_both_ends_and_each_threshold(demo_report: DemoReport) -> None:
    """Blindness and perfect knowledge with their figures, and one line a threshold."""
    svg = on_time_chart(demo_report.city)
    ET.fromstring(svg)  # noqa: S314 - our own drawing
    for words in ("no classifier 81%", "perfect knowledge 96%", "always trusted", "from 80%", "from 95%"):
        assert words in svg


def test_the_report_tells_a_manager_what_the_model_brings(page: str) -> None:
    """The share on time with this model, without any photo and with perfect knowledge, and who looks at the unsure."""
    page = " ".join(page.split())
    assert "With this model, trusted at 80%, 94.2% of the orders are on time; without any photo 81.0%" in page
    assert "perfect knowledge 96.0%" in page
    assert "12.0% of unsure couriers" in page


def test_other_people_s_classes_leave_the_imagined_classifiers(demo_report: DemoReport) -> None:
    """Without a bicycle and a motorcycle among the classes there is no line for the model."""
    page = render_report(replace(demo_report, city=replace(demo_report.city, measured=(), reviewed=None)))
    assert "this model" not in page
    assert "What is the classifier worth?" in page
