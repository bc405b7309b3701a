"""Every photo is looked at, compared with all others, and kept, noted or left out."""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from scones.data.dataset import Dataset, Split, TooFewPhotos, path_of
from scones.data.validation import ImageFile, SourceContent, build_dataset, validate_images

CLASSES = ("bicycle", "motorcycle")
ROOT = Path(__file__).parents[2]


def scene(seed: int) -> Image.Image:
    """A picture of its own for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC)


def darker(image: Image.Image, percent: int) -> Image.Image:
    """The same picture, with other bytes."""
    return ImageEnhance.Brightness(image).enhance(1 - percent / 100)


def candidate(
    image: Image.Image, name: str, label: str = "bicycle", split: Split = "train", **options: object
) -> ImageFile:
    """A PNG file of *image*."""
    stream = io.BytesIO()
    image.save(stream, "png", **options)
    return ImageFile(name, label, split, f"{label}/{name}", stream.getvalue)


def scenes(count: int, start: int = 0, split: Split = "train") -> list[ImageFile]:
    """So many different photos of each class."""
    return [
        candidate(scene(start + 1000 * place + number), f"{start + number}.png", label, split)
        for place, label in enumerate(CLASSES)
        for number in range(count)
    ]


def collect(candidates: Sequence[ImageFile], *, split: bool) -> Dataset:
    """Look at the candidates and compare them."""
    seen, left_out = validate_images(candidates, lambda *_: None)
    return build_dataset(SourceContent("mine", "photos", CLASSES, tuple(seen), (), tuple(left_out), split))


def test_a_training_photo_that_shows_a_test_picture_is_left_out() -> None:
    """Mirrored and recompressed, it is a leak all the same; it is counted, listed and paired with its reason."""
    twin = candidate(ImageOps.mirror(scene(500)), "twin.png")
    found = collect([*scenes(12), twin, *scenes(3, 500, "test")], split=True)
    assert "train/bicycle/twin.png" not in map(path_of, found.photos)
    assert [(item.name, item.reason) for item in found.left_out] == [
        ("train/bicycle/twin.png", "shows the same picture as test/bicycle/500.png, which is a test photo")
    ]
    (leak,) = found.findings.leakage
    assert (path_of(leak.one), path_of(leak.other), leak.mirrored) == (
        "test/bicycle/500.png",
        "train/bicycle/twin.png",
        True,
    )
    assert found.findings.near_duplicates == ()


def test_twins_on_one_side_are_kept_and_listed() -> None:
    """They do no harm to the judgement; of two classes, one label must be wrong, and it is noted."""
    twin = candidate(ImageOps.mirror(scene(3)), "twin.png", "motorcycle")
    found = collect([*scenes(12), twin, *scenes(3, 500, "test")], split=True)
    assert len(found.photos) == 31
    (pair,) = found.findings.near_duplicates
    assert path_of(pair.one) == "train/bicycle/3.png"
    assert [(item.name, item.note) for item in found.findings.notes] == [
        ("train/motorcycle/twin.png", "shows the same picture as a photo of another class: train/bicycle/3.png")
    ]


def test_where_scones_splits_twins_stay_together() -> None:
    """None is lost: those whose content would have put them on the other side are moved, and counted."""
    twins = [candidate(darker(scene(number), 3), f"twin {number}.png") for number in range(20)]
    found = collect([*scenes(20), *twins], split=False)
    assert (len(found.photos), found.left_out, found.findings.leakage) == (60, (), ())
    sides = {photo.name: photo.split for photo in found.photos if photo.label == "bicycle"}
    assert all(sides[f"{number}.png"] == sides[f"twin {number}.png"] for number in range(20))
    assert found.findings.reassigned > 0
    assert len(found.findings.near_duplicates) == 20


def test_a_class_of_one_picture_cannot_be_split() -> None:
    """Twenty photos of it are as good as one: the message says what is missing."""
    same = [candidate(darker(scene(7), number), f"{number}.png", "motorcycle") for number in range(20)]
    with pytest.raises(TooFewPhotos, match="5 or more in train/, of other pictures than its test photos'"):
        collect([*(item for item in scenes(20) if item.label == "bicycle"), *same], split=False)


def test_what_is_odd_is_noted_and_what_is_useless_is_left_out() -> None:
    """Each with its reason, and no photo twice."""
    clear = scene(903).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    odd = [
        candidate(scene(901).convert("L"), "gray.png"),
        candidate(clear, "clear.png"),
        candidate(scene(904).convert("RGBA"), "opaque.png"),
        candidate(scene(905), "moving.png", save_all=True, append_images=[scene(906)]),
        candidate(scene(907).resize((20, 31)), "small.png"),
        candidate(Image.new("RGB", (40, 40), "gray"), "blank.png"),
        candidate(scene(908).resize((40, 7)), "tiny.png"),
    ]
    found = collect([*scenes(12), *odd, *scenes(3, 500, "test")], split=True)
    assert {(item.name.rpartition("/")[2], item.note) for item in found.findings.notes} == {
        ("gray.png", "is gray"),
        ("clear.png", "is transparent, white shows through"),
        ("moving.png", "is animated, its first frame is used"),
        ("small.png", "is small (20 x 31 pixels)"),
        ("blank.png", "shows a single color"),
    }
    assert [(item.name, item.reason) for item in found.left_out] == [
        ("bicycle/tiny.png", "is too small (40 x 7 pixels; each side needs at least 8)")
    ]


@pytest.mark.slow
def test_ten_thousand_photos_are_checked_in_little_memory() -> None:
    """Under half a gigabyte, in a process of their own; every planted twin is found, and nothing is lost."""
    command = [sys.executable, "-m", "benchmarks.staging", "--photos", "10000", "--side", "32"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["kept"], found["twins_found"]) == (10_000, found["twins_planted"])
    assert found["peak_mb"] < 500
    assert found["cpu_seconds"] < 120
