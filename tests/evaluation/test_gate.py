"""The gate passes only a model that meets the requirements, and names the others."""

import math
import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from scones.domain.statistics import photos_for_accuracy, wilson_interval
from scones.evaluation.comparison import compare
from scones.evaluation.gate import (
    GateCheck,
    GateFailed,
    GateRequirements,
    PairedAnswers,
    SideEffects,
    UnlikeModels,
    check_challenger,
    check_labels,
    check_not_worse,
    check_requirements,
    check_side_effects,
    explain,
    require_passed,
    require_same_classes,
)
from scones.evaluation.metrics import evaluate_predictions
from scones.evaluation.ood import evaluate_ood
from scones.evaluation.robustness import CorruptionResult
from scones.model.out_of_fold import InvalidLabelledPredictions

CLASSES = ("bicycle", "motorcycle")
LOW = GateRequirements(accuracy=0.1, calibration_error=0.9, coverage=0.1, accuracy_covered=0.1)
EVALUATION = evaluate_predictions(["bicycle"] * 20, np.array([[0.9, 0.1]] * 19 + [[0.4, 0.6]]), CLASSES, 0.8)


def test_a_model_that_meets_every_requirement_passes() -> None:
    """Nothing is raised."""
    require_passed(check_requirements(EVALUATION, LOW))


@pytest.mark.parametrize(
    ("requirement", "value", "words"),
    [
        (
            "accuracy",
            0.9,
            r"gate_accuracy: .*of accuracy, 95\.0% on 20 photos, is 76\.4%, less than the 90\.0% required; about 139 ",
        ),
        ("calibration_error", 0.01, r"gate_calibration_error: .* is \d+\.\d%, more than the 1\.0% required"),
        ("coverage", 0.99, r"gate_coverage: .* is 95\.0%, less than the 99\.0% required"),
        (
            "accuracy_covered",
            0.9,
            r"gate_accuracy_covered: .*, 100\.0% on 19 photos, is 83\.2%, less than the 90\.0% required; about 35 ",
        ),
    ],
)
def test_a_failed_requirement_is_named_with_the_measured_value(requirement: str, value: float, words: str) -> None:
    """The setting, the measured and the required value; shares by the lower end of their interval."""
    with pytest.raises(GateFailed, match=words) as failure:
        require_passed(check_requirements(EVALUATION, replace(LOW, **{requirement: value})))
    assert len(failure.value.failed) == 1


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        ({"accuracy": 0.9}, "next: label about 139 photos, then run: scones train"),
        ({"accuracy": 0.9, "accuracy_covered": 0.99}, "next: label about 381 photos, then run: scones train"),
        ({"accuracy": 0.96}, "next: stage more or better photos, then run: scones train"),
        ({"accuracy": 0.9, "coverage": 0.99}, "next: stage more or better photos, then run: scones train"),
        ({"accuracy": 0.95}, "next: stage more or better photos"),
        ({}, ""),
    ],
)
def test_a_verdict_says_what_to_do_and_how_many_photos_would_be_enough(
    requirements: dict[str, float], words: str
) -> None:
    """More photos help only where nothing but their number is lacking."""
    found = explain(check_requirements(EVALUATION, replace(LOW, **requirements)))
    assert words in found
    assert bool(found) == bool(requirements)
    assert not re.search(r"\d\.\d{4}|[<>]=", found)


@pytest.mark.parametrize(("accuracy", "required"), [(0.9, 0.88), (0.95, 0.9), (1.0, 0.9), (0.5, 0.1), (0.881, 0.88)])
def test_so_many_photos_are_just_enough(accuracy: float, required: float) -> None:
    """The interval's lower end reaches the requirement there, and not with a tenth fewer."""
    enough = photos_for_accuracy(accuracy, required)
    assert enough
    low = [wilson_interval(round(accuracy * n), n).low for n in (math.ceil(enough * 1.05), int(enough * 0.9))]
    assert low[0] >= required - 0.004
    assert low[1] < required
    assert photos_for_accuracy(required, required) is None


def test_a_figure_that_just_misses_its_limit_is_told_from_it() -> None:
    """A percentage with one digit would say that 88.0% is less than 88.0%."""
    text = str(GateCheck("gate_accuracy", "the accuracy", 0.88, at_most=False, measured=0.87996, passed=False))
    assert "87.996%, less than the 88.000% required" in text


def test_a_requirement_without_a_measurement_fails() -> None:
    """Where no photo is above the threshold, the accuracy of those above it fails."""
    unsure = evaluate_predictions(["bicycle"], np.array([[0.6, 0.4]]), CLASSES, 0.9)
    with pytest.raises(GateFailed, match=r"was not measured: there are no photos"):
        require_passed(check_requirements(unsure, replace(LOW, accuracy=0.0, coverage=0.0)))


def test_a_better_model_fails_the_gate_only_if_significantly_better() -> None:
    """Ten photos that only the other has right fail it; two do not, and neither does a worse model."""
    photos = [(str(index), "bicycle") for index in range(20)]
    good = np.array([[0.9, 0.1]] * 20)

    def wrong(count: int) -> np.ndarray:
        return np.array([[0.1, 0.9]] * count + [[0.9, 0.1]] * (20 - count))

    assert not check_not_worse(compare(photos, wrong(10), good, CLASSES, "other")).passed
    assert check_not_worse(compare(photos, wrong(2), good, CLASSES, "other")).passed
    assert check_not_worse(compare(photos, good, wrong(10), CLASSES, "other")).passed


def paired(only_old: int, only_new: int, both: int, neither: int = 0) -> PairedAnswers:
    """Photos of both classes in turn, of which each model has so many right."""
    count = only_old + only_new + both + neither
    labels = [CLASSES[number % 2] for number in range(count)]
    order = np.random.default_rng(0).permutation(count)
    old = np.isin(np.arange(count), order[: only_old + both])
    new = np.isin(np.arange(count), order[only_old : only_old + both + only_new])
    return PairedAnswers(labels, answers(labels, old), answers(labels, new))


def answers(labels: list[str], right: np.ndarray) -> np.ndarray:
    """Probabilities with which these photos are classified right, and the others wrong."""
    truth = np.array([CLASSES.index(label) for label in labels])
    return np.eye(2)[np.where(right, truth, 1 - truth)] * 0.8 + 0.1


def failed(checks: tuple[GateCheck, ...]) -> list[str]:
    """The meaning of the checks that did not pass."""
    return [str(check) for check in checks if not check.passed]


@pytest.mark.parametrize(
    ("frozen", "fresh", "drift", "words"),
    [
        (paired(1, 2, 197), None, False, []),
        (paired(0, 0, 200), None, False, []),
        (paired(2, 3, 195), paired(0, 9, 31), True, []),
        (paired(2, 1, 197), None, False, ["gate_margin: .* 200 test photos", "lead in accuracy on all 200 photos"]),
        (paired(0, 0, 50), None, False, [r"gate_margin: .* about 1\d\d photos like these would be enough"]),
        (paired(0, 0, 200), None, True, [r"drift: .* was not measured"]),
        (
            paired(0, 0, 200),
            paired(0, 4, 36),
            True,
            [r"drift: .*\(4 to 0 of 40\) is 0\.062, more than the 0\.05 required"],
        ),
        (paired(0, 9, 200), paired(1, 0, 35), False, [r"lead in accuracy on 36 fresh photos .0 to 1. is -2\.8%"]),
        (paired(0, 9, 200), paired(1, 1, 34), False, []),
        (paired(0, 9, 200), paired(6, 0, 30), False, [r"lead in accuracy on 36 fresh photos .0 to 6. is -16\.7%"]),
    ],
)
def test_the_checks_of_a_challenger(
    frozen: PairedAnswers, fresh: PairedAnswers | None, drift: bool, words: list[str]
) -> None:
    """Not worse on the test set, better where drift was found, and never worse on all photos together."""
    found = failed(check_challenger(frozen, fresh, CLASSES, must_be_better=drift, margin=0.02))
    assert len(found) == len(words), found
    for line, pattern in zip(found, words, strict=True):
        assert re.search(pattern, line), line


def test_a_challenger_that_gives_up_one_class_is_refused_by_its_name() -> None:
    """It wins more bicycles than it loses motorcycles, and still may not serve."""
    labels = ["bicycle"] * 260 + ["motorcycle"] * 40
    old, new = np.ones(300, bool), np.ones(300, bool)
    old[:20] = False
    new[-5:] = False
    frozen = PairedAnswers(labels, answers(labels, old), answers(labels, new))
    found = failed(check_challenger(frozen, None, CLASSES, must_be_better=False, margin=0.02))
    assert len(found) == 1
    assert "accuracy on 40 photos of motorcycle is 87.5%, less than the 95.0% required" in found[0]


@pytest.mark.parametrize("fresh", [None, paired(0, 9, 31)])
def test_a_class_without_test_photos_is_refused_by_its_name(fresh: PairedAnswers | None) -> None:
    """Also where there are fresh photos of it: they are too few to stand for the test set."""
    bicycles = np.array([[0.9, 0.1]] * 200)
    frozen = PairedAnswers(["bicycle"] * 200, bicycles, bicycles)
    found = failed(check_challenger(frozen, fresh, CLASSES, must_be_better=False, margin=0.02))
    assert len(found) == 1
    assert "photos of motorcycle was not measured" in found[0]


@pytest.mark.parametrize("classes", [("bicycle", "car"), ("motorcycle", "bicycle"), ("bicycle",), (*CLASSES, "car")])
def test_a_challenger_with_other_classes_is_refused(classes: tuple[str, ...]) -> None:
    """Also in another order, which would swap the answers."""
    require_same_classes(CLASSES, CLASSES)
    with pytest.raises(UnlikeModels, match="the live model bicycle, motorcycle"):
        require_same_classes(CLASSES, classes)


@pytest.mark.parametrize(
    "broken",
    [
        PairedAnswers([], np.zeros((0, 2)), np.zeros((0, 2))),
        PairedAnswers(["other"], np.ones((1, 2)), np.ones((1, 2))),
        PairedAnswers(["bicycle"], np.ones((1, 2)), np.full((1, 2), np.nan)),
        PairedAnswers(["bicycle"], np.ones((1, 2)), np.ones((2, 2))),
        PairedAnswers(["bicycle"], np.ones((1, 3)), np.ones((1, 2))),
    ],
)
def test_answers_that_do_not_belong_together_are_refused(broken: PairedAnswers) -> None:
    """No photos, another label, NaN, other photos, other classes: of neither test set nor fresh photos."""
    with pytest.raises(InvalidLabelledPredictions):
        check_challenger(broken, None, CLASSES, must_be_better=False, margin=0.02)
    if len(broken.labels):
        with pytest.raises(InvalidLabelledPredictions):
            check_challenger(paired(0, 0, 200), broken, CLASSES, must_be_better=False, margin=0.02)


@pytest.mark.parametrize("worse_by", [0.025, 0.05])
@pytest.mark.parametrize(("n", "fresh"), [(150, 0), (150, 30)])
def test_worse_models_are_rarely_promoted(worse_by: float, n: int, fresh: int) -> None:
    """Of models that are truly worse by more than the margin, few pass (the stated 5%, of 60: at most 6)."""
    rng = np.random.default_rng([n, fresh])
    promoted = 0
    for _ in range(60):
        # One in thirty photos only the challenger has right, and so many more only the champion.
        counts = [rng.multinomial(size, [1 / 30 + worse_by, 1 / 30, 14 / 15 - worse_by]) for size in (n, fresh) if size]
        parts = [paired(*map(int, part)) for part in counts]
        checks = check_challenger(parts[0], parts[1] if fresh else None, CLASSES, must_be_better=False, margin=0.02)
        promoted += not failed(checks)
    assert promoted <= 6


def said(chances: list[float], agree: int) -> tuple[list[str], np.ndarray]:
    """Labels, of which the first *agree* are what the model says, and its probabilities."""
    second = np.where(np.arange(len(chances)) % 2 == 0, chances, 1 - np.array(chances))
    named = [CLASSES[int((value > 0.5) == (place < agree))] for place, value in enumerate(second)]
    return named, np.column_stack([1 - second, second])


@pytest.mark.parametrize(
    ("chances", "agree", "passes"),
    [
        ([0.75] * 60, 47, True),
        ([0.75] * 60, 40, True),
        ([0.75] * 60, 30, False),
        ([0.75] * 60, 0, False),
        ([0.92] * 30, 27, True),
        ([0.92] * 30, 21, False),
        ([0.99] * 400 + [0.6] * 60, 370, False),
        ([0.5] * 40, 14, True),
        ([1.0] * 10, 10, True),
        ([1.0] * 10, 9, True),
        ([1.0] * 60, 57, True),
        ([1.0] * 60, 54, False),
        ([0.99] * 9, 0, True),
        ([], 0, True),
    ],
)
def test_labels_that_contradict_what_all_others_teach_are_refused(
    chances: list[float], agree: int, passes: bool
) -> None:
    """Flipped ones do; unsure photos allow more, and fewer than ten labels say nothing."""
    found = failed(check_labels(*said(chances, agree), CLASSES))
    assert not found if passes else f"of {len(chances)} new labels {agree} agree" in found[0]


def test_the_check_of_labels_refuses_hardly_any_good_batch() -> None:
    """Where the model's confidence is right, whatever it is."""
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(400):
        chances = rng.uniform(0.5, 1, rng.integers(10, 80))
        right = rng.random(len(chances)) < chances
        labels, table = said(chances.tolist(), len(chances))
        labels = [name if well else CLASSES[1 - CLASSES.index(name)] for name, well in zip(labels, right, strict=True)]
        refused += bool(failed(check_labels(labels, table, CLASSES)))
    assert refused <= 4
    with pytest.raises(InvalidLabelledPredictions):
        check_labels(["van"] * 20, np.full((20, 2), 0.5), CLASSES)


def corrupted(accuracy: float) -> CorruptionResult:
    """The accuracy under one corruption."""
    interval = EVALUATION.interval
    return CorruptionResult("blur", 3, "blur", 20, accuracy, interval, 1.0, accuracy)


def test_a_challenger_must_not_be_less_robust_nor_accept_more_other_things() -> None:
    """Each by more than two points; what was measured of the champion only fails."""
    known, strange = np.linspace(0, 1, 100), np.linspace(0.9, 2, 100)
    ood = evaluate_ood(1.0, known, {"other things": (tuple("x" * 100), strange)})
    lenient = evaluate_ood(1.5, known, {"other things": (tuple("x" * 100), strange)})
    good = SideEffects([corrupted(0.9), corrupted(0.7)], ood)
    assert failed(check_side_effects(good, good, 0.02)) == []
    assert failed(check_side_effects(SideEffects(), SideEffects(), 0.02)) == []
    assert failed(check_side_effects(good, SideEffects([corrupted(0.8), corrupted(0.77)], ood), 0.02)) == []
    fragile = SideEffects([corrupted(0.8), corrupted(0.75)], lenient)
    assert [line.split(" is ")[0] for line in failed(check_side_effects(good, fragile, 0.02))] == [
        "ood: the share of other things that it accepts",
        "robustness: the challenger's mean accuracy on corrupted photos",
    ][::-1]
    assert len(failed(check_side_effects(good, SideEffects(), 0.02))) == 3


def test_checks_of_few_photos_can_be_kept() -> None:
    """Plain numbers, whatever numpy computed them from: a record of them is written after the training."""
    answers = np.tile([[0.9, 0.1], [0.1, 0.9]], (9, 1))
    paired = PairedAnswers(["a", "b"] * 9, answers, answers)
    for check in check_challenger(paired, None, ["a", "b"], must_be_better=False, margin=0.05):
        assert {type(check.required), type(check.passed)} == {float, bool}
        assert msgspec.json.encode(check)
