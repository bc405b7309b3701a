"""The demo of the loop holds photos back: they arrive later, and no model is trained or tested on them before."""

import numpy as np
import pytest

from scones.cli.demo_loop import IMPORTED, JUDGED, REVIEWED, TESTED, hold_back
from scones.data.dataset import Dataset, SourceError, Split, labelled_photo
from scones.data.decode import png

CLASSES = ("bicycle", "motorcycle")


def dataset(train: int, test: int) -> Dataset:
    """So many photos of each class; names repeat in both splits."""
    counts: dict[Split, int] = {"train": train, "test": test}
    photos = [
        labelled_photo(
            f"{number}.png", label, split, png(np.full((2, 2, 3), place % 251, np.uint8)) + bytes([place // 251])
        )
        for place, (split, label, number) in enumerate(
            (split, label, number) for split, count in counts.items() for label in CLASSES for number in range(count)
        )
    ]
    return Dataset("n", "photos", tuple(photos), CLASSES)


@pytest.mark.parametrize("test", [20, 100, 180])
def test_what_arrives_later_is_in_neither_split_and_the_test_set_is_large_enough(test: int) -> None:
    """Equally many of each class arrive, and every photo is in one place."""
    whole = dataset(500, test)
    staged, arriving = hold_back(whole, seed=3)
    assert (staged, arriving) == hold_back(whole, seed=3)
    hashes = [photo.sha256 for photo in (*staged.photos, *arriving)]
    assert sorted(hashes) == sorted(photo.sha256 for photo in whole.photos)
    assert len(arriving) == REVIEWED + JUDGED + IMPORTED
    counts = [sum(photo.label == label for photo in arriving[-JUDGED - IMPORTED :]) for label in CLASSES]
    assert counts[0] == counts[1]
    tested = [photo for photo in staged.photos if photo.split == "test"]
    assert len(tested) == max(TESTED, 2 * test)
    assert len({(photo.label, photo.name) for photo in tested}) == len(tested)


def test_too_few_photos_are_one_clear_error() -> None:
    """It says how many there are and are needed."""
    with pytest.raises(SourceError, match="class 'bicycle' has 120 training photos; the demo of the loop needs"):
        hold_back(dataset(120, 100), seed=0)
