"""The page of an evaluation is one honest file."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import msgspec
import pytest

from evaluation.studied import FACTS, PAIR, PLAN, ask_otherwise, candidate, facts, photos
from reports.test_demo import Nesting
from scones.evaluation.examination import Shown, examine
from scones.evaluation.load_test import Level, Load
from scones.evaluation.study import Study
from scones.reports.evaluation import render_study
from tiny_model import plain_photo

OTHERS = tuple(Shown(f"<i>{level}</i>.png", "", plain_photo(level)) for level in (0, 20, 110, 120, 130, 255))
"""Three whose level is familiar and three whose level is not."""
LOAD = Load("endpoint", (Level(1, 10, 1.0, 10.0, 5.0, 6.0, 7.0, {}), Level(4, 9, 1.0, 0.0, None, None, None, {"X": 9})))


@cache
def everything() -> Study:
    """A study with all that may be asked for."""
    rival = replace(candidate("<b>rival</b>"), ask=ask_otherwise)
    plan = replace(PLAN, robustness=True, against=rival, others=OTHERS)
    model = replace(candidate(), facts=replace(FACTS, unfamiliar_above=50.0), pair=PAIR)
    return replace(examine(model, facts(), photos(), plan, lambda *_: None), load=(LOAD,))


def page(study: Study) -> str:
    """Render it."""
    return render_study(study, photos(study.metrics.n), OTHERS, 0)


@cache
def whole_page() -> str:
    """The page of all that may be asked for."""
    return page(everything())


@cache
def bare_page() -> str:
    """The page of the same answers, with nothing more than must be."""
    return page(replace(everything(), guard=None, int8=None, robustness=(), comparison=None, load=()))


@cache
def poor_page() -> str:
    """The page of drawings, of a model that misses a floor and has no answers to training photos."""
    plan = replace(PLAN, floors=replace(PLAN.floors, accuracy=0.99))
    model = replace(candidate(), out_of_fold=None)
    return page(examine(model, facts(kind="rendered"), photos(), plan, lambda *_: None))


def test_the_page_stands_alone_and_is_well_formed() -> None:
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
    assert "Against &lt;b&gt;rival&lt;/b&gt;" in text


def test_the_guard_is_shown_with_what_it_lets_through_and_what_it_refuses() -> None:
    """Each kind of strangers in a row of the table, and pictures of both outcomes."""
    text = whole_page()
    assert "What if it is no bicycle and no motorcycle?" in text
    assert "Other things: let through, the most familiar first" in text
    assert "Other things: refused" in text
    assert "Flat and noise: refused" in text
    assert "50.0%</td>" in text  # three of the six others
    assert "What if it is no" not in bare_page()


def test_whole_numbers_are_compared_with_float32() -> None:
    """How many answers change, and by how much it is less work."""
    assert re.search(r"they name 0 of them differently", whole_page())
    assert "What do whole numbers cost?" not in bare_page()


def test_every_part_is_there_only_where_it_was_asked_for() -> None:
    """Damage, comparison and load have sections of their own."""
    parts = ("What if the photos are worse?", "Where they differ", "How many at once?")
    full, plain = whole_page(), bare_page()
    assert all(part in full for part in parts)
    assert not any(part in plain for part in parts)
    assert "9 of 9" in full  # errors under load are not hidden


@pytest.mark.parametrize(("render", "word"), [(whole_page, "open"), (poor_page, "shut")])
def test_the_gate_is_told_as_it_is(render: Callable[[], str], word: str) -> None:
    """Shut when one floor is missed, and the table says which."""
    text = render()
    assert re.search(r'Gate</div><div class="figure[^"]*">(\w+)<', text)[1] == word  # type: ignore[index]
    assert (">missed<" in text) == (word == "shut")


def test_a_threshold_without_guarantee_is_not_called_guaranteed() -> None:
    """Halves of forty photos can promise nothing, and the page says so."""
    text = poor_page()
    assert "No guarantee at" in text
    assert "tried on the other, many times" in text
    assert "The promise holds" not in text
    assert "Guaranteed at" in whole_page()


@pytest.mark.parametrize(
    ("dollars", "words"),
    [(24.0, "The change saves $24.00 for 1,000"), (-24.0, "The change costs $24.00 more for 1,000")],
)
def test_a_loss_is_not_called_a_saving(dollars: float, words: str) -> None:
    """Where the interval reaches over zero, too."""
    study = everything()
    trial = replace(study.threshold, saving=replace(study.threshold.saving, dollars_per_1000=dollars, low=-80, high=80))
    text = " ".join(page(replace(study, threshold=trial)).split())
    assert words in text
    assert "could be luck" in text


def test_a_change_without_consequence_is_not_called_luck() -> None:
    """Where both thresholds send every photo to a person, nothing is saved and nothing lost."""
    study = everything()
    trial = replace(study.threshold, saving=replace(study.threshold.saving, dollars_per_1000=0.0, low=0.0, high=0.0))
    assert "the change makes no difference" in page(replace(study, threshold=trial))


def test_drawings_are_never_passed_off_as_photos() -> None:
    """The rendered sample says so loudly."""
    assert "These are drawings, not photos." in poor_page()
    assert "These are drawings" not in whole_page()


@pytest.mark.parametrize("count", [1, 2])
def test_one_photo_still_has_a_page(count: int) -> None:
    """Few photos are no crash."""
    few = examine(candidate(), facts(count), photos(40)[:count], PLAN, lambda *_: None)
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
        "guard",
        "int8",
    } <= plain.keys()
    assert plain["metrics"]["pr_auc"] > 0.9
    assert plain["threshold"]["promise"].startswith("at most 3.0%")
    assert len(plain["answers"]["probabilities"]) == 40
    assert msgspec.json.decode(msgspec.json.encode(everything()), type=Study) == everything()
