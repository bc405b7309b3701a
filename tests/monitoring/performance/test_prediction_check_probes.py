"""Probe images: a few photos that the model predicts with confidence."""

from pathlib import Path

import pytest

from scones.data.manifest import Sample
from scones.monitoring.performance.prediction_check import PROBES_PER_CLASS, ProbeResult, probe_images
from scones.monitoring.performance.registered_model import open_model
from tiny_model import plain_photo, tar, write_tiny_model_file


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
