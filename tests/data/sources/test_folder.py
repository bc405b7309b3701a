"""Photos from a folder of one's own, tidy or not."""

import io
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from photo_folders import VEHICLES, collect_folder, fill, left_out, names, png, quiet
from scones.data.dataset import ExcludedFile, SourceError, TooFewPhotos
from scones.data.sources.files import FileSource, SourceFile, choose_by_name, open_folder
from scones.data.sources.folder import TEST_ROLES, load_files, role_of, sort_files

Fill = Callable[..., None]


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


SPLIT_NAMES = [
    ("Train", "Test"),
    ("TRAIN", "TEST"),
    ("training_set", "test_set"),
    ("training-set", "testing-set"),
    ("Training Images", "Testing Images"),
    ("trainset", "testset"),
    ("train_data", "val_data"),
    ("train.photos", "validation.photos"),
    ("train", "val"),
    ("train", "valid"),
    ("Trains", "Validations"),
    ("training", "holdout"),
    ("training", "hold-out"),
    ("train", "eval"),
    ("train", "dev"),
    ("train2017", "val2017"),
    ("01_train", "02_test"),
    ("trainval", "test"),
    ("bikes_train", "bikes_test"),
    ("BikesTrain", "BikesTest"),
    ("data-train-v2", "data-test-v2"),
    ("\uff34\uff32\uff21\uff29\uff2e", "\uff34\uff25\uff33\uff34"),  # letters of full width
]


def fill_splits(folder: Path, train: str, test: str, labels: tuple[str, str]) -> None:
    """Ten photos of each class in the folder *train*, and four in *test*."""
    for start, (split, count) in enumerate([(train, 10), (test, 4)]):
        for number, label in enumerate(labels):
            fill(folder / split / label, count, 1000 * start + 100 * number)


@pytest.mark.parametrize(("train", "test"), SPLIT_NAMES)
@pytest.mark.parametrize("labels", [VEHICLES, ("scooter", "van")])
def test_a_layout_that_looks_like_splits_is_never_taken_for_classes(
    tmp_path: Path, train: str, test: str, labels: tuple[str, str]
) -> None:
    """Any usual name of the folders of training and test photos, whatever the classes are called."""
    fill_splits(tmp_path, train, test, labels)
    found = collect_folder(tmp_path, VEHICLES, quiet)
    assert found.classes == labels
    assert sum(photo.split == "test" for photo in found.photos) == 8
    assert found.left_out == ()
    said = " ".join(found.warnings)
    assert train == "train" or f"{train}/ holds the training photos" in said
    assert test == "test" or f"{test}/ holds the test photos" in said


@pytest.mark.parametrize(("train", "test"), SPLIT_NAMES)
def test_splits_without_a_folder_for_each_class_are_refused(tmp_path: Path, train: str, test: str) -> None:
    """Their labels are elsewhere, perhaps in a table: they are no classes."""
    fill(tmp_path / train, 12)
    fill(tmp_path / test, 12, 100)
    with pytest.raises(SourceError, match="without a folder for each class"):
        collect_folder(tmp_path, VEHICLES, quiet)


@pytest.mark.parametrize("name", ["test", "Testing", "val", "holdout_set", "Validation"])
@pytest.mark.parametrize("beside", [(), VEHICLES, ("scooter", "van"), ("val2",)])
def test_test_photos_without_training_photos_are_refused(tmp_path: Path, name: str, beside: tuple[str, ...]) -> None:
    """Also beside folders of classes."""
    for number, label in enumerate(VEHICLES):
        fill(tmp_path / name / label, 3, 100 * number)
    for number, label in enumerate(beside):
        fill(tmp_path / label, 12, 1000 + 100 * number)
    with pytest.raises(SourceError, match=r"but no train/.*name it in the setting classes"):
        collect_folder(tmp_path, VEHICLES, quiet)


@pytest.mark.parametrize("classes", [("bus", "train"), ("test", "train"), ("valid", "invalid"), ("Train", "Test")])
def test_a_class_of_the_settings_is_a_class_whatever_its_name_means(tmp_path: Path, classes: tuple[str, str]) -> None:
    """A train is a vehicle, too."""
    for number, label in enumerate(classes):
        fill(tmp_path / label.lower(), 20, 100 * number)
    found = collect_folder(tmp_path, classes, quiet)
    assert (found.classes, found.left_out) == (classes, ())
    assert {photo.label for photo in found.photos} == set(classes)


def test_a_second_set_of_test_photos_is_left_out_with_its_count(tidy: Path) -> None:
    """test/ before validation, validation before others; which one is used is said."""
    for number, name in enumerate(("val", "holdout")):
        fill(tidy / name / "bicycle", 5, 3000 + 100 * number)
    found = collect_folder(tidy, VEHICLES, quiet)
    reason = "is a second set of test photos; test/ is used"
    assert left_out(found) == {"val/": (reason, 5), "holdout/": (reason, 5)}
    assert found.warnings[0] == f"LEFT OUT: holdout/ (5 files) {reason}"
    fill(tidy / "Test" / "bicycle", 5, 4000)
    with pytest.raises(SourceError, match="Test/ and test/ for the same purpose"):
        collect_folder(tidy, VEHICLES, quiet)


@pytest.mark.parametrize(
    "names", [("Bicycles", "motor-cycles"), ("BICYCLE", "Motor_Cycle"), ("bi.cycle", "motor cycles")]
)
def test_class_folders_match_in_case_number_and_separators(tmp_path: Path, names: tuple[str, str]) -> None:
    """The labels are those of the settings."""
    for number, name in enumerate(names):
        fill(tmp_path / name, 20, 100 * number)
    assert collect_folder(tmp_path, VEHICLES, quiet).classes == VEHICLES


def test_two_folders_of_one_class_lose_no_photo(tmp_path: Path) -> None:
    """Photos of the same name in both are told apart by their folder."""
    for number, name in enumerate(("Bicycle", "bicycles", "motorcycle")):
        fill(tmp_path / name, 20, 100 * number)
    found = collect_folder(tmp_path, VEHICLES, quiet)
    assert len(found.photos) == 60
    assert found.left_out == ()
    assert "Bicycle/, bicycles/ are one class, bicycle" in found.warnings


def test_classes_spelled_in_two_ways_in_the_splits_are_one(tmp_path: Path) -> None:
    """train/Van and test/van are the same class where the settings know neither."""
    for start, (split, count) in enumerate([("train", 10), ("test", 4)]):
        for number, label in enumerate(("Scooter", "Van")):
            name = label.lower() if split == "test" else label
            fill(tmp_path / split / name, count, 1000 * start + 100 * number)
    assert collect_folder(tmp_path, VEHICLES, quiet).classes == ("Scooter", "Van")


@pytest.mark.parametrize("place", ["", "train/", "dataset/", "dataset/train/"])
def test_a_class_beyond_the_settings_is_said_first_with_its_count(tmp_path: Path, place: str) -> None:
    """150 photos of scooters are not dropped in silence: a warning, and the first of what is left out."""
    for number, label in enumerate(VEHICLES):
        fill(tmp_path / place / label, 20, 100 * number)
    fill(tmp_path / place / "scooter", 150, 1000)
    (tmp_path / place / "bicycle" / "a.txt").write_text("no photo")
    found = load_files(open_folder(tmp_path), VEHICLES, quiet)
    assert (found.left_out[0].name, found.left_out[0].files) == ("scooter/", 150)
    assert found.warnings[0] == "LEFT OUT: scooter/ (150 files) is not one of the classes"
    assert any("name all in the setting classes" in line for line in found.warnings)


@pytest.mark.parametrize(
    "place",
    ["dataset", "dataset/dataset", "My Photos 2024", "images", "a/b/c/d"],
)
@pytest.mark.parametrize("splits", [True, False])
def test_folders_of_no_meaning_are_descended_into_and_said(
    tidy: Path, tmp_path: Path, place: str, splits: bool
) -> None:
    """An unpacked archive often has one, with notes beside the photos; outliers/ may be at any of these levels."""
    whole = tmp_path / "whole" / place
    whole.parent.mkdir(parents=True)
    (tidy / "train").rename(whole) if not splits else None
    if splits:
        whole.mkdir()
        for name in ("train", "test"):
            (tidy / name).rename(whole / name)
    (tmp_path / "whole" / "README.md").write_text("Photos of bikes")
    fill(tmp_path / "whole" / "Outliers" / "cups", 3, 7000)
    found = collect_folder(tmp_path / "whole", VEHICLES, quiet)
    assert (len(found.photos), len(found.outliers)) == (28 if splits else 20, 3)
    assert left_out(found) == {"README.md": ("is not in the folder of a class", 1)}
    assert f"the photos are read from the folder {place}/ inside" in found.warnings


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train/train", "test/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/Train", "train/Test"),
        ("test/train", "test/test"),
        ("training/data/train", "testing/data/test"),
    ],
)
@pytest.mark.parametrize("labels", [VEHICLES, ("scooter", "van")])
def test_splits_inside_folders_of_the_same_names_are_found(
    tmp_path: Path, train: str, test: str, labels: tuple[str, str]
) -> None:
    """As some archives unpack."""
    fill_splits(tmp_path, train, test, labels)
    found = collect_folder(tmp_path, VEHICLES, quiet)
    assert (found.classes, sum(photo.split == "test" for photo in found.photos)) == (labels, 8)


def test_folders_of_no_meaning_inside_the_splits_are_descended_into(tmp_path: Path) -> None:
    """train/images/<class>, as exported by labelling tools."""
    for start, (split, count) in enumerate([("train", 10), ("test", 4)]):
        for number, label in enumerate(VEHICLES):
            fill(tmp_path / split / "images" / label, count, 1000 * start + 100 * number)
    found = collect_folder(tmp_path, VEHICLES, quiet)
    assert (found.classes, len(found.photos)) == (VEHICLES, 28)


@pytest.mark.parametrize("labels", [VEHICLES, ("scooter", "van")])
def test_splits_inside_the_classes_are_kept(tmp_path: Path, labels: tuple[str, str]) -> None:
    """<class>/<split>/<photo>: the user's test photos are not mixed into training."""
    for number, label in enumerate(labels):
        fill(tmp_path / label / "Train", 10, 100 * number)
        fill(tmp_path / label / "test_set", 4, 1000 + 100 * number)
    (tmp_path / labels[0] / "stray.png").write_bytes(png(5000))
    found = collect_folder(tmp_path, VEHICLES, quiet)
    assert found.classes == labels
    tested = {photo.data for photo in found.photos if photo.split == "test"}
    assert tested == {path.read_bytes() for path in tmp_path.glob("*/test_set/*")}
    assert left_out(found) == {f"{labels[0]}/stray.png": ("is not in the folder of a class", 1)}


@pytest.mark.parametrize("layout", ["{source}/{label}", "{split}/{source}/{label}", "{source}/{split}/{label}"])
def test_sources_of_photos_are_not_taken_for_classes(tmp_path: Path, layout: str) -> None:
    """Folders of several phones, each with all classes: the names keep the photos of the sources apart."""
    for number, (source, split, label) in enumerate(
        (source, split, label) for source in ("phone-a", "phone-b") for split in ("train", "test") for label in VEHICLES
    ):
        fill(tmp_path / layout.format(source=source, split=split, label=label), 10, 100 * number)
    found = sort_files(open_folder(tmp_path), VEHICLES)
    assert (found.classes, found.left_out) == (VEHICLES, ())
    assert {file.source for file in found.files} == {"phone-a", "phone-b"}
    assert len({(file.split, file.label, file.name) for file in found.files}) == len(found.files)
    assert all(file.name.startswith(f"{file.source}/") for file in found.files)
    assert "phone-a/, phone-b/ hold photos of the same classes" in found.warnings


@pytest.mark.parametrize("layout", ["{label}/{source}", "{split}/{label}/{source}/deep", "{label}/{split}/{source}"])
def test_folders_below_a_class_are_sources(tmp_path: Path, layout: str) -> None:
    """The first one; photos in the class's own folder have none."""
    for number, (source, split, label) in enumerate(
        (source, split, label) for source in ("a", "b") for split in ("train", "test") for label in VEHICLES
    ):
        fill(tmp_path / layout.format(source=source, split=split, label=label), 10, 100 * number)
    fill((tmp_path / layout.format(source="", split="train", label="bicycle").removesuffix("/deep")), 1, 5000)
    found = collect_folder(tmp_path, VEHICLES, quiet)
    assert {photo.source for photo in found.photos} == {"a", "b", ""}
    assert all(photo.source == photo.name.rpartition("/")[0].partition("/")[0] for photo in found.photos)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("labels.csv", "file_name,source\nbicycle/IMG 0.png,a\nmotorcycle/IMG 1.png,b\n"),
        ("Labels.CSV", "source,note,photo\r\na,x,./bicycle/IMG 0.png\r\nb,y,motorcycle\\IMG 1.png\r\n"),
        (
            "metadata.jsonl",
            '{"file_name": "bicycle/IMG 0.png", "source": "a"}\n{"source": "b", "path": "motorcycle/IMG 1.png"}',
        ),
    ],
)
def test_a_table_names_the_sources_of_photos(tmp_path: Path, table: str, text: str) -> None:
    """The other photos keep those of their folders; the table itself is no stray photo."""
    for number, label in enumerate(VEHICLES):
        fill(tmp_path / label, 10, 100 * number)
        fill(tmp_path / label / "phone", 2, 1000 + 100 * number)
    (tmp_path / table).write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = collect_folder(tmp_path, VEHICLES, quiet)
    sources = {f"{photo.label}/{photo.name}": photo.source for photo in found.photos}
    assert (sources.pop("bicycle/IMG 0.png"), sources.pop("motorcycle/IMG 1.png")) == ("a", "b")
    assert {name for name, source in sources.items() if source} == {name for name in sources if "phone" in name}
    assert (found.left_out, found.warnings) == ((), ())


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (b"file_name,label\nbicycle/IMG 0.png,bicycle\n", "labels.csv: has no column source, so it is not used"),
        (b"file_name,source\nbicycle/none.png,a\n", "labels.csv: 1 of its 1 names are of no file"),
        (b"file_name,source\n../../IMG 0.png,a\n", "labels.csv: 1 of its 1 names are of no file"),
        (b"name,source\nbicycle/IMG 0.png,a\n", "labels.csv: 1 of its rows are not used: line 2 names no photo"),
        (b'{"file_name": "bicycle/IMG 0.png", "source": ["a"]}', "not used: line 1 names no source"),
        (b"{no json", "labels.csv: 1 of its rows are not used: line 1 is not a JSON object"),
        (b"\xff\xfef\x00", "labels.csv: is not used: it cannot be read: UnicodeDecodeError"),
        (b"", "labels.csv: has no column source"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tidy: Path, data: bytes, note: str) -> None:
    """It costs no photo."""
    (tidy / "labels.csv").write_bytes(data)
    found = collect_folder(tidy, VEHICLES, quiet)
    assert len(found.photos) == 28
    assert {photo.source for photo in found.photos} == {""}
    (warning,) = found.warnings
    assert note in warning


@pytest.mark.parametrize(("fewer", "said"), [(5, True), (10, True), (19, True), (20, False), (40, False)])
def test_imbalance_is_said(tmp_path: Path, fewer: int, said: bool) -> None:
    """A class with less than half as many photos as another."""
    fill(tmp_path / "bicycle", 40)
    fill(tmp_path / "motorcycle", max(fewer, 10), 1000)
    found = collect_folder(tmp_path, VEHICLES, quiet)
    assert [line for line in found.warnings if line.startswith("class 'motorcycle' has")] == list(found.warnings)
    assert bool(found.warnings) is said


def test_a_test_folder_that_is_the_training_folder_is_refused(tidy: Path) -> None:
    """Nor is one whose photos cannot be read replaced by a part of the training photos."""
    shutil.rmtree(tidy / "test")
    (tidy / "test").symlink_to("train")
    with pytest.raises(SourceError, match="test/ is the same folder as train/, so there are no test photos"):
        collect_folder(tidy, VEHICLES, quiet)


@pytest.mark.parametrize("inside", [[], ["bicycle", "motorcycle"]])
def test_an_empty_test_folder_is_said(tidy: Path, inside: list[str]) -> None:
    """The test photos are then chosen from the training photos, and the user knows."""
    shutil.rmtree(tidy / "test")
    for name in ("", *inside):
        (tidy / "test" / name).mkdir()
    found = collect_folder(tidy, VEHICLES, quiet)
    assert any(photo.split == "test" for photo in found.photos)
    assert "test/ holds no photos: the test photos are chosen from the training photos" in found.warnings


@pytest.mark.parametrize("place", ["test", "test/bicycle", "train/bicycle", "train"])
def test_a_folder_that_cannot_be_read_is_named(tidy: Path, place: str) -> None:
    """No other photos are chosen in the place of its own."""
    found = open_folder(tidy)
    items = tuple(item for item in found.items if not item.path.startswith(f"{place.split('/', maxsplit=1)[0]}/"))
    left = (ExcludedFile(f"{place}/", "cannot be read: Permission denied"),)
    with pytest.raises(SourceError, match=f"{place}/ cannot be read: Permission denied|has test/ but no train/"):
        sort_files(replace(found, items=items, left_out=left), VEHICLES)


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
    with pytest.raises(TooFewPhotos, match=r"'motorcycle' has 9 usable photos.*1 file of it.*ten\.png: is not a PNG"):
        collect_folder(tmp_path, VEHICLES, quiet)


@pytest.mark.parametrize("name", ["dataset" * 36, "train" + "dataset" * 36 + "x", "s" * 255, "train" * 51, "1" * 255])
def test_a_long_name_takes_no_long_time(name: str) -> None:
    """An expression that backtracks would need exponential time for these."""
    assert role_of(name) is None


FOLDERS = st.sampled_from(
    [
        "train",
        "Test",
        "val",
        "holdout",
        "bicycle",
        "Motorcycles",
        "scooter",
        "outliers",
        "dataset",
        "phone",
        ".git",
        "x_train",
        "x_test",
    ]
)
PATHS = st.builds(
    lambda folders, name: "/".join((*folders, name)),
    st.lists(FOLDERS, max_size=4),
    st.sampled_from(["a.png", "b.png", "._a.png", "Thumbs.db"]),
)


@given(st.sets(PATHS, max_size=30))
@settings(max_examples=200)
def test_every_file_of_any_layout_has_one_place(paths: set[str]) -> None:
    """It has a class, or is left out alone or with its folder; no photo of a test folder trains."""
    found, ignored = choose_by_name((SourceFile(path, bytes) for path in sorted(paths)), lambda item: item.path)
    source = FileSource("mine", "folder mine", tuple(found), tuple(ignored))
    try:
        layout = sort_files(source, VEHICLES)
    except SourceError:
        return
    assert len(layout.files) + sum(item.files for item in layout.left_out) == len(paths)
    used = [file.item.path for file in layout.files]
    assert len(set(used)) == len(used)
    assert not {item.name for item in layout.left_out}.intersection(used)
    assert len({(file.split, file.label, file.name) for file in layout.files}) == len(used)
    assert not any(role_of(label) in ("train", *TEST_ROLES) for label in layout.classes)
    for file in layout.files:
        roles = filter(None, map(role_of, file.item.path.split("/")[:-1]))
        if layout.split and "x_" not in file.item.path:
            assert (file.split, next(roles, None)) not in {("train", role) for role in TEST_ROLES}
