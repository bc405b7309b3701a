"""The accuracy is estimated without labels, with an interval that holds, and not trusted without similar photos."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scones.monitoring.drift.baseline import Baseline, InvalidSimulation, LabelledPhotos, SimulatedDamage
from scones.monitoring.drift.features import FEATURES, Floats, NormalScores
from scones.monitoring.drift.stream_statistics import StreamCalibration
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimator, PredictionSkew, reweight


def judged(count: int, seed: int, damage: float = 0.0, feature: int = 2) -> LabelledPhotos:
    """Photos of which one feature moves with the damage; the model stays as sure, and is wrong more often."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(count, len(FEATURES)))
    table[:, feature] += 3 * damage
    first = rng.uniform(0.85, 1, count)
    first = np.where(rng.random(count) < 0.5, first, 1 - first)
    return LabelledPhotos(table, np.column_stack([first, 1 - first]), rng.random(count) < 0.95 - 0.4 * damage)


@pytest.fixture(scope="module")
def damage() -> SimulatedDamage:
    """Three kinds of damage in three strengths, two of which show in the same feature."""
    kinds = {"dark": 2, "fog": 2, "blur": 4}
    damaged = {
        f"{kind} {part}": judged(120, 10 * place + part, part / 3, feature)
        for place, (kind, feature) in enumerate(kinds.items())
        for part in (1, 2, 3)
    }
    return SimulatedDamage(judged(300, 99), damaged)


@pytest.fixture(scope="module")
def estimator(damage: SimulatedDamage) -> AccuracyEstimator:
    """An estimator, taught once."""
    return AccuracyEstimator.fit(damage)


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0])
def test_damage_is_seen_where_confidence_sees_none(estimator: AccuracyEstimator, amount: float) -> None:
    """The estimate follows the truth within its interval."""
    window = judged(200, 7, amount)
    estimate = estimator.estimate(window.features, window.probabilities)
    truth = window.right.mean()
    assert estimate.low <= truth <= estimate.high
    if amount:
        assert abs(estimate.accuracy - truth) < abs(window.probabilities.max(axis=1).mean() - truth)


def test_known_photos_have_the_same_estimate_in_every_version(estimator: AccuracyEstimator) -> None:
    """The errors in the docs were measured with these."""
    found = [
        estimator.estimate(window.features, window.probabilities) for window in (judged(200, 7, 0.5), judged(30, 8, 1))
    ]
    figures = [(each.accuracy, each.low, each.high) for each in found]
    assert figures == [
        pytest.approx((0.708519, 0.520319, 0.896720), rel=1e-4),
        pytest.approx((0.694740, 0.467415, 0.922065), rel=1e-4),
    ]
    assert all(each.trusted and each.why == "similar photos were simulated" for each in found)
    assert (estimator.max_distance, estimator.confident_above) == pytest.approx((4.077902, 0.8566502), rel=1e-4)
    assert estimator.skew.mix == pytest.approx([0.4611371, 0.5388629], rel=1e-4)


def test_what_was_never_simulated_is_not_trusted(estimator: AccuracyEstimator) -> None:
    """Photos far from all simulated windows get an estimate, and a warning."""
    window = judged(200, 8)
    other = window.features.copy()
    other[:, 5:12] += 50
    assert estimator.estimate(window.features, window.probabilities).trusted
    estimate = estimator.estimate(other, window.probabilities)
    assert not estimate.trusted
    assert "label some" in estimate.why


def test_few_photos_are_not_trusted_and_doubt_is_larger(estimator: AccuracyEstimator) -> None:
    """Five photos prove nothing."""
    few, many = judged(5, 9), judged(200, 9)
    small, large = (estimator.estimate(window.features, window.probabilities) for window in (few, many))
    assert not small.trusted
    assert small.high - small.low >= large.high - large.low


def test_no_photos_have_no_accuracy(estimator: AccuracyEstimator) -> None:
    """Nothing to estimate on is an error."""
    with pytest.raises(InvalidSimulation, match="wait"):
        estimator.estimate(np.empty((0, len(FEATURES))), np.empty((0, 2)))


def test_one_kind_of_damage_teaches_nothing() -> None:
    """There must be one to leave out."""
    with pytest.raises(InvalidSimulation, match="two kinds"):
        SimulatedDamage(judged(50, 0), {"dark 1": judged(50, 1), "dark 2": judged(50, 2)})


def test_a_baseline_keeps_simulated_damage_and_calibration(damage: SimulatedDamage, tmp_path: Path) -> None:
    """What was saved is what is read."""
    whole = Baseline(damage.clean.features, "v1", StreamCalibration(np.arange(6.0).reshape(2, 3)), damage)
    whole.save(tmp_path / "baseline.npz")
    read = Baseline.load(tmp_path / "baseline.npz")
    assert read.calibration is not None
    assert read.calibration.highest.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read.simulated_damage is not None
    assert list(read.simulated_damage.damaged) == list(damage.damaged)
    assert read.simulated_damage.damaged["fog 2"].right.tolist() == damage.damaged["fog 2"].right.tolist()
    assert read.simulated_damage.clean.features == pytest.approx(damage.clean.features, abs=1e-5)
    assert read.simulated_damage.clean.probabilities == pytest.approx(damage.clean.probabilities, abs=1e-5)


def test_simulated_damage_of_an_older_version_is_left_out(damage: SimulatedDamage, tmp_path: Path) -> None:
    """Such a baseline kept how sure the answers were, not the answers; all else of it is read."""
    path = tmp_path / "baseline.npz"
    Baseline(damage.clean.features, "v1", simulated_damage=damage).save(path)
    with np.load(path) as file:
        tables = {name: file[name] for name in file.files}
    answers = tables.pop("judged_probabilities")
    np.savez_compressed(path, allow_pickle=False, **tables, judged_confidence=answers.max(axis=1))
    read = Baseline.load(path)
    assert read.simulated_damage is None
    assert read.values.tolist() == damage.clean.features.tolist()


BRIGHTNESS = FEATURES.index("brightness")
FEW, MANY = 30, 2000


def predicted(count: int, seed: int, second: float = 0.5, skew: float = 0.0) -> tuple[Floats, Floats, np.ndarray]:
    """Channels, calibrated answers, and which are right; the share *second* is of the second class.

    *skew* is added to the second class's log-odds, whatever the photo shows.
    """
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < second
    # Normal log-odds of variance twice the mean are calibrated where both classes come as often.
    odds = rng.normal(np.where(labels, 2, -2), 2, count) + skew
    chance = 1 / (1 + np.exp(-odds))
    features = rng.normal(size=(count, len(FEATURES)))
    features[:, BRIGHTNESS] += np.where(labels, 0.3, -0.3)
    return features, np.column_stack([1 - chance, chance]), (odds > 0) == labels


@pytest.fixture(scope="module")
def normal_scores() -> NormalScores:
    """That of the clean photos."""
    return NormalScores.of(predicted(MANY, 0)[0])


@pytest.fixture(scope="module")
def balance(normal_scores: NormalScores) -> PredictionSkew:
    """What clean photos are like."""
    features, answers, right = predicted(MANY, 0)
    return PredictionSkew.fit(normal_scores, features, answers, float(right.mean()))


def test_clean_photos_are_believed_to_be_as_right_as_they_are(
    balance: PredictionSkew, normal_scores: NormalScores
) -> None:
    """Within what so many photos tell."""
    features, answers, right = predicted(MANY, 1)
    assert balance.confidence(normal_scores, features, answers) == pytest.approx(right.mean(), abs=0.02)


def test_a_lean_is_error_where_pictures_changed(balance: PredictionSkew, normal_scores: NormalScores) -> None:
    """Dark photos that are nearly all predicted as one class get the accuracy that they have."""
    features, answers, right = predicted(MANY, 2, skew=3)
    features[:, BRIGHTNESS] -= 2
    assert answers.max(axis=1).mean() > right.mean() + 0.15
    assert balance.confidence(normal_scores, features, answers) == pytest.approx(right.mean(), abs=0.03)


def test_a_lean_is_another_mix_where_pictures_did_not(balance: PredictionSkew, normal_scores: NormalScores) -> None:
    """Nine in ten of the second class: the pictures look as that class does, and nothing is reweighted."""
    features, answers, right = predicted(MANY, 3, second=0.9)
    assert balance.confidence(normal_scores, features, answers) == pytest.approx(right.mean(), abs=0.03)


def test_a_few_more_of_one_class_are_no_error(balance: PredictionSkew, normal_scores: NormalScores) -> None:
    """Of thirty dark photos six in ten may be of one class by chance."""
    features, answers, _ = predicted(FEW, 4, second=0.6)
    features[:, BRIGHTNESS] -= 2
    plain = answers.max(axis=1).mean()
    assert balance.confidence(normal_scores, features, answers) == pytest.approx(plain, abs=0.03)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 5),
    sharpness=st.floats(0.1, 4),
    skew=st.floats(0, 4),
)
def test_weighed_answers_name_each_class_as_often_as_asked(
    seed: int, classes: int, sharpness: float, skew: float
) -> None:
    """However confident the answers are, and whichever way they skew."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(0, sharpness, (100, classes))
    logs[:, 0] += skew
    mix = rng.dirichlet(np.full(classes, 20.0))
    assert reweight(logs, mix).mean(axis=0) == pytest.approx(mix, abs=1e-3)
