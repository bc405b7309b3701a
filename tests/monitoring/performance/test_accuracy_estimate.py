"""The accuracy is estimated without labels, with an interval that holds, and not trusted without similar photos."""

from pathlib import Path

import numpy as np
import pytest

from scones.monitoring.drift.baseline import Baseline, InvalidSimulation, LabelledPhotos, SimulatedDamage
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.stream_statistics import StreamCalibration
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimator


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
