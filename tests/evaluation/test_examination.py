"""What a plan asks for is done; what it does not ask for is not."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.studied import FACTS, PAIR, PLAN, ask, ask_otherwise, candidate, facts, photos
from scones.evaluation.examination import Candidate, CannotEvaluate, Plan, Shown, examine
from scones.evaluation.load_test import Bounds
from scones.evaluation.ood import NOTHING
from scones.evaluation.study import Study
from tiny_model import plain_photo


def look(plan: Plan = PLAN, model: Candidate | None = None) -> Study:
    """Examine the small model."""
    return examine(model or candidate(), facts(), photos(), plan, lambda *_: None)


def test_the_plain_figures_need_no_further_question() -> None:
    """Accuracy, calibration before and after, a threshold and four floors; nothing that was not asked for."""
    found = look()
    assert found.metrics.accuracy == pytest.approx(0.9)
    assert found.metrics.n == len(found.answers.keys) == 40
    assert found.ece_before != found.metrics.ece
    assert found.threshold.source == "out_of_fold"
    assert found.out_of_fold is not None
    assert found.out_of_fold.n == 1000
    assert found.out_of_fold.accuracy == pytest.approx(0.99)
    assert found.out_of_fold.interval.low < 0.99 < found.out_of_fold.interval.high
    assert [check.passed for check in found.gate] == [True] * 4
    assert (found.robustness, found.comparison, found.load) == ((), None, ())
    assert (found.guard, found.int8) == (None, None)


def test_without_out_of_fold_answers_halves_choose() -> None:
    """And the source says so."""
    found = look(model=Candidate(FACTS, ask))
    assert (found.threshold.source, found.out_of_fold) == ("halves", None)


def test_robustness_is_measured_where_it_is_wanted() -> None:
    """Twenty-seven lines, the clean photos not among them."""
    assert len(look(replace(PLAN, robustness=True)).robustness) == 27


def test_another_model_is_compared_and_joins_the_gate() -> None:
    """One that always answers the opposite differs on every photo; a better rival would shut the gate."""
    rival = replace(candidate("rival"), ask=ask_otherwise)
    found = look(replace(PLAN, against=rival))
    assert found.comparison is not None
    assert len(found.comparison.changed) == 40
    assert [check.setting for check in found.gate][-1] == "--against"
    assert found.gate[-1].passed


def test_models_of_other_classes_are_not_compared() -> None:
    """Their answers mean other things."""
    rival = replace(candidate(), facts=replace(FACTS, classes=("car", "bus")))
    with pytest.raises(CannotEvaluate, match="tells car, bus apart, not bicycle, motorcycle"):
        look(replace(PLAN, against=rival))


def test_a_guard_is_judged_by_pictures_of_nothing_and_by_other_photos_where_there_are_some() -> None:
    """Nothing of a model without one; the test photos that it refuses are counted, too."""
    model = replace(candidate(), facts=replace(FACTS, unfamiliar_above=50.0))
    guard = look(model=model).guard
    assert guard is not None
    assert (guard.n, [kind.kind for kind in guard.strangers]) == (40, [NOTHING])
    others = tuple(Shown(str(level), "", plain_photo(level)) for level in (1, 128))
    both = look(replace(PLAN, others=others), model).guard
    assert both is not None
    assert [kind.n for kind in both.strangers] == [300, 2]
    assert both.strangers[1].accepted == 0.5


def test_int8_is_compared_where_there_is_one() -> None:
    """On the same photos."""
    int8 = look(model=replace(candidate(), pair=PAIR)).int8
    assert int8 is not None
    assert (int8.n, int8.difference, int8.changed, int8.served) == (40, 0, 0, True)


def test_load_is_put_on_every_target() -> None:
    """Each at four levels."""
    model = replace(candidate(), senders=(("endpoint", lambda _: ""), ("workflow", lambda _: "")))
    found = look(replace(PLAN, load=Bounds(1, 5)), model)
    assert [(load.target, len(load.levels)) for load in found.load] == [("endpoint", 4), ("workflow", 4)]


def test_no_photos_are_an_error() -> None:
    """There is nothing to say of a model that was asked nothing."""
    with pytest.raises(CannotEvaluate, match="no test photos"):
        examine(candidate(), facts(0), (), PLAN, lambda *_: None)


def test_a_model_without_temperature_has_one_calibration_error() -> None:
    """A temperature of one changes nothing."""
    found = look(model=replace(candidate(), facts=replace(FACTS, temperature=1.0)))
    assert found.ece_before == pytest.approx(found.metrics.ece)
    assert np.isfinite(found.accuracy_at_90)
