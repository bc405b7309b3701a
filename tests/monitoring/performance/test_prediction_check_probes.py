"""Canaries: a few photos that the model knows for certain."""

import numpy as np

from scones.data.manifest import Sample
from scones.monitoring.performance.prediction_check import PROBES_PER_CLASS, is_reliable_probe, probe_images


def test_canaries_are_a_few_test_photos_of_each_class_and_always_the_same() -> None:
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


def test_only_photos_that_the_model_itself_knows_are_canaries() -> None:
    """Wrong, or not sure: such a photo says nothing of the endpoint."""
    classes = ("bicycle", "motorcycle")
    assert is_reliable_probe("bicycle", np.array([0.97, 0.03]), classes)
    assert not is_reliable_probe("motorcycle", np.array([0.97, 0.03]), classes)
    assert not is_reliable_probe("bicycle", np.array([0.8, 0.2]), classes)
