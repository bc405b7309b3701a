"""The plain rules that make a collection fit for training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.data.dataset import (
    LabelledPhoto,
    Split,
    TooFewPhotos,
    labelled_photo,
    remove_duplicates,
    require_enough,
    split_by_content,
)

PHOTOS = st.lists(
    st.builds(
        labelled_photo,
        name=st.text(max_size=5),
        label=st.sampled_from(["bicycle", "motorcycle"]),
        split=st.sampled_from(["train", "test"]),
        data=st.binary(max_size=1),
    ),
    max_size=40,
)


def photo(name: str, label: str = "bicycle", split: Split = "train", data: bytes | None = None) -> LabelledPhoto:
    """A photo with content of its own, or with *data*."""
    return labelled_photo(name, label, split, data if data is not None else f"{label} {name}".encode())


def test_a_photo_of_both_splits_only_judges() -> None:
    """The test photo stays, the training photo is left out and says which it equals."""
    kept, left_out = remove_duplicates([photo("a", data=b"x"), photo("b", split="test", data=b"x"), photo("c")])
    assert [p.name for p in kept] == ["b", "c"]
    assert [(o.name, o.reason) for o in left_out] == [("train/bicycle/a", "is the same photo as test/bicycle/b")]


def test_a_photo_with_two_labels_is_left_out_wholly() -> None:
    """It is not known which of the two is true."""
    kept, left_out = remove_duplicates([photo("a", data=b"x"), photo("b", "motorcycle", data=b"x")])
    assert kept == ()
    assert {o.reason for o in left_out} == {"the same photo is labelled bicycle and motorcycle"}


@given(photos=PHOTOS)
def test_duplicates_are_left_out_and_counted(photos: list[LabelledPhoto]) -> None:
    """What is kept is unique, and nothing gets lost."""
    kept, left_out = remove_duplicates(photos)
    assert len({p.data for p in kept}) == len(kept)
    assert len(kept) + len(left_out) == len(photos)
    assert remove_duplicates(kept) == (kept, ())


def test_about_a_fifth_judges() -> None:
    """Of 5,000 photos, 1,000 or so become test photos."""
    photos = split_by_content([photo(str(n)) for n in range(5000)])
    assert 900 < sum(p.split == "test" for p in photos) < 1100


def test_a_photo_stays_in_its_split_when_others_come() -> None:
    """Neither a new name nor new photos beside it move it."""
    before = split_by_content([photo(str(n)) for n in range(100)])
    after = split_by_content([photo(f"new {n}", data=p.data) for n, p in enumerate(before)] + [photo("other")])
    assert [p.split for p in before] == [p.split for p in after[:100]]


@given(numbers=st.sets(st.integers(), min_size=1, max_size=10))
def test_one_photo_of_each_class_judges_however_few_there_are(numbers: set[int]) -> None:
    """A small class has a test photo too."""
    photos = split_by_content([photo(str(n), label) for n in numbers for label in ("bicycle", "motorcycle")])
    assert {p.label for p in photos if p.split == "test"} == {"bicycle", "motorcycle"}


def test_too_few_photos_are_refused_by_class() -> None:
    """The message names the class, what it has and what it needs."""
    nine = [photo(str(n), split="train" if n else "test") for n in range(9)]
    with pytest.raises(TooFewPhotos, match=r"'bicycle' has 9 usable photos.* needs 10 or more"):
        require_enough(nine, ["bicycle"])
    with pytest.raises(TooFewPhotos, match="at least one in test/"):
        require_enough([photo(str(n)) for n in range(20)], ["bicycle"])
    with pytest.raises(TooFewPhotos, match="5 or more in train/"):
        require_enough([photo(str(n), split="test") for n in range(20)], ["bicycle"])
