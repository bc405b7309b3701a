"""Photos from a folder of one's own, tidy or not."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scones.data.dataset import Dataset, ProgressCallback, SourceError, TooFewPhotos
from scones.data.sources.folder import load_files, open_folder

VEHICLES = ("bicycle", "motorcycle")
Fill = Callable[..., None]


def quiet(_done: int, _total: int, _what: str) -> None:
    """A progress that is not shown."""


def collect_folder(folder: Path, classes: tuple[str, ...], progress: ProgressCallback) -> Dataset:
    """Collect from a folder of this machine."""
    return load_files(open_folder(folder), classes, progress)


def png(seed: int, side: int = 32) -> bytes:
    """A photo of noise, of its own for each seed."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def fill(folder: Path, count: int, start: int = 0) -> Path:
    """Put *count* photos in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"IMG {number}.png").write_bytes(png(start + number))
    return folder


@pytest.fixture
def tidy(tmp_path: Path) -> Path:
    """A folder with train/ and test/, both with both classes."""
    for start, (split, count) in enumerate([("train", 10), ("test", 4)]):
        for number, label in enumerate(VEHICLES):
            fill(tmp_path / split / label, count, 1000 * start + 100 * number)
    return tmp_path


def names(collection: Dataset) -> list[str]:
    """Every photo's place."""
    return [f"{p.split}/{p.label}/{p.name}" for p in collection.photos]


def test_train_and_test_folders_are_kept(tidy: Path) -> None:
    """The splits are the user's; every photo is there, with its bytes."""
    found = collect_folder(tidy, VEHICLES, quiet)
    assert len(found.photos) == 28
    assert found.left_out == ()
    assert (found.kind, found.name, found.classes) == ("photos", tidy.name, VEHICLES)
    assert found.photos[0].data == (tidy / "train" / "bicycle" / "IMG 0.png").read_bytes()


def test_without_splits_a_fifth_judges(tmp_path: Path) -> None:
    """The same photos are always split in the same way."""
    for number, label in enumerate(VEHICLES):
        fill(tmp_path / label, 40, 100 * number)
    found = collect_folder(tmp_path, VEHICLES, quiet)
    assert {p.split for p in found.photos} == {"train", "test"}
    assert names(found) == names(collect_folder(tmp_path, VEHICLES, quiet))


@pytest.mark.parametrize("split", ["", "train"])
def test_photos_of_other_things_are_kept_apart(tmp_path: Path, split: str) -> None:
    """A folder outliers/ at the top is no class, is not left out, and trains nothing but the guard."""
    for number, label in enumerate(VEHICLES):
        fill(tmp_path / split / label, 20, 100 * number)
    fill(tmp_path / "outliers" / "cups", 5, 1000)
    found = collect_folder(tmp_path, ("cat", "dog"), quiet)
    assert found.classes == VEHICLES
    assert len(found.photos) == 40
    assert [photo.name for photo in found.outliers] == [f"cups/IMG {number}.png" for number in range(5)]
    assert found.left_out == ()


def test_a_train_folder_alone_is_split(tidy: Path) -> None:
    """A missing test/ is taken from train/."""
    (tidy / "test").rename(tidy / "elsewhere")
    found = collect_folder(tidy, VEHICLES, quiet)
    assert any(p.split == "test" for p in found.photos)
    assert [(o.name, o.reason) for o in found.left_out] == [("elsewhere/", "is neither train/ nor test/")]


def test_the_folders_name_the_classes_when_none_was_expected(tmp_path: Path) -> None:
    """Scooters and vans need no settings; the order is alphabetical."""
    for number, label in enumerate(("van", "scooter")):
        fill(tmp_path / label, 20, 100 * number)
    assert collect_folder(tmp_path, VEHICLES, quiet).classes == ("scooter", "van")


def test_the_asked_order_of_classes_is_kept(tidy: Path) -> None:
    """The order of probabilities is the settings', not the alphabet's."""
    assert collect_folder(tidy, ("motorcycle", "bicycle"), quiet).classes == ("motorcycle", "bicycle")


def test_capitals_of_folders_do_not_matter(tmp_path: Path) -> None:
    """ "Bicycle" holds bicycles."""
    for number, label in enumerate(("Bicycle", "MOTORCYCLE")):
        fill(tmp_path / label, 20, 100 * number)
    found = collect_folder(tmp_path, VEHICLES, quiet)
    assert (found.classes, {p.label for p in found.photos}, found.left_out) == (VEHICLES, set(VEHICLES), ())


def test_two_files_never_share_a_name(tidy: Path) -> None:
    """Accents stored in two ways look alike and would overwrite each other: the second is left out."""
    for number, name in enumerate(("é.png", "e\u0301.png")):
        (tidy / "train" / "bicycle" / name).write_bytes(png(7000 + number))
    if len(list((tidy / "train" / "bicycle").iterdir())) < 12:
        pytest.skip("this file system stores one of them only")
    found = collect_folder(tidy, VEHICLES, quiet)
    assert names(found).count("train/bicycle/é.png") == 1
    assert [o.reason for o in found.left_out] == ["has the same name as another photo of its class"]


def test_other_folders_are_left_out_with_a_reason(tidy: Path) -> None:
    """A third class that was not requested is reported."""
    fill(tidy / "train" / "van", 3, 5000)
    found = collect_folder(tidy, VEHICLES, quiet)
    assert [(o.name, o.reason) for o in found.left_out] == [("van/", "is not one of the classes")]


def test_names_with_spaces_and_accents_are_kept(tidy: Path) -> None:
    """Decomposed accents, as macOS writes them, are composed; deeper folders are part of the name."""
    deeper = tidy / "train" / "bicycle" / "été à Köln"
    deeper.mkdir()
    (deeper / "velo\u0301 1.png").write_bytes(png(9000))
    assert "train/bicycle/été à Köln/veló 1.png" in names(collect_folder(tidy, VEHICLES, quiet))


def bomb() -> bytes:
    """A PNG that promises 30,000 x 30,000 pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"a shopping list", "is not a PNG, JPEG, WebP, GIF or BMP image"),
        (png(1, 64)[:3000], "is damaged or truncated (png)"),
        (bomb(), "is too large (30,000 x 30,000 pixels; the limit is 12,000 pixels a side and 64 million in all)"),
    ],
)
def test_what_is_no_photo_is_left_out_with_the_reason(tidy: Path, data: bytes, reason: str) -> None:
    """The others are used; each that is not is listed with its place."""
    (tidy / "train" / "bicycle" / "odd one.png").write_bytes(data)
    found = collect_folder(tidy, VEHICLES, quiet)
    assert len(found.photos) == 28
    assert [(o.name, o.reason) for o in found.left_out] == [("train/bicycle/odd one.png", reason)]


def test_a_broken_link_is_left_out(tidy: Path) -> None:
    """What cannot be read is reported like any other."""
    (tidy / "train" / "bicycle" / "link.png").symlink_to(tidy / "gone.png")
    found = collect_folder(tidy, VEHICLES, quiet)
    assert [(o.name, o.reason) for o in found.left_out] == [
        ("train/bicycle/link.png", "cannot be read: No such file or directory")
    ]


def test_no_photo_tells_its_place(tidy: Path) -> None:
    """What is given on is upright and without EXIF, whatever a phone put into the file; others keep their bytes."""
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x8825] = {1: "N", 2: (48.0, 51.0, 29.0)}
    phone = tidy / "train" / "bicycle" / "phone.jpg"
    Image.open(io.BytesIO(png(77, 40))).crop((0, 0, 40, 30)).save(phone, exif=tags)
    found = {photo.name: photo for photo in collect_folder(tidy, VEHICLES, quiet).photos}
    data = found["phone.jpg"].data
    assert b"Exif" in phone.read_bytes()
    assert b"Exif" not in data
    with Image.open(io.BytesIO(data)) as image:
        assert (image.size, dict(image.getexif())) == ((30, 40), {})


def test_files_in_no_classs_folder_are_listed(tidy: Path) -> None:
    """At the top, or right below train/: never passed over in silence."""
    (tidy / "README.txt").write_text("hello")
    (tidy / "train" / "stray.png").write_bytes(png(78))
    found = collect_folder(tidy, VEHICLES, quiet)
    assert sorted((o.name, o.reason) for o in found.left_out) == [
        ("README.txt", "is not in the folder of a class"),
        ("train/stray.png", "is not in the folder of a class"),
    ]


def test_names_that_no_list_can_carry_are_left_out(tidy: Path) -> None:
    """A tab or a line end would break the lists; a comma in a class's name, the classes."""
    (tidy / "train" / "bicycle" / "a\tb.png").write_bytes(png(79))
    found = collect_folder(tidy, VEHICLES, quiet)
    assert [o.reason for o in found.left_out] == ["has a control character in its name; rename it"]
    fill(tidy / "train" / "van, old", 10, 6000)
    with pytest.raises(SourceError, match="rename the folder without commas"):
        collect_folder(tidy, ("van, old", "bicycle"), quiet)


def test_hidden_files_are_passed_over(tidy: Path) -> None:
    """What a file manager leaves behind is no photo."""
    for name in (".DS_Store", "Thumbs.db"):
        (tidy / "train" / "bicycle" / name).write_bytes(b"x")
    assert collect_folder(tidy, VEHICLES, quiet).left_out == ()


def test_the_same_photo_in_both_splits_only_judges(tidy: Path) -> None:
    """A leak from test into train is closed, and said."""
    data = (tidy / "test" / "bicycle" / "IMG 0.png").read_bytes()
    (tidy / "train" / "bicycle" / "copy.png").write_bytes(data)
    found = collect_folder(tidy, VEHICLES, quiet)
    assert [o.name for o in found.left_out] == ["train/bicycle/copy.png"]


def test_progress_is_told_of_each_photo(tidy: Path) -> None:
    """It ends with all of them done."""
    heard: list[tuple[int, int, str]] = []
    collect_folder(tidy, VEHICLES, lambda done, total, what: heard.append((done, total, what)))
    assert heard[-1] == (28, 28, "reading photos")
    assert len(heard) == 28


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    """The message names the folder and what else could be given."""
    with pytest.raises(
        SourceError, match=r"there is no folder .*nowhere.* auto, cifar100, sample, s3://bucket/prefix or a folder"
    ):
        collect_folder(tmp_path / "nowhere", VEHICLES, quiet)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """The message says how it should look."""
    with pytest.raises(SourceError, match="contains no folders with photos; it should hold one folder"):
        collect_folder(tmp_path, VEHICLES, quiet)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    """There is nothing to tell apart."""
    fill(tmp_path / "van", 20)
    with pytest.raises(SourceError, match=r"only one class \(van\)"):
        collect_folder(tmp_path, VEHICLES, quiet)


def test_a_class_without_a_folder_is_named(tmp_path: Path) -> None:
    """One of the two asked for is missing: that is a mistake, not another set of classes."""
    fill(tmp_path / "bicycle", 20)
    fill(tmp_path / "motorbike", 20, 100)
    with pytest.raises(SourceError, match="no folder 'motorcycle'; folders there: bicycle, motorbike"):
        collect_folder(tmp_path, VEHICLES, quiet)


def test_a_folder_of_text_files_is_refused(tmp_path: Path) -> None:
    """No photo at all is an error, not an empty collection."""
    for label in VEHICLES:
        (tmp_path / label).mkdir()
        (tmp_path / label / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="has 2 files but no readable photo"):
        collect_folder(tmp_path, VEHICLES, quiet)


def test_a_test_folder_alone_is_refused(tidy: Path) -> None:
    """There is nothing to learn from."""
    (tidy / "train").rename(tidy / "hidden")
    with pytest.raises(SourceError, match=r"has test/ but no train/"):
        collect_folder(tidy, VEHICLES, quiet)


def test_nine_photos_of_a_class_are_too_few(tmp_path: Path) -> None:
    """Photos that cannot be read do not count."""
    fill(tmp_path / "bicycle", 20)
    (fill(tmp_path / "motorcycle", 9, 100) / "ten.png").write_text("no photo")
    with pytest.raises(TooFewPhotos, match="'motorcycle' has 9 usable photos"):
        collect_folder(tmp_path, VEHICLES, quiet)
