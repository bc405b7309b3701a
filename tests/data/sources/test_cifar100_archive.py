"""CIFAR-100's archive, read record by record from archives in its format."""

import io
import pickle  # noqa: TID251 - a hostile pickle is made here, to show that it is not loaded
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from scones.data.dataset import SourceError
from scones.data.decode import decode
from scones.data.sources.cifar100 import InvalidArchive, read_archive

NAMES = "apple\nbicycle\nbus\nmotorcycle\n"
VEHICLES = ("bicycle", "motorcycle")


def records(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Records of the binary edition, with labels 0 to 3 in turn: uint8 [count, 3074]."""
    rows = np.random.default_rng(seed).integers(0, 256, (count, 3074), dtype=np.uint8)
    rows[:, 1] = np.arange(count) % 4
    return rows


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    """A tar.gz of *files* in a folder, as the publisher packs them."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def good(path: Path, **changes: bytes) -> Path:
    """An archive with 80 training and 20 test records; *changes* replace files (dots written as `_`)."""
    files = {
        "train.bin": records(80, 1).tobytes(),
        "test.bin": records(20, 2).tobytes(),
        "fine_label_names.txt": NAMES.encode(),
    }
    return archive(path, files | {name.replace("_bin", ".bin"): content for name, content in changes.items()})


def test_the_wanted_classes_are_read(tmp_path: Path) -> None:
    """20 of each class to train, 5 to judge, by the archive's own split."""
    found = read_archive(good(tmp_path / "a.tar.gz"), VEHICLES, 10)
    photos = [photo for photo in found if photo.label in VEHICLES]
    assert [
        sum((p.label, p.split) == key for p in photos) for key in (("bicycle", "train"), ("motorcycle", "test"))
    ] == [
        20,
        5,
    ]
    assert len(photos) == 50
    assert len({(p.split, p.name) for p in photos}) == 50
    assert Counter((p.label, p.split) for p in found if p not in photos) == {
        (label, "train"): 10 for label in ("apple", "bus")
    }


def test_the_pixels_are_those_of_the_record(tmp_path: Path) -> None:
    """Three planes, red, green, blue, row by row, become a PNG without loss."""
    found = read_archive(good(tmp_path / "a.tar.gz"), VEHICLES)
    photo = next(photo for photo in found if photo.label == "bicycle")
    assert photo.name == "bicycle-00001.png"
    assert np.array_equal(decode(photo.data, 32), records(80, 1)[1, 2:].reshape(3, 32, 32).transpose(1, 2, 0))


def test_any_class_of_the_archive_can_be_had(tmp_path: Path) -> None:
    """Names come from the archive itself."""
    found = read_archive(good(tmp_path / "a.tar.gz"), ("bus", "apple"))
    assert {p.label for p in found if p.split == "test"} == {"bus", "apple"}


def test_an_unknown_class_is_named_with_the_nearest(tmp_path: Path) -> None:
    """A slip of the keyboard is answered with what may have been meant."""
    with pytest.raises(SourceError, match="no class 'bicicle'; it has, for instance, bicycle"):
        read_archive(good(tmp_path / "a.tar.gz"), ("bicicle", "bus"))


def test_a_truncated_record_is_refused(tmp_path: Path) -> None:
    """Half a photo is no photo."""
    with pytest.raises(InvalidArchive, match="test file ends within a record"):
        read_archive(good(tmp_path / "a.tar.gz", test_bin=records(20, 2).tobytes()[:-100]), VEHICLES)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    """A cut gzip stream is damage, not an end."""
    path = good(tmp_path / "a.tar.gz")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InvalidArchive, match="cannot be read"):
        read_archive(path, VEHICLES)


@pytest.mark.parametrize("content", [b"", b"<html>sign in to this network</html>"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    """A page that a hotel's network put in its place, say."""
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(InvalidArchive):
        read_archive(tmp_path / "a.tar.gz", VEHICLES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The Python edition, or any other tar, holds no train.bin."""
    with pytest.raises(InvalidArchive, match=r"contains no file fine_label_names\.txt"):
        read_archive(archive(tmp_path / "a.tar.gz", {"train": b"", "test": b"", "meta": b""}), VEHICLES)


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """A member that points at the machine's own files is as good as missing."""
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ("train.bin", "test.bin", "fine_label_names.txt"):
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    with pytest.raises(InvalidArchive, match="contains no file"):
        read_archive(path, VEHICLES)


def test_an_endless_member_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A bomb is told by the size that the tar promises."""
    path = good(tmp_path / "a.tar.gz", train_bin=bytes(50_001 * 3074))
    with pytest.raises(InvalidArchive, match="over the 153,700,000 expected"):
        read_archive(path, VEHICLES)


def test_nothing_is_extracted(tmp_path: Path) -> None:
    """A member that would lead outside stays where it is, and so do all others."""
    files = {"train.bin": records(80, 1).tobytes(), "test.bin": records(20, 2).tobytes()}
    path = archive(tmp_path / "a.tar.gz", files | {"fine_label_names.txt": NAMES.encode(), "../../evil": b"x"})
    assert len(read_archive(path, VEHICLES)) == 50
    assert [p.name for p in tmp_path.rglob("*")] == ["a.tar.gz"]


class Hostile:
    """Whoever unpickles this runs a program."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        """Tell pickle to create a file."""
        return (Path.touch, (self.proof,))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["train", "train_bin", "fine_label_names.txt"])
def test_a_hostile_pickle_is_never_loaded(tmp_path: Path, name: str) -> None:
    """Under the Python edition's names or ours: the program in it does not run."""
    proof = tmp_path / "proof"
    hostile = pickle.dumps(Hostile(proof))
    try:
        read_archive(good(tmp_path / "a.tar.gz", **{name: hostile}), VEHICLES)
    except SourceError:
        assert name != "train"
    assert not proof.exists()
    pickle.loads(hostile)  # noqa: S301 - it would have run
    assert proof.exists()


def test_nothing_that_could_unpickle_runs(tmp_path: Path) -> None:
    """Python's own audit events of unpickling stay silent while an archive is read."""
    good(tmp_path / "a.tar.gz")
    code = (
        "import sys; from pathlib import Path; from scones.data.sources.cifar100 import read_archive; heard = []\n"
        "sys.addaudithook(lambda event, _: heard.append(event) if event.startswith(('pickle', 'marshal')) else None)\n"
        f"assert len(read_archive(Path({str(tmp_path / 'a.tar.gz')!r}), ('bicycle', 'motorcycle'))) == 50\n"
        "print([event for event in heard if event.startswith('pickle')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
