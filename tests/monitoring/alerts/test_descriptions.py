"""Shifts are said in words that a person understands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches import CLASSES, baseline, batch
from scones.monitoring.alerts.descriptions import (
    ChangeDirection,
    describe_photo,
    describe_shift,
    estimate_onset,
    most_changed,
    nearest_baseline,
)
from scones.monitoring.drift.features import FEATURES, Floats
from scones.monitoring.drift.window_test import FeatureShift


def said(name: str, before: Floats, now: Floats, classes: tuple[str, ...] = CLASSES) -> str:
    """Describe a shift between two samples."""
    shift = FeatureShift(name, float(np.median(before)), float(np.median(now)), 3.0)
    return str(describe_shift(shift, before, now, threshold=2.0, classes=classes))


@pytest.mark.parametrize(
    ("name", "now", "words"),
    [
        ("brightness", 61.2, "brightness 50% -> 24%: darker than 100% of the baseline's photos"),
        ("certainty", 0.0, "certainty 95% -> 50%: less certain than 100% of the baseline's photos"),
        ("sharpness", 5.0, "sharpness 100% -> 13%: blurrier than 100% of the baseline's photos"),
        ("red_blue", 90.0, "red over blue +2% -> +35%: redder than 100% of the baseline's photos"),
    ],
)
def test_a_shift_is_said_in_units_of_daily_life(name: str, now: float, words: str) -> None:
    """Percents and comparisons, no logarithms."""
    middle = {"brightness": 127.5, "certainty": 3.0, "sharpness": 7.0, "red_blue": 5.0}[name]
    before = np.linspace(middle - 1, middle + 1, 101)
    assert said(name, before, np.full(9, now)) == words


@pytest.mark.parametrize(("usual", "now", "words"), [(0.001, 8.0, "100% -> 2978468 x"), (0.0, 2.0, "0 -> 6.4")])
def test_what_was_next_to_nothing_is_said_in_multiples_or_plainly(usual: float, now: float, words: str) -> None:
    """Not in thousands of percents."""
    assert words in said("noise", np.full(101, usual), np.full(9, now))


def test_as_many_photos_with_a_high_ood_score_as_before_are_no_fewer() -> None:
    """Fewer are less out of distribution."""
    before = np.repeat([1.0, 3.0], [90, 10])
    shift = FeatureShift("ood_score", 1.0, 1.0, 3.0)
    same, fewer = (
        describe_shift(shift, before, now, threshold=2.0, classes=CLASSES) for now in (before, np.full(9, 1.0))
    )
    assert (same.feature, same.word) == ("ood_score", "more out of distribution")
    assert fewer.word == "less out of distribution"


def test_photos_with_a_high_ood_score_are_counted() -> None:
    """Nine in ten of the baseline are alike, so a median would say that nothing changed."""
    before = np.repeat([1.0, 3.0], [90, 10])
    now = np.repeat([1.0, 6.0], [45, 55])
    beyond = "55% of the photos have a higher OOD score than 90% of the baseline's photos"
    assert said("ood_score", before, now) == f"photos with a high OOD score 10% -> 55%: {beyond}"


def test_a_shift_of_the_spread_alone_is_said_to_be_one() -> None:
    """Where the middle stays, the photos are more or less varied."""
    before = np.linspace(-1, 1, 101)
    assert "more varied (3.0 times the spread)" in said("brightness", 120 + before, 120.1 + 3 * before)
    assert "less varied" in said("brightness", 120 + before, 120.1 + before / 3)
    assert "more varied (1.5 times the spread)" in said("brightness", 120 + before, 120.1 + 1.5 * before)
    assert "a little brighter than usual" in said("brightness", 120 + before, 120.1 + before / 1.2)


def test_with_two_classes_the_lean_names_one() -> None:
    """With more it is only how sure the model is of its first choice."""
    before, now = np.linspace(-1, 1, 101), np.full(9, 3.0)
    assert said("log_odds", before, now).startswith(
        "probability of motorcycle 50% -> 95%: more like a motorcycle than 100%"
    )
    assert said("log_odds", before, now, ("a", "b", "c")).startswith("probability of the predicted class")


@given(
    st.sampled_from(FEATURES),
    st.lists(st.floats(-600, 600), min_size=1, max_size=9),
    st.lists(st.floats(-600, 600), min_size=1, max_size=9),
)
def test_any_values_have_words(name: str, before: list[float], now: list[float]) -> None:
    """However odd the features, a line comes of it."""
    line = said(name, np.array(before), np.array(now))
    assert " -> " in line
    assert "\n" not in line


def test_a_photo_is_described_by_what_is_oddest_about_it() -> None:
    """The feature in which it is farthest out, and a feature that was not measured says nothing."""
    values = np.median(baseline(), axis=0)
    values[FEATURES.index("noise")] = 99
    values[FEATURES.index("ood_score")] = np.nan
    assert describe_photo(values, baseline(), CLASSES) == "grainier than 100%"


DARK = (FeatureShift("brightness", 120.0, 70.0, 9.0),)


def test_the_worst_photos_lie_farthest_in_the_direction_of_the_change() -> None:
    """Where photos became darker, a bright one is no example of it; beyond all of the baseline they are equal."""
    photos = batch(brightness=-2)
    values = photos.features.copy()
    values[7, FEATURES.index("brightness")] = 0
    values[8, FEATURES.index("brightness")] = 255
    along = ChangeDirection.of(baseline(), values, DARK).along(values)
    assert along[7] == along.max() == along[most_changed(along, 1)[0]]
    assert most_changed(along, len(along))[-1] == 8


def test_where_only_the_spread_changed_both_ends_are_worst() -> None:
    """Neither direction is the change's own."""
    values = batch().features.copy()
    values[[7, 8], FEATURES.index("brightness")] = 0, 255
    along = ChangeDirection.of(baseline(), values, DARK).along(values)
    assert along[[7, 8]] == pytest.approx(along.max())


def test_the_nearest_photo_of_a_baseline_photo_is_itself() -> None:
    """Over all features, whatever is not measured left out."""
    values = baseline()
    values[:, -1] = np.nan
    assert nearest_baseline(values, values[[3, 50, 200]]).tolist() == [3, 50, 200]


@settings(max_examples=40)
@given(st.integers(0, 90), st.integers(0, 1000))
def test_a_clear_onset_is_found_within_a_few_photos(begins: int, seed: int) -> None:
    """A step of three deviations."""
    rng = np.random.default_rng(seed)
    now = rng.normal(size=100)
    now[begins:] += 3
    assert estimate_onset(rng.normal(size=300), now) == pytest.approx(begins, abs=6)


def test_no_photo_has_no_onset() -> None:
    """Nothing is no error."""
    assert estimate_onset(np.zeros(5), np.zeros(0)) == 0
