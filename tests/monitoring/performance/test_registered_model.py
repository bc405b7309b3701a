"""Replay finds another model within a few photos, and takes numerics for what they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scones.data.dataset import Sample
from scones.model.model_file import open_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.monitoring.drift.baseline import Baseline, InvalidBaseline
from scones.monitoring.drift.features import FEATURES, ContentDirections
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.performance.registered_model import (
    PROBES_PER_CLASS,
    TOLERANCE,
    ProbeResult,
    UnmatchedPredictions,
    check_predictions,
    open_model,
    probe_images,
)
from tiny_model import plain_photo, tar, write_tiny_model_file

SURE = hnp.arrays(np.float64, st.integers(5, 30), elements=st.floats(0.6, 1)).map(lambda p: np.column_stack([p, 1 - p]))


@given(SURE)
def test_swapped_answers_are_found_after_two_photos(answers: np.ndarray) -> None:
    """Every confident photo differs, and the second one makes it certain."""
    found = check_predictions(answers[:, ::-1], answers)
    assert (found.another_model, found.found_after) == (True, 2)


@given(SURE, st.integers(0, 1000))
def test_numerics_are_no_mismatch(answers: np.ndarray, seed: int) -> None:
    """Differences within the tolerance, as int8 makes them, count for nothing."""
    shaken = answers + np.random.default_rng(seed).uniform(-0.99, 0.99, answers.shape) * TOLERANCE
    found = check_predictions(shaken, answers)
    assert (found.mismatches, found.another_model) == ((), False)


def test_a_difference_of_exactly_the_tolerance_is_none() -> None:
    """A larger one is."""
    expected = np.zeros((2, 2))
    assert check_predictions(np.full((2, 2), TOLERANCE), expected).mismatches == ()
    assert check_predictions(np.full((2, 2), TOLERANCE * 1.001), expected).mismatches == (0, 1)


def test_windows_that_follow_each_other_count_together() -> None:
    """One odd photo in each of two makes it certain, after as many photos as both had until then."""
    answers = np.full((9, 2), 0.5)
    odd = answers.copy()
    odd[4] = [0.9, 0.1]
    first, second = check_predictions(odd, answers), check_predictions(odd[:6], answers[:6])
    both = first.join(second)
    assert (both.photos, both.mismatches, both.found_after) == (15, (4, 13), 14)
    assert both.another_model
    assert both.largest == pytest.approx(0.4)


def test_one_odd_photo_is_named_but_no_verdict() -> None:
    """A photo that was captured badly is not another model."""
    answers = np.full((9, 2), 0.5)
    odd = answers.copy()
    odd[4] = [0.9, 0.1]
    found = check_predictions(odd, answers)
    assert (found.mismatches, found.found_after) == ((4,), None)
    assert found.largest == pytest.approx(0.4)


def test_an_answer_that_is_no_number_is_a_mismatch() -> None:
    """What cannot be compared does not pass as the same."""
    assert check_predictions(np.full((2, 2), np.nan), np.full((2, 2), 0.5)).another_model


def test_no_photos_say_nothing() -> None:
    """Nothing was replayed, and nothing is claimed."""
    assert check_predictions(np.empty((0, 2)), np.empty((0, 2))).photos == 0


def test_answers_of_other_shapes_are_refused() -> None:
    """Three classes cannot be compared with two."""
    with pytest.raises(UnmatchedPredictions, match="captured predictions are"):
        check_predictions(np.zeros((2, 3)), np.zeros((2, 2)))


def test_probes_are_a_few_test_photos_of_each_class_and_always_the_same() -> None:
    """Chosen by content, whatever the order of the manifest."""
    samples = [
        Sample(f"{label}-{number}", label, split, f"{number * 7919 % 100:062d}{label[0]}{split[0]}")
        for number in range(20)
        for label in ("bicycle", "motorcycle")
        for split in ("train", "test")
    ]
    chosen = probe_images(samples)
    assert chosen == probe_images(reversed(samples))
    assert len(chosen) == 2 * PROBES_PER_CLASS
    assert {sample.split for sample in chosen} == {"test"}


def test_only_photos_that_the_model_predicts_correctly_are_probes(tmp_path: Path) -> None:
    """A photo with a wrong or unsure prediction does not test the endpoint."""
    write_tiny_model_file(tmp_path / "model")
    model = open_model(tar(tmp_path / "model"))
    assert model.is_confident_of("bicycle", plain_photo(30))
    assert not model.is_confident_of("motorcycle", plain_photo(30))
    assert not model.is_confident_of("bicycle", plain_photo(125))


def test_a_model_knows_its_training_photos_unless_its_baseline_is_of_others(tmp_path: Path) -> None:
    """They are in the order of the baseline's; a baseline of days of traffic, or of another number, has none."""
    write_tiny_model_file(tmp_path / "model")
    model = open_model(tmp_path / "model", 0.2, seed=3)
    with open_model_file(tmp_path / "model") as model_file:
        predictions = OutOfFoldPredictions.kept(model_file)
    assert predictions
    assert (model.training_photos, model.seed, model.budget.per_thousand) == (predictions.names, 3, 0.2)
    assert (len(model.class_mix), sum(model.class_mix)) == (2, 1)
    photos = len(model.training_photos)
    for days, count, known in ((None, photos, True), (None, photos - 1, False), (np.zeros(photos, int), photos, False)):
        other = Baseline(np.ones((count, len(FEATURES))), days=days)
        assert model.with_baseline(other.to_bytes(), "here").baseline_photos() == (predictions.names if known else ())
    with pytest.raises(InvalidBaseline, match="here"):
        model.with_baseline(b"", "here")


@pytest.mark.parametrize("width", [None, 7, 8])
def test_content_is_measured_where_the_model_shows_the_features_that_training_saw(
    tmp_path: Path, width: int | None
) -> None:
    """Not without any, nor of another network's, nor with a baseline of an earlier release."""
    rows = np.random.default_rng(0).normal(size=(40, 8))
    model = open_model(write_tiny_model_file(tmp_path / "model").model_path.parent)
    features = None if width is None else np.ones((3, width), np.float32)
    assert model.content(features) is None
    directions = ContentDirections.of(rows, np.arange(40) % 2)
    found = replace(model, baseline=replace(model.baseline, content=directions)).content(features)
    assert found is None if width != 8 else found is not None and found.shape == (3, 4)


def test_the_stream_detector_has_the_threshold_of_the_budget(tmp_path: Path) -> None:
    """A baseline without a calibration is calibrated with the model's seed."""
    write_tiny_model_file(tmp_path / "model")
    model = open_model(tmp_path / "model", 0.2)
    assert model.baseline.calibration
    expected = model.baseline.calibration.threshold(model.budget.of_stream()).height
    assert model.stream_detector().threshold.height == expected
    bare = replace(model, baseline=replace(model.baseline, calibration=None), seed=5)
    again = calibrate_stream(model.baseline.values, seed=5).threshold(model.budget.of_stream()).height
    assert bare.stream_detector().threshold.height == pytest.approx(again, rel=1e-6)


@pytest.mark.parametrize(("response", "prediction"), [(b"[0.1, 0.9]", "motorcycle"), (b"oops", ""), (None, "")])
def test_a_probe_without_a_readable_response_has_no_prediction(response: bytes | None, prediction: str) -> None:
    """The endpoint failed, or answered something else."""
    found = ProbeResult.of(Sample("k", "motorcycle", "test", "0"), response, ("bicycle", "motorcycle"))
    assert (found.prediction, found.right) == (prediction, prediction == "motorcycle")
