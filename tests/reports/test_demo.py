"""The report is one honest file."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from reports.conftest import a_report
from scones.domain.decision import Outcome
from scones.evaluation.metrics import evaluate_predictions
from scones.reports.demo import latencies, render_report
from scones.reports.story import DemoReport, Dispatch, DriftCheck, Run

VOID = {"meta", "img", "br", "link", "input"}


class Nesting(HTMLParser):
    """Follows the tags, and keeps those that were closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.identities: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag, unless it needs no closing."""
        self.identities += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that was opened last."""
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)


def test_the_page_stands_alone(page: str) -> None:
    """No script, no font, no address: pictures are data, and the policy forbids the rest."""
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert not re.findall(r"url\((?!#)", page)
    assert "default-src 'none'" in page


def test_the_page_is_well_formed(page: str) -> None:
    """Every tag is closed in order, and no identity appears twice."""
    parser = Nesting()
    parser.feed(page)
    assert parser.open == []
    assert parser.crossed == []
    assert len(set(parser.identities)) == len(parser.identities)


def test_the_same_story_gives_the_same_page(page: str, demo_report: DemoReport) -> None:
    """Nothing is drawn by chance."""
    assert render_report(demo_report) == page


def test_drawings_are_never_passed_off_as_photos(page: str, sample_report: DemoReport) -> None:
    """The rendered sample says so loudly, and only it does."""
    assert "These are drawings, not photos." in render_report(sample_report)
    assert "These are drawings" not in page


HOSTILE = '"><script>alert(1)</script>'
ODD = ('<i>"$x$', "b & c")


@pytest.fixture(scope="module")
def odd_page() -> str:
    """The report of a run with odd names, a failed execution and a false alarm, rendered once."""
    report = a_report()
    names = dict(zip(report.data.classes, ODD, strict=True))
    answers = tuple(replace(a, name=HOSTILE, truth=names[a.truth], label=names[a.label]) for a in report.answers)
    alarmed = replace(report.drift, clean=replace(report.drift.clean, alarm=True))
    return render_report(
        replace(
            report,
            answers=answers,
            evaluation=replace(report.evaluation, classes=ODD),
            data=replace(report.data, classes=ODD, left_out=((HOSTILE, HOSTILE),)),
            runs=(*report.runs, Run(0.0, 0.1, Outcome.FAILED)),
            drift=alarmed,
        )
    )


def test_names_of_files_are_text(odd_page: str) -> None:
    """A photo's name cannot become markup, in the gallery or among those left out."""
    assert "<script" not in odd_page
    assert "&lt;script&gt;" in odd_page


def test_classes_with_any_name_are_shown(odd_page: str) -> None:
    """Dollars, brackets and quotes in a class reach the page as they are."""
    assert "<i>" not in odd_page
    assert "b &amp; c" in odd_page


def drill(page: str) -> str:
    """What the headline says of the drift alarm."""
    return re.search(r'Drift alarm</div>\s*<div class="figure">(\w+)<', page)[1]  # type: ignore[index]


def test_the_drill_is_told_as_it_went(page: str, odd_page: str, demo_report: DemoReport) -> None:
    """A false alarm and a missed one are named where a passed drill would be."""
    missed = replace(demo_report.drift, shifted=replace(demo_report.drift.shifted, alarm=False))
    assert drill(page) == "works"
    assert drill(odd_page) == "false"
    assert drill(render_report(replace(demo_report, drift=missed))) == "missed"


def test_failures_are_not_hidden(odd_page: str) -> None:
    """An execution that failed is in the headline and in its section."""
    assert "1 failed" in odd_page
    assert "1 execution failed for another reason" in odd_page


def test_unverified_prices_are_marked(page: str, demo_report: DemoReport) -> None:
    """The bill says which prices nobody looked up, and from when they are."""
    assert "* price not verified" in page
    assert demo_report.bill.as_of in page


def test_a_run_with_almost_nothing_still_has_a_report(demo_report: DemoReport) -> None:
    """One photo, no executions, too few photos for a verdict, nobody to dispatch."""
    few = DriftCheck(1, False, False, 0.0, 0.0, 1.0, ())
    answer = demo_report.answers[0]
    scores = evaluate_predictions([answer.truth], np.array([[0.9, 0.1]]), demo_report.data.classes, 0.999)
    page = render_report(
        replace(
            demo_report,
            answers=(answer,),
            evaluation=scores,
            runs=(),
            drift=replace(demo_report.drift, clean=few, shifted=few, pairs=()),
            dispatch=Dispatch((), (), (), ()),
            data=replace(demo_report.data, left_out=()),
        )
    )
    assert "too few photos" in page


def test_latencies_are_percentiles_in_milliseconds() -> None:
    """Ten runs of 10 to 100 ms, one after the other."""
    runs = [Run(index, index + 0.01 * (index + 1), Outcome.CLASSIFIED) for index in range(10)]
    found = latencies(runs)
    assert found is not None
    assert found.p50 == pytest.approx(55)
    assert found.p90 == pytest.approx(91)
    assert found.per_second == pytest.approx(10 / 9.1)
    assert latencies([]) is None
