"""The demo's report is one self-contained page with the results of the steps."""

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

from cli.demo_run import demo_page, demo_run, page, verdict, with_verdicts
from evaluation.small_model import PLAN, facts, photos, small_model
from scones.cli.demo_report import latencies
from scones.data.dataset import ExcludedFile
from scones.dispatch.assignment import DispatchPlan
from scones.domain.decision import Outcome
from scones.evaluation.evaluation import evaluate_model
from scones.monitoring.drift.window_test import WindowVerdict
from scones.steps.classify import ClassifyResult

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


def test_the_page_is_self_contained() -> None:
    """No script, no font, no address: pictures are data, and the policy forbids the rest."""
    assert "<script" not in demo_page()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', demo_page())
    assert not re.findall(r"url\((?!#)", demo_page())
    assert "default-src 'none'" in demo_page()


def test_the_page_is_well_formed() -> None:
    """Every tag is closed in order, and no identity appears twice."""
    parser = Nesting()
    parser.feed(demo_page())
    assert parser.open == []
    assert parser.crossed == []
    assert len(set(parser.identities)) == len(parser.identities)


def test_the_same_run_gives_the_same_page() -> None:
    """Except for the time at which it was made."""
    made = re.compile(r"Made by scones demo on [^.]*\.")
    assert made.sub("", page(demo_run())) == made.sub("", demo_page())


def test_drawings_are_never_passed_off_as_photos() -> None:
    """The rendered sample says so loudly, and only it does."""
    assert "These are drawings, not photos." in page(demo_run("rendered"))
    assert "These are drawings" not in demo_page()


HOSTILE = '"><script>alert(1)</script>'
ODD = ('<i>"$x$', "b & c")


@cache
def odd_page() -> str:
    """The report of a run with odd names, a failed execution and a false alarm."""
    run = demo_run()
    names = dict(zip(run.staged.classes, ODD, strict=True))
    predictions = run.evaluation.predictions
    keys = tuple(f"{number}/{HOSTILE.replace('/', '-')}" for number in range(len(predictions.keys)))
    renamed = replace(predictions, keys=keys, labels=tuple(names[label] for label in predictions.labels))
    failed = replace(run.classified.executions[0], outcome=Outcome.FAILED, error="Boom")
    return page(
        replace(
            with_verdicts(run, verdict(200, alarm=True), verdict(40, alarm=True)),
            staged=replace(run.staged, classes=ODD, left_out=(ExcludedFile(HOSTILE, HOSTILE),)),
            evaluation=replace(
                run.evaluation, predictions=renamed, metrics=replace(run.evaluation.metrics, classes=ODD)
            ),
            classified=ClassifyResult((*run.classified.executions, failed)),
            photos={**run.photos, **dict(zip(keys, (run.photos[key] for key in predictions.keys), strict=True))},
        )
    )


def test_names_of_files_are_text() -> None:
    """A photo's name cannot become markup, in the gallery or among the files left out."""
    assert "<script" not in odd_page()
    assert "&lt;script&gt;" in odd_page()


def test_classes_with_any_name_are_shown() -> None:
    """Dollars, brackets and quotes in a class reach the page as they are."""
    assert "<i>" not in odd_page()
    assert "b &amp; c" in odd_page()


def drill(text: str) -> str:
    """What the headline says of the drift alarm."""
    return re.search(r'Drift alarm</div>\s*<div class="figure">(\w+)<', text)[1]  # type: ignore[index]


def test_the_drift_drill_is_reported_as_it_went() -> None:
    """A false alarm and a missed one are named where a passed drill would be."""
    quiet = verdict(200, alarm=False)
    assert drill(demo_page()) == "works"
    assert drill(odd_page()) == "false"
    assert drill(page(with_verdicts(demo_run(), quiet, replace(quiet, photos=40)))) == "missed"


def test_the_alert_is_shown_with_the_photos_that_it_took() -> None:
    """Counted from the first shifted photo."""
    text = " ".join(demo_page().split())
    assert "The alert, after 12 of these photos: <b>Scones warning: quality</b>" in text
    assert "accuracy: 90% -&gt; 71%" in text


def test_failures_are_not_hidden() -> None:
    """An execution that failed is in the headline and in its section."""
    assert "1 failed" in odd_page()
    assert "1 execution failed for a reason other than the photo itself" in odd_page()


def test_unverified_prices_are_marked() -> None:
    """The bill says which prices are not verified, and their date."""
    bill = demo_run().bill()
    assert ("* price not verified" in demo_page()) == any(item.unverified for item in bill.items)
    assert bill.as_of in demo_page()


def test_a_run_with_almost_nothing_still_has_a_report() -> None:
    """One photo, no executions, too few photos for a verdict, no orders."""
    few = WindowVerdict(False, False, 1, 0.0, 0.0, ())
    run = with_verdicts(demo_run(), few, few)
    one = evaluate_model(small_model(), facts(1), photos(200)[:1], PLAN, lambda *_: None)
    text = page(
        replace(
            run,
            evaluation=one,
            classified=ClassifyResult(()),
            shift_classified=ClassifyResult(()),
            pairs=(),
            dispatched=replace(run.dispatched, couriers=(), orders=(), plan=DispatchPlan((), ())),
            staged=replace(run.staged, left_out=()),
        )
    )
    assert "too few photos" in text


def test_latencies_are_percentiles_in_milliseconds() -> None:
    """Ten executions of 10 to 100 ms, one after the other."""
    found = latencies([(index, index + 0.01 * (index + 1), Outcome.CLASSIFIED) for index in range(10)])
    assert found["p50"] == pytest.approx(55)
    assert found["p90"] == pytest.approx(91)
    assert found["per_second"] == pytest.approx(10 / 9.1)
    assert latencies([]) == {}


def test_the_business_value_is_that_of_the_simulation() -> None:
    """The share on time with this model, without a classifier and with perfect knowledge, and after reviews."""
    value, text = demo_run().business_value, " ".join(demo_page().split())
    now = next(item for item in value.measured if item.threshold == 0.8)
    assert value.reviewed is not None
    assert f"With this model at a threshold of 80%, {now.on_time.mean:.1%} of the orders are on time" in text
    assert f"without a classifier {value.blind.on_time.mean:.1%}" in text
    assert f"with perfect knowledge {value.perfect.on_time.mean:.1%}" in text
    assert f"reviews the {value.reviewed.unsure:.1%} of couriers below the threshold" in text


def test_other_classes_leave_only_the_hypothetical_classifiers() -> None:
    """Without a bicycle and a motorcycle among the classes there is no scenario with this model."""
    run = demo_run()
    text = page(replace(run, business_value=replace(run.business_value, measured=(), reviewed=None)))
    assert "this model" not in text
    assert "Business value of the classifier" in text


def test_every_reason_for_an_unassigned_order_is_counted() -> None:
    """The table lists each reason with its number of orders."""
    reasons = Counter(item.reason for item in demo_run().dispatched.plan.unassigned)
    assert all(f"<tr><td>{reason}</td><td>{count}</td></tr>" in demo_page() for reason, count in reasons.items())
