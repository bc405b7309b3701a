"""One door to every source, and what `auto` falls back to."""

import hashlib
import http.server
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest

from data.sources.test_cifar100_archive import good
from scones.data.dataset import SourceError
from scones.data.loading import load_dataset, load_ood_images
from scones.data.sources.cifar100 import CIFAR100, Archive, DownloadError
from tiny_model import plain_photo

VEHICLES = ("bicycle", "motorcycle")


def quiet(_done: int, _total: int, _what: str) -> None:
    """A progress that is not shown."""


class Silent(http.server.SimpleHTTPRequestHandler):
    """A file server that keeps no log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def cifar(tmp_path: Path) -> Iterator[Archive]:
    """A small archive in CIFAR's format, behind a web address."""
    folder = tmp_path / "web" / "cifar-100-binary"
    folder.mkdir(parents=True)
    for name, count in (("train.bin", 80), ("test.bin", 20)):
        rows = np.random.default_rng(count).integers(0, 256, (count, 3074), dtype=np.uint8)
        rows[:, 1] = np.arange(count) % 2
        (folder / name).write_bytes(rows.tobytes())
    (folder / "fine_label_names.txt").write_text("bicycle\nmotorcycle\n")
    with tarfile.open(folder.parent / "c.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname="cifar-100-binary")
    handler = partial(Silent, directory=folder.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        data = (folder.parent / "c.tar.gz").read_bytes()
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        yield Archive(f"http://127.0.0.1:{server.server_port}/c.tar.gz", md5, "c.tar.gz")
        server.shutdown()


@pytest.mark.parametrize("source", ["auto", "cifar100"])
def test_the_archive_is_used_where_it_can_be_had(cifar: Archive, tmp_path: Path, source: str) -> None:
    """Real photos, and no notice."""
    found = load_dataset(source, classes=VEHICLES, cache=tmp_path / "cache", progress=quiet, archive=cifar)
    assert (found.name, found.kind, found.notice, len(found.photos)) == ("cifar100", "photos", "", 100)


def test_auto_falls_back_to_the_sample_and_says_so(tmp_path: Path) -> None:
    """The notice tells what happened and that drawings are no photos."""
    nowhere = Archive("http://127.0.0.1:9/c.tar.gz", "0" * 32, "c.tar.gz")
    found = load_dataset("auto", classes=VEHICLES, cache=tmp_path, progress=quiet, archive=nowhere)
    assert (found.name, found.kind) == ("sample", "rendered")
    assert "cannot be reached" in found.notice
    assert "not photos" in found.notice


def test_auto_falls_back_on_a_wrong_checksum_too(cifar: Archive, tmp_path: Path) -> None:
    """What a network puts in the archive's place is not trained on."""
    wrong = Archive(cifar.url, "0" * 32, cifar.file_name)
    found = load_dataset("auto", classes=VEHICLES, cache=tmp_path / "cache", progress=quiet, archive=wrong)
    assert found.kind == "rendered"
    assert "checksum" in found.notice


def test_a_cache_that_cannot_be_written_is_named(cifar: Archive, tmp_path: Path) -> None:
    """Asked for by name it is an error, else a notice; a file in the cache's place is left alone."""
    cache = tmp_path / "cache"
    cache.write_text("the user's notes")
    with pytest.raises(DownloadError, match=f"cannot be kept in {cache}"):
        load_dataset("cifar100", classes=VEHICLES, cache=cache, progress=quiet, archive=cifar)
    assert str(cache) in load_dataset("auto", classes=VEHICLES, cache=cache, progress=quiet, archive=cifar).notice
    assert cache.read_text() == "the user's notes"


def test_asked_for_by_name_the_archive_has_no_stand_in(tmp_path: Path) -> None:
    """Whoever says cifar100 gets it, or an error."""
    nowhere = Archive("http://127.0.0.1:9/c.tar.gz", "0" * 32, "c.tar.gz")
    with pytest.raises(DownloadError):
        load_dataset("cifar100", classes=VEHICLES, cache=tmp_path, progress=quiet, archive=nowhere)


def test_an_unknown_class_is_no_reason_to_fall_back(cifar: Archive, tmp_path: Path) -> None:
    """A mistake in the settings is told as one."""
    with pytest.raises(SourceError, match="no class 'van'"):
        load_dataset("auto", classes=("bicycle", "van"), cache=tmp_path / "cache", progress=quiet, archive=cifar)


def test_the_sample_says_what_it_is(tmp_path: Path) -> None:
    """Also when asked for."""
    found = load_dataset("sample", classes=VEHICLES, cache=tmp_path, progress=quiet)
    assert found.kind == "rendered"
    assert "not photos" in found.notice


def test_anything_else_is_a_folder(tmp_path: Path) -> None:
    """And a missing one is an error."""
    with pytest.raises(SourceError, match="there is no folder"):
        load_dataset(str(tmp_path / "nowhere"), classes=VEHICLES, cache=tmp_path, progress=quiet)


def test_collecting_loads_nothing_heavy() -> None:
    """Staging starts quickly."""
    code = "import sys, scones.data.loading; print(bool({'onnx', 'boto3', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


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


@pytest.mark.parametrize("name", ["Test", "testing_set", "val", "hold-out"])
def test_test_photos_of_other_things_are_known_by_any_usual_name(tmp_path: Path, name: str) -> None:
    """As when staging; what is not used is listed with its number."""
    for number, path in enumerate(("train/a.png", "train/b.png", f"{name}/c.png", f"{name}/._c.png", f"{name}/d.txt")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(plain_photo(20 + number) if path.endswith("png") else b"")
    found, left_out = load_ood_images(str(tmp_path), classes=VEHICLES, cache=tmp_path, progress=lambda *_: None)
    assert [photo.name for photo in found] == [f"{name}/c.png"]
    assert sorted((item.name, item.files) for item in left_out) == sorted(
        [(f"{name}/._c.png", 1), (f"{name}/d.txt", 1), (f"folder {tmp_path}", 2)]
    )


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    """It says what to name instead."""
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(SourceError, match="no readable photo"):
        load_ood_images(str(tmp_path), classes=VEHICLES, cache=tmp_path, progress=lambda *_: None)
