"""What people labelled joins the training photos; nothing that measures is ever trained on."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from scones.data.dataset import Dataset, LabelledPhoto, TooFewPhotos, labelled_photo
from scones.data.decode import png
from scones.data.growth import LabelledTraffic, grow
from scones.data.image_header import UnreadablePhoto
from scones.data.labels import NOT_A_VEHICLE, WITHDRAWN, Label, LabelOrigin, Purpose

CLASSES = ("bicycle", "motorcycle")


def photo(seed: int) -> bytes:
    """A picture that resembles no other seed's."""
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 8, 3))
    return png(np.repeat(np.repeat(blocks, 4, 0), 4, 1).astype(np.uint8))


def similar(seed: int) -> bytes:
    """The same picture, a little brighter: another file."""
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 8, 3))
    return png(np.clip(np.repeat(np.repeat(blocks, 4, 0), 4, 1) * 0.97 + 5, 0, 255).astype(np.uint8))


def sha(data: bytes) -> str:
    """A photo's id."""
    return hashlib.sha256(data).hexdigest()


def staged() -> Dataset:
    """Twelve photos of each class, of which two are test photos, and one of something else."""
    photos = tuple(
        labelled_photo(f"{seed}.png", CLASSES[seed % 2], "test" if seed < 4 else "train", photo(seed))
        for seed in range(24)
    )
    other = labelled_photo("cup.png", "outliers", "train", photo(99))
    return Dataset("mine", "photos", photos, CLASSES, outliers=(other,))


def said(data: bytes, label: str, **about: object) -> Label:
    """What a person said about a photo."""
    found = Label(sha(data), label, "ann", "2026-11-01T00:00:00Z", uri="s3://b/asked/photo.png")
    return replace(found, **about)  # type: ignore[arg-type]


def reader(*photos: bytes) -> Callable[[Label], bytes]:
    """Reads these photos; all others are gone."""
    known = {sha(data): data for data in photos}

    def read(label: Label) -> bytes:
        if label.photo not in known:
            raise UnreadablePhoto("is gone")
        return known[label.photo]

    return read


def grown(base: Dataset, labels: list[Label], *photos: bytes) -> Dataset:
    """The next dataset."""
    return grow(base, LabelledTraffic.of(labels), reader(*photos), lambda *_: None)


def reasons(found: Dataset) -> str:
    """Why labels were left out."""
    return "; ".join(item.why for item in found.left_out)


def added(found: Dataset) -> Mapping[str, LabelledPhoto]:
    """The photos that have their labels from people, by id."""
    return {it.provenance.photo: it for it in (*found.photos, *found.outliers) if it.provenance}


def test_labelled_photos_train_and_say_who_labelled_them() -> None:
    """The test photos stay; what shows no class joins the photos of other things."""
    new, cup = photo(100), photo(101)
    found = grown(staged(), [said(new, "motorcycle", event="e1"), said(cup, NOT_A_VEHICLE)], new, cup)
    assert found.left_out == ()
    assert [it for it in found.photos if it.split == "test"] == [it for it in staged().photos if it.split == "test"]
    one = added(found)[sha(new)]
    assert (one.label, one.split, one.data) == ("motorcycle", "train", new)
    assert one.provenance
    assert (one.provenance.by, one.provenance.origin, one.provenance.event) == ("ann", "review", "e1")
    assert added(found)[sha(cup)] in found.outliers


@pytest.mark.parametrize("again", [Purpose.MEASURE, Purpose.LEARN])
def test_a_photo_that_was_chosen_to_measure_never_trains(again: Purpose) -> None:
    """Whatever it is labelled for later, by whomever; nor does a photo of the same picture."""
    data = photo(100)
    labels = [
        said(data, "bicycle", purpose=Purpose.MEASURE),
        said(data, "bicycle", by="bob", purpose=again, when="2026-11-02T00:00:00Z"),
        said(similar(100), "bicycle"),
    ]
    found = grown(staged(), labels, data, similar(100))
    assert added(found) == {}
    assert reasons(found) == "shows the same picture as a photo that measures the accuracy"


@pytest.mark.parametrize(
    ("data", "label", "reason"),
    [
        (photo(1), "motorcycle", "is a test photo, and the test photos stay as they are"),
        (similar(1), "motorcycle", "shows the same picture as a test photo"),
        (photo(5), "motorcycle", "is the same photo as train/motorcycle/5.png"),
        (photo(100), "tram", "has the label 'tram', which is no class of this dataset"),
        (b"no photo", "bicycle", "is not a"),
        (photo(200), "bicycle", "is gone"),
    ],
)
def test_what_cannot_be_learned_is_left_out_with_its_reason(data: bytes, label: str, reason: str) -> None:
    """Test photos, photos that are there, unknown classes, files that are no photos, photos that were deleted."""
    there = () if data == photo(200) else (data,)
    found = grown(staged(), [said(data, label)], *there)
    assert reason in reasons(found)
    assert found.photos == staged().photos


def test_another_photo_at_the_place_of_the_labelled_one_is_not_taken() -> None:
    """Its label is about other bytes."""
    label = said(photo(100), "bicycle")
    found = grow(staged(), LabelledTraffic.of([label]), lambda _: photo(101), lambda *_: None)
    assert "is not the one that was labelled" in reasons(found)


def test_corrections_change_training_labels_and_never_test_labels() -> None:
    """A photo of the other class may have the same name; one that shows no class leaves the training photos."""
    correction = {"origin": LabelOrigin.CORRECTION, "uri": ""}
    labels = [
        said(photo(5), "bicycle", **correction),
        said(photo(6), NOT_A_VEHICLE, **correction),
        said(photo(7), "motorcycle", **correction),
        said(photo(0), "motorcycle", **correction),
        said(photo(300), "bicycle", **correction),
    ]
    found = grown(staged(), labels)
    assert {it.sha256: it.label for it in added(found).values()} == {sha(photo(5)): "bicycle", sha(photo(6)): "other"}
    assert len({(it.label, it.name) for it in found.photos}) == len(found.photos) == 23
    assert "is a test photo" in reasons(found)
    assert "corrects a photo that this dataset does not hold" in reasons(found)
    back = grown(found, [said(photo(6), "bicycle", when="2026-11-09T00:00:00Z", **correction)])
    assert sha(photo(6)) in {it.sha256 for it in back.photos if it.label == "bicycle"}


def test_an_earlier_version_keeps_its_photos_after_their_retention_and_gives_up_withdrawn_ones() -> None:
    """What people said last counts each time; a photo that a version holds is not read again."""
    kept, moved, withdrawn, disputed = (photo(seed) for seed in range(100, 104))
    labels = [said(data, "bicycle") for data in (kept, moved, withdrawn, disputed)]
    first = grown(staged(), labels, kept, moved, withdrawn, disputed)
    assert len(added(first)) == 4
    later = {"when": "2026-11-09T00:00:00Z"}
    labels += [
        said(moved, "motorcycle", **later),
        said(withdrawn, WITHDRAWN, **later),
        said(disputed, "motorcycle", by="bob", **later),
    ]
    second = grown(first, labels)
    assert {photo: it.label for photo, it in added(second).items()} == {sha(kept): "bicycle", sha(moved): "motorcycle"}
    assert added(grown(second, [])) == {}


def test_a_reviewer_who_gives_every_photo_one_class_is_named() -> None:
    """The gate decides about the model; people decide about the reviewer."""
    photos = [photo(seed) for seed in range(100, 120)]
    found = grown(staged(), [said(data, "bicycle", by="mallory") for data in photos], *photos)
    assert found.warnings == ("mallory gave all 20 photos the label bicycle; look at some of them",)
    assert len(added(found)) == 20


def test_corrections_may_not_take_the_last_photos_of_a_class() -> None:
    """Training would fail an hour later."""
    labels = [said(photo(seed), "bicycle", origin=LabelOrigin.CORRECTION) for seed in range(5, 24, 2)]
    with pytest.raises(TooFewPhotos, match="motorcycle"):
        grown(staged(), labels)
