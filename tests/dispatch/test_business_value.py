"""What the classifier is worth: the ways to see the couriers, and how they compare."""

import numpy as np
import pytest

from scones.dispatch.business_value import (
    NO_THRESHOLD,
    ValueSimulation,
    believe,
    hypothetical_classifier,
    measured_classifier,
    simulate_business_value,
)
from scones.dispatch.orders import Rules
from scones.dispatch.simulation import BICYCLE, MOTORCYCLE, UNSURE, City

CLASSES = ("bicycle", "motorcycle")
RULES, THRESHOLD = Rules(), 0.8


def test_a_measured_classifier_has_the_predictions_of_the_photos() -> None:
    """The predictions with their confidence, photo by photo."""
    found = measured_classifier(["bicycle", "motorcycle"], [[0.9, 0.1], [0.7, 0.3]], CLASSES)
    assert found
    assert found.predicted.tolist() == [BICYCLE, BICYCLE]
    assert found.confidence.tolist() == [0.9, 0.7]
    assert found.accuracy == 0.5


def test_another_class_than_the_two_leaves_a_courier_unsure() -> None:
    """The city has rules for bicycles and motorcycles alone; photos of other things say nothing of couriers."""
    classes = ("bicycle", "motorcycle", "tandem")
    answers = [[0.1, 0.2, 0.7], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    found = measured_classifier(["bicycle", "motorcycle", "tandem"], answers, classes)
    assert found
    assert found.predicted.tolist() == [UNSURE, MOTORCYCLE]


def test_without_photos_of_both_vehicles_nothing_was_measured() -> None:
    """Other people's classes have no place in this city."""
    assert measured_classifier(["car"], [[1.0, 0.0]], ("car", "van")) is None
    assert measured_classifier(["bicycle"], [[1.0, 0.0]], CLASSES) is None


@pytest.mark.parametrize("accuracy", [0.6, 0.8, 0.95])
def test_an_imagined_classifier_is_as_right_as_it_says(accuracy: float) -> None:
    """Its accuracy is the one asked for, and in each band of confidence it is right as often as it claims."""
    found = hypothetical_classifier(accuracy)
    assert found.accuracy == pytest.approx(accuracy, abs=0.002)
    right = found.predicted == found.truth
    for low in (0.5, 0.65, 0.8):
        band = (found.confidence >= low) & (found.confidence < low + 0.15)
        if band.sum() > 200:
            assert right[band].mean() == pytest.approx(found.confidence[band].mean(), abs=0.02)


def test_a_courier_below_the_threshold_is_unsure() -> None:
    """The share of the unsure is that of the photos."""
    truth = np.repeat([[BICYCLE, MOTORCYCLE]], 3000, axis=1)
    found = hypothetical_classifier(0.8)
    believed = believe(found, truth, 0.9, seed=0)
    assert np.mean(believed == UNSURE) == pytest.approx(np.mean(found.confidence < 0.9), abs=0.01)
    assert np.mean(believe(found, truth, NO_THRESHOLD, seed=0) == truth) == pytest.approx(0.8, abs=0.01)


def test_a_better_classifier_brings_more_orders_on_time() -> None:
    """Perfect knowledge is best, then the better classifier; looking at the unsure helps; blindness trails."""
    trial = ValueSimulation(City(24, 420), seeds=(0,), accuracies=(0.6, 0.95), thresholds=(NO_THRESHOLD,))
    found = simulate_business_value(hypothetical_classifier(0.9), trial, RULES, THRESHOLD)
    bad, good = (line.on_time.mean for line in found.hypothetical)
    assert found.perfect.on_time.mean >= good > bad
    assert good > found.blind.on_time.mean
    assert [line.threshold for line in found.measured] == [NO_THRESHOLD, THRESHOLD]
    assert found.reviewed
    assert found.reviewed.unsure == found.measured[1].unsure > 0
    assert found.reviewed.on_time.mean > found.measured[1].on_time.mean


def test_without_predictions_only_hypothetical_classifiers_remain() -> None:
    """The report of other people's classes has no line of its own."""
    trial = ValueSimulation(City(6, 60), seeds=(0,), accuracies=(0.9,), thresholds=(NO_THRESHOLD,))
    found = simulate_business_value(None, trial, RULES, THRESHOLD)
    assert (found.measured, found.reviewed) == ((), None)
    assert len(found.hypothetical) == 1
    assert found.perfect.on_time.spread == 0
