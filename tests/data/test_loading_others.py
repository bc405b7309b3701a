"""The guard is judged by photos that it has not learnt from."""

from dataclasses import replace
from hashlib import md5
from pathlib import Path

import pytest

from data.sources.test_cifar100_archive import VEHICLES, good
from scones.data.dataset import SourceError
from scones.data.loading import load_ood_images
from scones.data.sources.cifar100 import CIFAR100
from tiny_model import plain_photo


def test_the_archives_test_photos_of_other_classes_are_taken(tmp_path: Path) -> None:
    """Its training photos may have taught the guard."""
    path = good(tmp_path / "a.tar.gz")
    digest = md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    archive = replace(CIFAR100, file_name=path.name, md5=digest)
    photos, left_out = load_ood_images(
        "cifar100", classes=VEHICLES, cache=tmp_path, progress=lambda *_: None, archive=archive
    )
    assert {(photo.label, photo.split) for photo in photos} == {("apple", "test"), ("bus", "test")}
    assert (len(photos), left_out) == (10, ())


def test_of_a_folder_test_is_taken_or_all_of_it(tmp_path: Path) -> None:
    """At any depth; hidden files are passed over."""
    for path in ("cats/1.png", "2.png", ".hidden/3.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(plain_photo(len(path)))
    found, _ = load_ood_images(str(tmp_path), classes=VEHICLES, cache=tmp_path, progress=lambda *_: None)
    assert [photo.name for photo in found] == ["2.png", "cats/1.png"]
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "4.png").write_bytes(plain_photo(4))
    found, _ = load_ood_images(str(tmp_path), classes=VEHICLES, cache=tmp_path, progress=lambda *_: None)
    assert [photo.name for photo in found] == ["test/4.png"]


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    """It says what to name instead."""
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(SourceError, match="no readable photo"):
        load_ood_images(str(tmp_path), classes=VEHICLES, cache=tmp_path, progress=lambda *_: None)
