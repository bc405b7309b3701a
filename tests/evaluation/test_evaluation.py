"""An evaluation measures what its plan requests and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.small_model import FACTS, PLAN, facts, photos, predict, predict_opposite, small_model
from scones.domain.statistics import wilson_interval
from scones.evaluation.evaluation import (
    CannotEvaluate,
    Evaluation,
    EvaluationPhoto,
    EvaluationPlan,
    ModelUnderTest,
    evaluate_model,
)
from scones.evaluation.model_client import LoadLimits
from scones.evaluation.ood import SYNTHETIC
from scones.model.out_of_fold import SourceAnswers
from tiny_model import plain_photo


def evaluated(plan: EvaluationPlan = PLAN, model: ModelUnderTest | None = None) -> Evaluation:
    """Evaluate the small model."""
    return evaluate_model(model or small_model(), facts(), photos(), plan, lambda *_: None)


def test_predictions_alone_give_the_basic_metrics() -> None:
    """Accuracy, calibration before and after, a threshold and four gate checks; no optional part."""
    found = evaluated()
    assert found.metrics.accuracy == pytest.approx(0.9)
    assert found.metrics.n == len(found.predictions.keys) == 40
    assert found.ece_before != found.metrics.ece
    assert found.threshold.source == "out_of_fold"
    assert found.out_of_fold is not None
    assert found.out_of_fold.n == 1000
    assert found.out_of_fold.accuracy == pytest.approx(0.99)
    assert found.out_of_fold.interval.low < 0.99 < found.out_of_fold.interval.high
    assert [check.passed for check in found.gate] == [True] * 4
    assert (found.robustness, found.comparison, found.load) == ((), None, ())
    assert found.ood is None


def test_without_out_of_fold_predictions_halves_select_the_threshold() -> None:
    """And the source says so."""
    found = evaluated(model=ModelUnderTest(FACTS, predict))
    assert (found.threshold.source, found.out_of_fold) == ("halves", None)


def test_robustness_is_measured_on_request() -> None:
    """Twenty-seven results, without the original photos."""
    assert len(evaluated(replace(PLAN, robustness=True)).robustness) == 27


def test_another_model_is_compared_and_joins_the_gate() -> None:
    """A model with opposite predictions differs on every photo; a better one would fail the gate."""
    rival = replace(small_model("rival"), predict=predict_opposite)
    found = evaluated(replace(PLAN, against=rival))
    assert found.comparison is not None
    assert len(found.comparison.changed) == 40
    assert [check.setting for check in found.gate][-1] == "--against"
    assert found.gate[-1].passed


def test_models_of_other_classes_are_not_compared() -> None:
    """Their predictions mean other things."""
    rival = replace(small_model(), facts=replace(FACTS, classes=("car", "bus")))
    with pytest.raises(CannotEvaluate, match="has the classes car, bus, not bicycle, motorcycle"):
        evaluated(replace(PLAN, against=rival))


def test_an_ood_detector_is_tested_on_generated_images_and_on_other_photos() -> None:
    """A model without a detector has no such result; rejected test photos are counted, too."""
    model = replace(small_model(), facts=replace(FACTS, ood_threshold=50.0))
    assert evaluated(replace(PLAN, ood=True)).ood is None
    ood = evaluated(replace(PLAN, ood=True), model).ood
    assert ood is not None
    assert (ood.n, [group.kind for group in ood.groups]) == (40, [SYNTHETIC])
    others = tuple(EvaluationPhoto(str(level), "", plain_photo(level)) for level in (1, 128))
    both = evaluated(replace(PLAN, ood=True, ood_photos=others), model).ood
    assert both is not None
    assert [group.n for group in both.groups] == [300, 2]
    assert both.groups[1].accepted == 0.5


def from_sources(right: list[int], wrong: list[int], count: int = 3) -> ModelUnderTest:
    """The model, with so many right and wrong answers to photos of each source that was left out."""
    counts = list(zip(right, wrong, strict=True))
    names = tuple(f"s{number}" for number, both in enumerate(counts) for _ in range(sum(both)))
    answers = [answer for good, bad in counts for answer in [True] * good + [False] * bad]
    return replace(small_model(), by_source=SourceAnswers(count, names, np.array(answers, np.bool_)))


def test_accuracy_is_given_by_source_and_on_sources_left_out() -> None:
    """With n and Wilson's interval; the largest source first; of test photos and of what was left out."""
    some = tuple(replace(photo, source="s0" if number % 4 else "new") for number, photo in enumerate(photos()))
    found = evaluate_model(from_sources([90, 30], [10, 0]), facts(), some, PLAN, lambda *_: None)
    assert found.new_source is not None
    assert found.new_source.n == 130
    assert found.new_source.accuracy == pytest.approx(120 / 130)
    assert found.new_source.interval == wilson_interval(120, 130)
    shown = {it.source: (it.test and it.test.n, it.left_out and it.left_out.accuracy) for it in found.by_source}
    assert shown == {"s0": (30, 0.9), "s1": (None, 1.0), "new": (10, None)}
    assert list(shown) == ["s0", "s1", "new"]
    assert found.warnings == ()


@pytest.mark.parametrize(("right", "passed"), [(60, True), (59, False)])
def test_the_gate_asks_for_accuracy_on_new_sources(right: int, passed: bool) -> None:
    """By the lower end of its interval: .94 here, or .91 where one answer of sixty is wrong."""
    plan = replace(PLAN, requirements=replace(PLAN.requirements, new_source=0.92))
    check = evaluated(plan, from_sources([right, 0], [60 - right, 0])).gate[-1]
    assert (check.setting, check.passed, check.required) == ("gate_new_source", passed, 0.92)
    assert check.measured == wilson_interval(right, 60).low


@pytest.mark.parametrize(
    ("model", "warning"),
    [
        (small_model(), "does not say how"),
        (from_sources([], [], 1), "all photos come from one source"),
        (from_sources([], []), "no source can be left out"),
    ],
)
def test_what_shows_nothing_about_new_sources_is_a_warning_and_no_failed_check(
    model: ModelUnderTest, warning: str
) -> None:
    """The gate cannot ask for what cannot be measured."""
    found = evaluated(replace(PLAN, requirements=replace(PLAN.requirements, new_source=1.0)), model)
    assert (found.new_source, found.by_source) == (None, ())
    (text,) = found.warnings
    assert warning in text
    assert "gate_new_source" not in {check.setting for check in found.gate}


def test_every_target_is_load_tested() -> None:
    """Each with four numbers of clients."""
    model = replace(small_model(), load_targets=(("endpoint", lambda _: ""), ("workflow", lambda _: "")))
    found = evaluated(replace(PLAN, load=LoadLimits(1, 5)), model)
    assert [(load.target, len(load.levels)) for load in found.load] == [("endpoint", 4), ("workflow", 4)]


def test_no_photos_are_an_error() -> None:
    """Without photos there is nothing to measure."""
    with pytest.raises(CannotEvaluate, match="no test photos"):
        evaluate_model(small_model(), facts(0), (), PLAN, lambda *_: None)


def test_a_model_without_temperature_has_one_calibration_error() -> None:
    """A temperature of one changes nothing."""
    found = evaluated(model=replace(small_model(), facts=replace(FACTS, temperature=1.0)))
    assert found.ece_before == pytest.approx(found.metrics.ece)
    assert np.isfinite(found.accuracy_at_90)
