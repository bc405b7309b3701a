"""The chart of orders on time, and its place in the report."""

import xml.etree.ElementTree as ET
from dataclasses import replace

from scones.reports.business_value_chart import on_time_chart
from scones.reports.demo import render_report
from scones.reports.story import DemoReport


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
