"""An evaluation measures what its plan requests and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.small_model import FACTS, PLAN, facts, photos, predict, predict_opposite, small_model
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
