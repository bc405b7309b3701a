"""Out-of-fold answers are kept whole, and a photo is known again by its pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scones.model.out_of_fold import InvalidOutOfFold, OutOfFoldPredictions, fingerprints
from tiny_model import noisy_photos

CLASSES = ("bicycle", "motorcycle", "van")
PHOTOS = noisy_photos(3, seed=3)


def known() -> OutOfFoldPredictions:
    """Three photos: one answered rightly, one wrongly, one rightly and surely."""
    return OutOfFoldPredictions(
        classes=CLASSES,
        names=("bicycle/été 1.png", "bicycle/2.png", "van/3.png"),
        labels=("bicycle", "bicycle", "van"),
        probabilities=np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]]),
        fingerprints=fingerprints(PHOTOS),
    )


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Names with accents and spaces too; numpy needs no pickle for it."""
    known().save(tmp_path / "oof.npz")
    found = OutOfFoldPredictions.load(tmp_path / "oof.npz")
    assert np.array_equal(found.probabilities, known().probabilities)
    assert (found.classes, found.names, found.labels) == (CLASSES, known().names, known().labels)
    assert found.fingerprints == known().fingerprints


def test_votes_on_the_labels_are_kept_where_there_are_some(tmp_path: Path) -> None:
    """Model files of before have none; they must be as many as the probabilities."""
    known().save(tmp_path / "without.npz")
    assert OutOfFoldPredictions.load(tmp_path / "without.npz").votes is None
    voted = replace(known(), votes=np.full((3, 3), 1 / 3))
    voted.save(tmp_path / "with.npz")
    assert np.array_equal(OutOfFoldPredictions.load(tmp_path / "with.npz").votes, np.full((3, 3), 1 / 3))  # type: ignore[arg-type]
    with pytest.raises(InvalidOutOfFold, match="are inconsistent"):
        replace(known(), votes=np.ones((3, 2)))


def test_answers_of_heads_that_saw_no_photo_of_a_source_are_told_by_source() -> None:
    """Only of sources that could be left out; a model from elsewhere does not know its sources."""
    assert known().by_source() is None
    said = np.array([[0.1, 0.9, 0.0], [np.nan] * 3, [0.2, 0.2, 0.6]])
    found = replace(known(), sources=("phone", "", "<city>"), new_source=said).by_source()
    assert found is not None
    assert (found.count, found.sources, found.right.tolist()) == (3, ("phone", "<city>"), [False, True])


def test_what_was_learnt_since_an_earlier_model_is_new_photos_and_new_labels() -> None:
    """A photo is the same under any name."""
    before = replace(known(), names=("a", "b", "c"))
    labels, probabilities = known().learnt_since(before)
    assert (labels, probabilities.shape) == ((), (0, 3))
    corrected = replace(known(), labels=("bicycle", "motorcycle", "van"))
    labels, probabilities = corrected.learnt_since(replace(before, fingerprints=(*known().fingerprints[:2], "other")))
    assert labels == ("motorcycle", "van")
    assert np.array_equal(probabilities, known().probabilities[1:])


def test_right_and_wrong_are_told_for_any_number_of_classes() -> None:
    """The likeliest class is the answer, its probability the confidence."""
    judged = known().scored()
    assert judged.right.tolist() == [True, False, True]
    assert judged.confidence.tolist() == [0.5, 0.8, 0.9]


def test_photos_that_were_learnt_from_are_told_from_others() -> None:
    """One changed pixel makes another photo; the same one is known again, twice over if need be."""
    asked = np.stack([PHOTOS[1], PHOTOS[1], PHOTOS[2], noisy_photos(1, seed=9)[0]])
    asked[2, 0, 0] ^= 255
    assert known().learnt_from(asked).tolist() == [True, True, False, False]
    assert known().learnt_from(asked[:0]).tolist() == []


@pytest.mark.parametrize(
    "change", [{"names": ("a.png",)}, {"labels": ("van",)}, {"fingerprints": ()}, {"probabilities": np.ones((3, 2))}]
)
def test_what_does_not_fit_together_is_refused(change: dict[str, object]) -> None:
    """As many of each as there are photos, a column a class."""
    with pytest.raises(InvalidOutOfFold, match="are inconsistent"):
        replace(known(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty and foreign files end in one line that names the file."""
    path = tmp_path / "oof.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidOutOfFold, match=r"oof\.npz.*train again"):
        OutOfFoldPredictions.load(path)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    """Nothing is guessed from columns that may mean something else by then."""
    np.savez(tmp_path / "oof.npz", format=np.array(1))
    with pytest.raises(InvalidOutOfFold, match="another version of Scones"):
        OutOfFoldPredictions.load(tmp_path / "oof.npz")
