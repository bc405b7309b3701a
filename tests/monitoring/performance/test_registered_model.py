"""Replay finds another model within a few photos, and takes numerics for what they are."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scones.data.dataset import Sample
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


@pytest.mark.parametrize(("response", "prediction"), [(b"[0.1, 0.9]", "motorcycle"), (b"oops", ""), (None, "")])
def test_a_probe_without_a_readable_response_has_no_prediction(response: bytes | None, prediction: str) -> None:
    """The endpoint failed, or answered something else."""
    found = ProbeResult.of(Sample("k", "motorcycle", "test", "0"), response, ("bicycle", "motorcycle"))
    assert (found.prediction, found.right) == (prediction, prediction == "motorcycle")
