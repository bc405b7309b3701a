"""Labels give an exact figure, correct confidence without bias, and are asked for where they tell most."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scones.cli.render import render
from scones.data.labels import InvalidLabels, Label, LabelOrigin, Purpose
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.traffic import RecordedTraffic
from scones.monitoring.performance.labels import (
    PHOTOS_TO_LABEL,
    LabelRequest,
    LabelSample,
    choose_photos,
    compare_labels,
    corrected_accuracy,
    labelled_accuracy,
    measure_accuracy,
)

CONFIDENCE = hnp.arrays(np.float64, st.integers(3, 60), elements=st.floats(0.5, 1))


def too_sure(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence, and which answers are right: fewer than it says."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 1, count)
    return confidence, rng.random(count) < confidence - 0.2


def test_the_exact_figure_has_wilsons_interval() -> None:
    """8 of 10, by the formula; all of none is refused."""
    figure = labelled_accuracy(np.array([True] * 8 + [False] * 2))
    assert (figure.accuracy, figure.labels) == (0.8, 10)
    assert (figure.low, figure.high) == pytest.approx((0.541, 0.931), abs=0.001)
    with pytest.raises(InvalidLabels, match="label some"):
        labelled_accuracy(np.array([], bool))


@given(CONFIDENCE, st.integers(1, 80), st.integers(0, 1000))
def test_exactly_as_many_photos_are_chosen_as_asked(confidence: np.ndarray, count: int, seed: int) -> None:
    """Each once, or all where there are no more; chances are chances and add up."""
    choice = choose_photos(confidence, count, seed)
    assert len(set(choice.photos.tolist())) == len(choice.photos) == min(count, len(confidence))
    assert ((choice.chances > 0) & (choice.chances <= 1)).all()


def test_unsure_photos_are_chosen_more_often() -> None:
    """But even sure ones have a chance, since confidence may be wrong."""
    confidence = np.repeat([0.5, 0.999], 100)
    chosen = np.concatenate([choose_photos(confidence, 20, seed).photos for seed in range(50)])
    assert (chosen < 100).sum() > 2 * (chosen >= 100).sum() > 0


def test_corrected_confidence_is_unbiased_and_its_interval_holds() -> None:
    """Over 300 choices the mean is the truth, nine intervals in ten hold it, and confidence alone is far off."""
    confidence, right = too_sure(200, 0)
    truth, found = right.mean(), []
    for seed in range(300):
        choice = choose_photos(confidence, 30, seed)
        found.append(corrected_accuracy(confidence, choice, right[choice.photos]))
    assert confidence.mean() > truth + 0.12
    assert np.mean([figure.accuracy for figure in found]) == pytest.approx(truth, abs=0.02)
    assert np.mean([figure.low <= truth <= figure.high for figure in found]) >= 0.85


def test_all_labels_leave_no_doubt() -> None:
    """With every photo labelled the figure is the truth."""
    confidence, right = too_sure(50, 1)
    figure = corrected_accuracy(confidence, choose_photos(confidence, 50), right)
    assert figure.accuracy == pytest.approx(right.mean())
    assert figure.high - figure.low < 0.1


@pytest.mark.parametrize(
    ("right", "accuracy"),
    [
        # Right where it was sure: confidence is trusted fully, by half (.025 / .0425), and not at all.
        ([False, False, True, True], 0.475),
        ([False, True, False, True], 0.5 - 0.025 * 0.025 / 0.0425),
        ([True, True, False, False], 0.5),
    ],
)
def test_four_labels_of_eight_photos_by_hand(right: list[bool], accuracy: float) -> None:
    """Chances of one half; the labelled photos are surer by .025 than all, so full trust takes away that much."""
    confidence = np.array([0.5, 0.6, 0.9, 1.0, 0.7, 0.7, 0.7, 0.7])
    choice = LabelSample(np.arange(4), np.full(4, 0.5))
    found = corrected_accuracy(confidence, choice, np.array(right))
    assert found.accuracy == pytest.approx(accuracy)
    assert 0 <= found.low < found.accuracy < found.high <= 1


def test_the_interval_of_four_labels_by_hand() -> None:
    """Residuals -.5, -.6, .1 and 0: variance .37 / 3 / 4, halved since half is labelled; and 2 / 8² for few photos."""
    confidence = np.array([0.5, 0.6, 0.9, 1.0, 0.7, 0.7, 0.7, 0.7])
    choice = LabelSample(np.arange(4), np.full(4, 0.5))
    found = corrected_accuracy(confidence, choice, np.array([False, False, True, True]))
    half = 1.644854 * np.sqrt(0.37 / 3 / 4 / 2 + 2 / 64)
    assert (found.low, found.high) == pytest.approx((0.475 - half, 0.475 + half))


def test_an_interval_stays_between_0_and_1() -> None:
    """All wrong, or all right."""
    choice = LabelSample(np.arange(4), np.full(4, 0.5))
    for right in (False, True):
        found = corrected_accuracy(np.full(8, 0.7), choice, np.full(4, right))
        assert (found.low == 0, found.high == 1) == (not right, right)


def test_a_photo_that_alone_is_unsure_is_always_chosen() -> None:
    """The others share what is left of the number."""
    for seed in range(5):
        choice = choose_photos(np.array([0.5] + [1.0] * 9), 5, seed)
        assert 0 in choice.photos
        assert choice.chances.tolist() == pytest.approx([1.0] + [4 / 9] * 4)


def test_another_seed_asks_for_other_photos() -> None:
    """And the same seed for the same."""
    part = measured()
    one, again, other = (LabelRequest.of("m", part.events, part.probabilities, seed) for seed in (1, 1, 2))
    assert one == again != other


def test_labels_that_do_not_fit_are_refused() -> None:
    """One label for each chosen photo."""
    choice = choose_photos(np.full(10, 0.7), 5)
    with pytest.raises(InvalidLabels, match="give one for each"):
        corrected_accuracy(np.full(10, 0.7), choice, np.ones(4, bool))


CLASSES = ("bicycle", "motorcycle")
PHOTOS = 200


def measured(model: str = "m") -> RecordedTraffic:
    """Photos that were answered as motorcycles, more or less surely."""
    sure = np.random.default_rng(0).uniform(0.5, 1, PHOTOS)
    names = [str(number) for number in range(PHOTOS)]
    return RecordedTraffic(
        model,
        tuple(f"e{name}" for name in names),
        ("",) * PHOTOS,
        tuple(f"h{name}" for name in names),
        np.column_stack([1 - sure, sure]),
        np.zeros((PHOTOS, len(FEATURES))),
    )


def asked(part: RecordedTraffic) -> LabelRequest:
    """Which of them to label."""
    return LabelRequest.of(part.model, part.events, part.probabilities, seed=1)


def test_a_photo_whose_event_has_another_label_costs_no_other_its_label() -> None:
    """Neither of the two is used, and the contradiction is named."""
    labels = {"h5": "motorcycle", "e5": "bicycle", "e6": "motorcycle"}
    found = compare_labels([measured()], labels, None, "m", CLASSES)
    assert (found.photos, found.refused) == (
        1,
        ("photo h5 and its event e5 have different labels: bicycle, motorcycle",),
    )


def test_labels_that_were_asked_for_give_the_accuracy_of_all() -> None:
    """Six in ten are right; the labels of thirty unsure photos say about that, and count as what they are."""
    part = measured()
    right = np.random.default_rng(1).random(PHOTOS) < 0.6
    wanted = asked(part)
    labels = {event: CLASSES[int(right[place])] for event, place in zip(wanted.events, wanted.places, strict=True)}
    found = compare_labels([part, measured("other")], labels | {"lost": "bicycle"}, wanted, "m", CLASSES)
    assert (found.labels, found.photos, found.unknown, found.requested) == (
        PHOTOS_TO_LABEL + 1,
        PHOTOS_TO_LABEL,
        1,
        PHOTOS_TO_LABEL,
    )
    assert found.exact
    assert found.exact.accuracy == pytest.approx(right[list(wanted.places)].mean())
    assert found.corrected is not None
    assert found.corrected.low < right.mean() < found.corrected.high
    assert "accuracy on all photos" in render(found)


def test_a_photo_is_known_by_its_bytes_however_often_it_was_sent() -> None:
    """One label by SHA-256 judges each answer to that photo; without chosen photos there is no corrected figure."""
    part = measured()
    twice = RecordedTraffic.join([part, part.take(np.array([5]))])
    found = compare_labels([twice], {"h5": "motorcycle", "h6": "bicycle"}, None, "m", CLASSES)
    assert found.exact
    assert (found.exact.labels, found.corrected) == (2, None)


def test_some_of_the_requested_labels_are_used_and_the_rest_is_counted() -> None:
    """Twenty of thirty; those of another model's photos are not corrected by."""
    part = measured()
    wanted = asked(part)
    labels = dict.fromkeys(wanted.events[:20], "motorcycle")
    found = compare_labels([part], labels, wanted, "m", CLASSES)
    assert found.corrected is not None
    assert (found.corrected.labels, found.requested) == (20, PHOTOS_TO_LABEL)
    assert "10 of the requested photos have no label" in render(found)
    assert compare_labels([part], labels, asked(measured("other")), "m", CLASSES).corrected is None


def test_labels_of_unrecorded_photos_are_refused() -> None:
    """They may be of another endpoint, or of a model before this one."""
    with pytest.raises(InvalidLabels, match="none of 1 label "):
        compare_labels([measured("other")], {"e1": "bicycle"}, None, "m", CLASSES)


def test_labels_that_contradict_each_other_are_refused() -> None:
    """One by the photo's bytes and one by its event: which of them is right is not guessed."""
    with pytest.raises(InvalidLabels, match="photo h5 and its event e5 have different labels: bicycle, motorcycle"):
        compare_labels([measured()], {"h5": "motorcycle", "e5": "bicycle"}, None, "m", CLASSES)
    assert compare_labels([measured()], {"h5": "motorcycle", "e5": "motorcycle"}, None, "m", CLASSES).unknown == 0


def test_what_was_asked_reads_back_and_damage_is_named() -> None:
    """Between asking and labelling lie days."""
    wanted = asked(measured())
    assert LabelRequest.from_json(wanted.to_json()) == wanted
    with pytest.raises(InvalidLabels, match="cannot be read"):
        LabelRequest.from_json(b"{}")


def labelled(number: int, *, right: bool, **more: object) -> Label:
    """The label of one photo that model m answered as a bicycle."""
    label = Label(f"h{number}", "bicycle" if right else "motorcycle", "ann", "2026-11-30T07:00:00.000000Z")
    known = {"model": "m", "predicted": "bicycle", "seen": "2026-11-29T07:00:00Z", "purpose": Purpose.MEASURE}
    changes: dict[str, Any] = known | more
    return replace(label, **changes)


def test_each_label_counts_for_the_model_that_had_answered() -> None:
    """However late, also after another model was deployed; the newest model comes first."""
    old = [labelled(number, right=number > 2) for number in range(10)]
    new = [labelled(number, right=True, model="n", seen="2026-11-30T01:00:00Z") for number in range(20, 30)]
    found = measure_accuracy([*old, *new])
    assert [(each.model, each.measured.accuracy, each.measured.labels) for each in found if each.measured] == [
        ("n", 1.0, 10),
        ("m", 0.7, 10),
    ]
    assert found[1].days.keys() == {"2026-11-29"}
    assert found[1].classes["bicycle"] == found[1].measured


def test_unsure_photos_do_not_make_the_accuracy_look_worse() -> None:
    """They came to review because the model was unsure; a label of the random share stands for many photos."""
    share = [labelled(number, right=number > 0, chance=0.1) for number in range(10)]
    unsure = [labelled(number, right=False, purpose=Purpose.LEARN) for number in range(20, 60)]
    (found,) = measure_accuracy([*share, *unsure])
    assert found.measured
    assert found.reviewed
    assert found.measured.accuracy == pytest.approx(0.9)
    assert (found.reviewed.accuracy, found.reviewed.labels) == (0.0, 40)
    late = [labelled(number, right=True, origin=LabelOrigin.LATE, purpose=Purpose.LEARN) for number in range(70, 80)]
    (both,) = measure_accuracy([*share, *unsure, *late])
    assert both.measured
    # Ten labels that stand for a hundred photos, and ten that stand for themselves.
    assert both.measured.accuracy == pytest.approx((90 + 10) / 110)
    assert both.measured.high - both.measured.low > 0.1


def test_disputed_withdrawn_and_unanswered_photos_do_not_count() -> None:
    """Nor do corrections of training labels."""
    counted = labelled(1, right=True)
    other = [
        labelled(2, right=True),
        replace(labelled(2, right=False), by="bob"),
        labelled(3, right=True),
        replace(labelled(3, right=True), label="", when="2026-11-30T08:00:00.000000Z"),
        labelled(4, right=True, model=""),
        labelled(5, right=True, origin=LabelOrigin.CORRECTION),
    ]
    (found,) = measure_accuracy([counted, *other])
    assert found.measured
    assert found.measured.labels == 1
    assert measure_accuracy([]) == ()


@pytest.mark.parametrize(
    ("labels", "wrong", "degraded"), [(100, 20, True), (100, 4, False), (29, 29, False), (30, 30, True), (40, 4, False)]
)
def test_enough_labels_below_the_expected_accuracy_are_a_degradation(labels: int, wrong: int, degraded: bool) -> None:
    """The whole interval must be below it, by more than a margin, from thirty labels on."""
    (found,) = measure_accuracy([labelled(number, right=number >= wrong) for number in range(labels)])
    assert found.degraded(0.95) is degraded
