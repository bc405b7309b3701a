"""The page of an evaluation is one honest file."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from cli.test_demo_report import Nesting
from evaluation.small_model import FACTS, PLAN, facts, photos, predict_opposite, small_model
from scones.evaluation.evaluation import Evaluation, EvaluationPhoto, evaluate_model
from scones.evaluation.model_client import LoadLevel, LoadResult
from scones.evaluation.thresholds import Saving
from scones.model.out_of_fold import SourceAnswers
from scones.reports.evaluation import render_evaluation
from tiny_model import plain_photo

OTHERS = tuple(EvaluationPhoto(f"<i>{level}</i>.png", "", plain_photo(level)) for level in (0, 20, 110, 120, 130, 255))
"""Three whose level is familiar and three whose level is not."""
LOAD = LoadResult(
    "endpoint", (LoadLevel(1, 10, 1.0, 10.0, 5.0, 6.0, 7.0, {}), LoadLevel(4, 9, 1.0, 0.0, None, None, None, {"X": 9}))
)


@cache
def everything() -> Evaluation:
    """An evaluation with every optional part."""
    rival = replace(small_model("<b>rival</b>"), predict=predict_opposite)
    plan = replace(PLAN, robustness=True, against=rival, ood=True, ood_photos=OTHERS)
    sources = SourceAnswers(3, ("<i>phone</i>",) * 80 + ("city",) * 20, np.arange(100) % 9 > 0)
    model = replace(small_model(), facts=replace(FACTS, ood_threshold=50.0), by_source=sources)
    tested = tuple(replace(photo, source=("city", "", "new")[number % 3]) for number, photo in enumerate(photos()))
    return replace(evaluate_model(model, facts(), tested, plan, lambda *_: None), load=(LOAD,))


def page(evaluation: Evaluation) -> str:
    """Render it."""
    return render_evaluation(evaluation, photos(evaluation.metrics.n), OTHERS)


def with_saving(dollars: float, low: float, high: float) -> Evaluation:
    """The evaluation with another saving."""
    evaluation = everything()
    return replace(evaluation, threshold=replace(evaluation.threshold, saving=Saving(dollars, low, high)))


@cache
def whole_page() -> str:
    """The page of all that may be asked for."""
    return page(everything())


@cache
def bare_page() -> str:
    """The page of the same answers, with nothing more than must be."""
    return page(replace(everything(), ood=None, robustness=(), comparison=None, load=(), by_source=()))


@cache
def poor_page() -> str:
    """The page of drawings, of a model that misses a floor and has no answers to training photos."""
    plan = replace(PLAN, requirements=replace(PLAN.requirements, accuracy=0.99))
    model = replace(small_model(), out_of_fold=None)
    return page(evaluate_model(model, facts(kind="rendered"), photos(), plan, lambda *_: None))


def test_the_page_is_self_contained_and_well_formed() -> None:
    """No script, nothing fetched, tags in order, each identity once."""
    text = whole_page()
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert "default-src 'none'" in text
    parser = Nesting()
    parser.feed(text)
    assert (parser.open, parser.crossed) == ([], [])
    assert len(set(parser.identities)) == len(parser.identities)


def test_names_are_text() -> None:
    """A model's name cannot become markup."""
    text = whole_page()
    assert "<b>rival" not in text
    assert "Comparison with &lt;b&gt;rival&lt;/b&gt;" in text


def test_the_ood_detector_is_shown_with_what_it_accepts_and_rejects() -> None:
    """Each group of images has a row in the table, and examples of both outcomes."""
    text = whole_page()
    assert "that show neither bicycle nor motorcycle" in text
    assert "Other things: not rejected, the lowest score first" in text
    assert "Other things: rejected" in text
    assert "Flat and noise: rejected" in text
    assert "50.0%</td>" in text  # three of the six others
    assert "out of distribution" not in bare_page()


def test_optional_parts_are_there_only_on_request() -> None:
    """Robustness, comparison and load test have their own sections."""
    parts = ("Robustness to image corruptions", "Different predictions", "Load test")
    full, plain = whole_page(), bare_page()
    assert all(part in full for part in parts)
    assert not any(part in plain for part in parts)
    assert "9 of 9" in full  # errors under load are not hidden


def test_accuracy_by_source_is_shown_beside_that_of_cross_validation() -> None:
    """With n and interval; what shows nothing about new sources is said loudly."""
    text = " ".join(whole_page().split())
    assert "<td>&lt;i&gt;phone&lt;/i&gt;</td><td>0</td><td></td><td>80</td><td>88.8%<br><span" in text
    assert "80.0% to 94.0%</span>" in text
    assert "<td>(not named)</td><td>13</td>" in text
    assert "<b>88.0%</b> of 100 in all, against 99.0% by cross-validation" in text
    assert "Not measured." not in text
    assert "The model file does not say how the model does on photos of a new source." in poor_page()


@pytest.mark.parametrize(("render", "word"), [(whole_page, "passed"), (poor_page, "failed")])
def test_the_gate_is_shown(render: Callable[[], str], word: str) -> None:
    """It fails when one requirement is not met, and the table says which."""
    text = render()
    assert re.search(r'Quality gate</div><div class="figure[^"]*">(\w+)<', text)[1] == word  # type: ignore[index]
    assert (">failed</td>" in text) == (word == "failed")


def test_a_threshold_without_guarantee_is_not_called_guaranteed() -> None:
    """Halves of forty photos can guarantee nothing, and the page says so."""
    text = poor_page()
    assert "No guarantee at" in text
    assert "evaluated on the other, many times" in text
    assert "The guarantee holds" not in text
    assert "Guaranteed at" in whole_page()


@pytest.mark.parametrize(
    ("dollars", "words"),
    [(24.0, "The change saves $24.00 for 1,000"), (-24.0, "The change costs $24.00 more for 1,000")],
)
def test_a_loss_is_not_called_a_saving(dollars: float, words: str) -> None:
    """Where the interval reaches over zero, too."""
    evaluation = everything()
    threshold = replace(
        evaluation.threshold, saving=replace(evaluation.threshold.saving, dollars_per_1000=dollars, low=-80, high=80)
    )
    text = " ".join(page(replace(evaluation, threshold=threshold)).split())
    assert words in text
    assert "this is not significant" in text


def test_a_change_without_effect_makes_no_difference() -> None:
    """Where both thresholds send every photo to a person, nothing is saved and nothing lost."""
    evaluation = everything()
    threshold = replace(
        evaluation.threshold, saving=replace(evaluation.threshold.saving, dollars_per_1000=0.0, low=0.0, high=0.0)
    )
    assert "the change makes no difference" in page(replace(evaluation, threshold=threshold))


def test_drawings_are_never_passed_off_as_photos() -> None:
    """The rendered sample says so loudly."""
    assert "These are drawings, not photos." in poor_page()
    assert "These are drawings" not in whole_page()


@pytest.mark.parametrize("count", [1, 2])
def test_one_photo_still_has_a_page(count: int) -> None:
    """Few photos are no crash."""
    few = evaluate_model(small_model(), facts(count), photos(40)[:count], PLAN, lambda *_: None)
    assert "How good is this model?" in page(few)


def test_the_json_holds_every_figure() -> None:
    """And is plain: what was said of each photo, the verdicts in words, no bytes."""
    plain = msgspec.json.decode(msgspec.json.encode(everything()))
    assert {
        "metrics",
        "ece_before",
        "threshold",
        "robustness",
        "comparison",
        "load",
        "gate",
        "ood",
    } <= plain.keys()
    assert plain["metrics"]["pr_auc"] > 0.9
    assert plain["threshold"]["guarantee"].startswith("at most 3.0%")
    assert len(plain["predictions"]["probabilities"]) == 40
    assert msgspec.json.decode(msgspec.json.encode(everything()), type=Evaluation) == everything()


def test_a_load_test_without_any_response_still_has_a_page() -> None:
    """The chart is empty; the table has the errors."""
    failed = LoadResult("endpoint", (LoadLevel(1, 9, 1.0, 0.0, None, None, None, {"Throttled": 9}),))
    assert "9 errors Throttled" in page(replace(everything(), load=(failed,)))
