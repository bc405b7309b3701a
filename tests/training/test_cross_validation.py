"""Folds are fair, held-out answers are honest, and choices are made by photos of new sources where there are any."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.training.cross_validation import (
    BLENDS,
    FOLDS,
    MIN_PHOTOS,
    HeldOutPredictor,
    TrainingError,
    assign_folds,
    choose,
    cross_validate,
    source_splits,
)
from scones.training.features import VIEWS, TrainingData
from scones.training.head import PENALTIES, LayerGroups, StudySet
from training.conftest import Study


def labelled(labels: list[int]) -> TrainingData:
    """Labels without photos, and seven outliers."""
    photos = np.zeros((len(labels) + 7, 1, 1, 3), dtype=np.uint8)
    return TrainingData(photos[7:], np.array(labels), max(labels) + 1, photos[:7], ("",) * len(labels))


@given(counts=st.lists(st.integers(MIN_PHOTOS, 40), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_each_fold_has_its_share_of_each_class(counts: list[int], seed: int) -> None:
    """Folds differ by one photo of a class at most, and none lacks a class."""
    labels = [number for number, count in enumerate(counts) for _ in range(count)]
    folds = assign_folds(labelled(labels), seed)
    assert folds.count == min(FOLDS, *counts)
    for number in range(len(counts)):
        sizes = np.bincount(folds.photos[np.array(labels) == number], minlength=folds.count)
        assert sizes.max() - sizes.min() <= 1
        assert sizes.min() >= 1
    assert np.ptp(np.bincount(folds.outliers, minlength=folds.count)) <= 1


def test_a_class_with_fewer_photos_than_needed_is_refused() -> None:
    """One fold would have none to learn from."""
    with pytest.raises(TrainingError, match="a class has 2 photos; training needs 3"):
        assign_folds(labelled([0, 0, 0, 1, 1]), 0)


def made_of(counts: list[int], sources: int = 1, spread: float = 0.5) -> tuple[StudySet, TrainingData, list[str]]:
    """So many photos of each class, with features as a backbone gives them: in place of photos, points around one."""
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(len(counts)), counts)
    middles = rng.normal(0, 1, (len(counts), 32))
    views = [(middles[labels] + spread * rng.normal(0, 1, (len(labels), 32))).astype(np.float16) for _ in range(VIEWS)]
    last, outliers = slice(16, 32), rng.normal(0, 1, (7, 32)).astype(np.float16)
    study = StudySet(views, labels, len(counts), outliers, last, LayerGroups(views, last, None))
    return study, labelled(labels.tolist()), [f"source {number % sources}" for number in range(len(labels))]


@pytest.mark.parametrize(
    ("counts", "sources", "least"),
    [
        ([5] * 64, 1, 0.7),
        ([6] * 10, 3, 0.9),
        ([5, 5], 1, 0.9),
        ([5, 5], 5, 0.9),
        ([3, 3, 3], 1, 0.7),
        ([500, 5], 1, 0.9),
        ([500, 8, 50], 2, 0.9),
    ],
)
def test_any_number_of_classes_of_any_size_is_learnt(counts: list[int], sources: int, least: float) -> None:
    """Many classes, classes of few photos, and those with a hundredth of the others': each is recognized."""
    study, data, names = made_of(counts, sources)
    found = cross_validate(study, assign_folds(data, 0), names, lambda _share: None)
    right = found.photos.log_probabilities.argmax(axis=1) == study.labels
    recalls = [right[study.labels == number].mean() for number in range(len(counts))]
    assert np.mean(recalls) >= least
    assert np.isfinite(found.new_source).all() == (sources > 1)
    assert found.final.weights.shape == (32, len(counts))


def test_a_rare_class_counts_as_much_as_a_common_one() -> None:
    """Where classes overlap, weights keep the head from answering with the common one alone."""
    study, data, names = made_of([500, 20], spread=3)
    found = cross_validate(study, assign_folds(data, 0), names, lambda _share: None)
    answers = found.photos.log_probabilities.argmax(axis=1)
    assert (answers[study.labels == 1] == 1).mean() > 0.6
    assert (answers[study.labels == 0] == 0).mean() > 0.6


def test_every_photo_gets_an_answer_from_a_head_that_never_saw_it(studied: Study) -> None:
    """Wrong labels betray it: the answers follow the stripes, not the labels seen."""
    wrong = np.arange(len(studied.data.labels)) % 13 == 0
    labels = np.where(wrong, (studied.data.labels + 1) % 3, studied.data.labels)
    study, heard = replace(studied.study, labels=labels), list[float]()
    folds = assign_folds(replace(studied.data, labels=labels), 0)
    result = cross_validate(study, folds, [""] * len(labels), heard.append)
    agreed = result.photos.log_probabilities.argmax(axis=1) == labels
    assert agreed[~wrong].mean() > 0.9
    assert agreed[wrong].mean() < 0.2
    assert (result.outliers.strangeness != 0).all()
    assert len(result.of_fold) == folds.count
    assert np.isnan(result.new_source).all()
    assert heard == sorted(heard)
    assert heard[-1] == 1
    unseen = HeldOutPredictor(result.of_fold, folds.photos)
    rows = np.array([7, 3, 50])
    again = unseen.ask(study.views[0][rows], rows)
    assert np.allclose(again.log_probabilities, result.photos.log_probabilities[rows], atol=1e-5)


def test_a_photo_of_a_new_source_is_judged_without_its_source(studied: Study) -> None:
    """Labels that are wrong in one source do not come back from it."""
    sources = np.array(studied.data.sources)
    labels = np.where(sources == "source 1", (studied.data.labels + 1) % 3, studied.data.labels)
    folds = assign_folds(replace(studied.data, labels=labels), 0)
    result = cross_validate(replace(studied.study, labels=labels), folds, studied.data.sources, lambda _share: None)
    assert np.allclose(result.new_source.sum(axis=1), 1)
    agreed = result.new_source.argmax(axis=1) == labels
    assert agreed[sources == "source 1"].mean() < 0.3


@pytest.mark.parametrize(
    ("sources", "labels", "left_out"),
    [
        (["a"] * 6, [0, 1] * 3, 0),
        (["a", "a", "b", "b", "c", "c"], [0, 1] * 3, 3),
        (["a", "a", "a", "b", "b", "b"], [0, 0, 0, 1, 1, 1], 0),
        (["a", "a", "b", "b", "c", "c"], [0, 0, 0, 1, 0, 1], 3),
        (["a", "a", "b", "c"], [0, 1, 0, 0], 2),
        (["a"] * 20 + ["b"] * 21, [0] * 20 + [0, *[1] * 20], 0),
        ([f"{n}" for n in range(40)], [0, 1] * 20, FOLDS),
    ],
)
def test_a_source_is_left_out_unless_little_of_a_class_would_be_left(
    studied: Study, sources: list[str], labels: list[int], left_out: int
) -> None:
    """At most as many groups as folds, each source whole in one of them."""
    splits = source_splits(replace(studied.study, labels=np.array(labels), classes=2), sources)
    assert len(splits) == left_out
    for seen, held_out in splits:
        assert not set(np.array(sources)[seen]) & set(np.array(sources)[held_out])
        assert (seen ^ held_out).all()


LABELS = np.arange(200) % 2


def logits(right: float, seed: int = 0) -> np.ndarray:
    """Of photos of which this share is right, all as sure."""
    signs = np.where(np.random.default_rng(seed).random(200) < right, 1, -1) * np.where(LABELS, 1, -1)
    return np.asarray(signs[:, None] * np.array([-1.0, 1.0]))


def test_many_layers_and_the_last_are_chosen_unless_others_are_clearly_better() -> None:
    """They carry over best to other photos; where the last layer knows little, it is left out."""
    names = ("layers", "last", "imagenet")
    alike = {(name, penalty): logits(0.9) for name in names for penalty in PENALTIES}
    assert set(choose(alike, LABELS)) == set(BLENDS[0]) == {"layers", "last"}
    bad = {key: logits(0.99) if key[0] == "layers" else logits(0.5, 1) for key in alike}
    assert set(choose(bad, LABELS)) == {"layers"}


def test_the_penalty_with_the_lowest_loss_is_chosen() -> None:
    """For each group by itself."""
    found = {("last", penalty): logits(0.95 if penalty == PENALTIES[2] else 0.8) for penalty in PENALTIES}
    assert choose(found, LABELS) == {"last": PENALTIES[2]}


def test_sources_that_show_one_class_only_do_not_decide(studied: Study) -> None:
    """They are judged as new ones all the same; the choice is that of the folds."""
    labels = np.minimum(studied.data.labels, 1)
    sources = np.where(labels == 0, "all", np.where(np.arange(len(labels)) % 2, "one", "other")).tolist()
    study, folds = replace(studied.study, labels=labels, classes=2), assign_folds(labelled(labels.tolist()), 0)
    study = replace(study, outliers=study.outliers[:7])
    found = cross_validate(study, folds, sources, lambda _share: None)
    without = cross_validate(study, folds, [""] * len(labels), lambda _share: None)
    assert found.penalties == without.penalties
    assert np.array_equal(np.isfinite(found.new_source[:, 0]), labels == 1)
