"""What a folder holds: every file is listed, or left out with a reason."""

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from photo_folders import VEHICLES, collect_folder, fill, left_out, names, png, quiet
from scones.data.dataset import ExcludedFile, SourceError

LEFTOVERS = {
    ".DS_Store": "is hidden",
    "Thumbs.db": "belongs to the operating system",
    "desktop.ini": "belongs to the operating system",
    "._IMG 1.png": "holds metadata of macOS",
    "__MACOSX/": "holds metadata of macOS",
    ".git/": "is hidden",
    "@eaDir/": "belongs to the operating system",
}


@pytest.mark.parametrize(("name", "reason"), LEFTOVERS.items())
@pytest.mark.parametrize("place", ["", "train/", "train/bicycle/"])
def test_leftovers_of_file_managers_are_listed(tidy: Path, place: str, name: str, reason: str) -> None:
    """Even where they hold sound photos; a folder is one line with the number of its files."""
    if name.endswith("/"):
        fill(tidy / place / name, 3, 5000)
    else:
        (tidy / place / name).write_bytes(png(5000))
    found = collect_folder(tidy, VEHICLES, quiet)
    assert left_out(found) == {f"{place}{name}": (reason, 3 if name.endswith("/") else 1)}
    assert len(found.photos) == 28


@pytest.mark.parametrize("link", ["test", "train", "train/bicycle", "test/motorcycle", "train/bicycle/more"])
def test_links_to_folders_are_followed(tidy: Path, tmp_path_factory: pytest.TempPathFactory, link: str) -> None:
    """Splits, classes and folders inside them may lie elsewhere."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "folder"
    if (tidy / link).exists():
        (tidy / link).rename(elsewhere)
        extra = 0
    else:
        extra = len(list(fill(elsewhere, 2, 8000).iterdir()))
    (tidy / link).symlink_to(elsewhere)
    found = collect_folder(tidy, VEHICLES, quiet)
    assert (len(found.photos), found.left_out) == (28 + extra, ())
    assert sum(photo.split == "test" for photo in found.photos) == 8


@pytest.mark.parametrize("target", [".", "..", "/", "train", "train/bicycle"])
@pytest.mark.parametrize("place", ["loop", "train/loop", "train/bicycle/loop"])
def test_links_that_lead_back_are_listed_and_not_followed(tidy: Path, place: str, target: str) -> None:
    """No photo is read twice, and no walk runs away over the disk."""
    (tidy / place).symlink_to(target if target == "/" else tidy / target)
    found = collect_folder(tidy, VEHICLES, quiet)
    assert len(found.photos) == 28
    ((name, (reason, _)),) = left_out(found).items()
    assert name == f"{place}/"
    assert reason.startswith(("leads back to ", "is the same folder as "))


def test_many_links_between_folders_take_no_exponential_time(tidy: Path) -> None:
    """Thirty folders that each hold two links to the next: a thousand million paths, each folder listed once."""
    chain = [tidy / "train" / "bicycle" / f"{number:02d}" for number in range(30)]
    for folder in chain:
        folder.mkdir()
    for folder, following in pairwise(chain):
        for name in ("a", "b"):
            (folder / name).symlink_to(following)
    found = collect_folder(tidy, VEHICLES, quiet)
    assert len(found.photos) == 28
    assert len(found.left_out) == 59


ODD_FILES: dict[str, Callable[[Path], object]] = {
    "empty.png": lambda path: path.write_bytes(b""),
    "photo.png.part": lambda path: path.write_bytes(png(1)[:50]),
    "letter.docx": lambda path: path.write_text("Dear Sir"),
    "pipe.png": os.mkfifo,
    "dangling.png": lambda path: path.symlink_to("gone.png"),
    "itself.png": lambda path: path.symlink_to(path.name),
    "tab\there.png": lambda path: path.write_bytes(png(2)),
    "escape\x1b[2J.png": lambda path: path.write_bytes(png(3)),
    "caf\udce9.png": lambda path: path.write_bytes(png(4)),
    "d\udce9p/photo.png": lambda path: fill(path.parent, 1, 5),
    "hollow/": lambda path: path.mkdir(),
    "/".join(letter * 200 for letter in "abcd") + "/": lambda path: fill(path, 1, 6),
}


@pytest.mark.parametrize("name", ODD_FILES)
@pytest.mark.parametrize("place", ["", "train/", "train/bicycle/"])
def test_every_file_found_is_used_or_listed_with_a_reason(tidy: Path, place: str, name: str) -> None:
    """Whatever a folder may hold: one line that can be printed and stored, and all other photos are used."""
    ODD_FILES[name](tidy / place / name)
    found = collect_folder(tidy, VEHICLES, quiet)
    assert len(found.photos) == 28
    (item,) = found.left_out
    assert item.reason
    assert msgspec.json.decode(msgspec.json.encode(item), type=ExcludedFile) == item
    assert item.name.isprintable()


@pytest.mark.parametrize("name", ["photo", "photo.JPG", "photo.tiff", "photo.jpg.backup", "photo.txt"])
def test_the_content_decides_and_not_the_extension(tidy: Path, name: str) -> None:
    """A sound photo is used under any name."""
    (tidy / "train" / "bicycle" / name).write_bytes(png(8000))
    assert f"train/bicycle/{name}" in names(collect_folder(tidy, VEHICLES, quiet))


def test_a_folder_whose_own_name_is_not_utf_8_has_a_name_for_reports(tidy: Path) -> None:
    """It is written into JSON and pages."""
    folder = tidy.parent / "d\udce9p\x1b"
    tidy.rename(folder)
    found = collect_folder(folder, VEHICLES, quiet)
    assert (found.name, len(found.photos)) == ("d\\xe9p\\x1b", 28)


def test_a_broken_link_is_left_out(tidy: Path) -> None:
    """What cannot be read is reported like any other."""
    (tidy / "train" / "bicycle" / "link.png").symlink_to(tidy / "gone.png")
    found = collect_folder(tidy, VEHICLES, quiet)
    assert [(o.name, o.reason) for o in found.left_out] == [
        ("train/bicycle/link.png", "cannot be read: No such file or directory")
    ]


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    """The message names the folder and what else could be given."""
    with pytest.raises(
        SourceError, match=r"there is no folder .*nowhere.* auto, cifar100, sample, s3://bucket/prefix or a folder"
    ):
        collect_folder(tmp_path / "nowhere", VEHICLES, quiet)


def test_names_with_spaces_and_accents_are_kept(tidy: Path) -> None:
    """Decomposed accents, as macOS writes them, are composed; deeper folders are part of the name."""
    deeper = tidy / "train" / "bicycle" / "été à Köln"
    deeper.mkdir()
    (deeper / "velo\u0301 1.png").write_bytes(png(9000))
    assert "train/bicycle/été à Köln/veló 1.png" in names(collect_folder(tidy, VEHICLES, quiet))
