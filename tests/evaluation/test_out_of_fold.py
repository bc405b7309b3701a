"""A baseline's rows are recognised by the photos that they were measured on."""

import numpy as np
import pytest

from scones.evaluation.out_of_fold import learnt_from, recognise
from scones.monitoring.baseline import Baseline
from scones.monitoring.channels import measure
from tiny_model import noisy_photos

CLASSES = ("bicycle", "motorcycle")


def known(count: int = 40) -> tuple[np.ndarray, list[str], np.ndarray, Baseline]:
    """Photos, their labels, what was said of them, and the baseline of it all."""
    rng = np.random.default_rng(0)
    photos = noisy_photos(count, seed=3)
    second = rng.uniform(0.01, 0.99, count)
    labels = [CLASSES[int(flag)] for flag in rng.random(count) < 0.5]
    return photos, labels, second, Baseline(measure(photos, np.column_stack([1 - second, second])))


def test_each_answer_finds_its_photo_in_any_order() -> None:
    """Shuffled, the photos still say which answers were right, and how sure each was."""
    photos, labels, second, baseline = known()
    order = np.random.default_rng(1).permutation(len(photos))
    found = recognise(baseline, photos[order], [labels[place] for place in order], CLASSES)
    assert found is not None
    right = (second > 0.5) == (np.array(labels) == CLASSES[1])
    assert sorted(zip(found.confidence.round(6), found.right, strict=True)) == sorted(
        zip(np.maximum(second, 1 - second).round(6), right, strict=True)
    )


def test_unknown_photos_are_passed_over() -> None:
    """Half of the photos are there: half of the answers are used; of none there is nothing."""
    photos, labels, _, baseline = known()
    half = recognise(baseline, photos[:20], labels[:20], CLASSES)
    assert half is not None
    assert len(half.right) == 20
    assert recognise(baseline, noisy_photos(20, seed=9), labels[:20], CLASSES) is None


def test_photos_that_look_alike_are_left_out() -> None:
    """Of two equal photos nobody can say which answer was whose."""
    photos, labels, _, baseline = known()
    found = recognise(baseline, np.concatenate([photos, photos[:1]]), [*labels, "bicycle"], CLASSES)
    assert found is not None
    assert len(found.right) == len(photos) - 1


@pytest.mark.parametrize(("count", "classes"), [(0, CLASSES), (40, ("a", "b", "c"))])
def test_what_the_baseline_cannot_tell_is_none(count: int, classes: tuple[str, ...]) -> None:
    """Without photos, and with three classes, there are no out-of-fold answers."""
    photos, labels, _, baseline = known()
    assert recognise(baseline, photos[:count], labels[:count], classes) is None


def test_photos_that_were_learnt_from_are_told_from_others() -> None:
    """One changed pixel makes another photo; a baseline knows its own, twice over if need be."""
    photos, _, _, baseline = known()
    others = noisy_photos(5, seed=9)
    others[0] = photos[3]
    others[1] = photos[3]
    others[2] = photos[4]
    others[2, 0, 0] ^= 255
    assert learnt_from(baseline, others).tolist() == [True, True, False, False, False]
    assert learnt_from(baseline, others[:0]).tolist() == []
