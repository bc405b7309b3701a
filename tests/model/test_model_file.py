"""The model file is complete and verified, or refused."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from scones.model.model_file import InvalidModelFile, ModelDescription, read_model_file, unpack, write_model_file

DESCRIPTION = ModelDescription(
    classes=("bicycle", "motorcycle"),
    image_size=32,
    temperature=0.79,
    data_version="abc123",
    metrics={"oof_accuracy": 0.94},
    created="2026-01-02T03:04:05Z",
    seed=3,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A written model file."""
    (tmp_path / "model.onnx").write_bytes(b"not a real graph")
    (tmp_path / "baseline.npz").write_bytes(b"not a real baseline")
    write_model_file(tmp_path, DESCRIPTION, "# A card\n")
    return tmp_path


def sum_up(folder: Path) -> None:
    """Write the checksums again, over the files that are listed already."""
    sums = folder / "SHA256SUMS"
    names = [line.split()[1] for line in sums.read_text().splitlines()]
    sums.write_text("".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names))


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar of these members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_what_was_written_is_read(folder: Path) -> None:
    """Every field comes back, with the paths and a version of 12 hex digits."""
    model_file = read_model_file(folder)
    assert all(getattr(model_file, name) == getattr(DESCRIPTION, name) for name in ModelDescription.__slots__)
    assert model_file.model_path.read_bytes() == b"not a real graph"
    assert len(model_file.version) == 12


def test_the_checksums_are_those_of_sha256sum(folder: Path) -> None:
    """The stock tool verifies the list too."""
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("this machine has no sha256sum")
    subprocess.run([tool, "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)


def test_the_same_content_has_the_same_version(folder: Path) -> None:
    """The version is the content's, not the moment's; another seed is another version."""
    before = read_model_file(folder).version
    assert write_model_file(folder, DESCRIPTION, "# A card\n").version == before
    assert write_model_file(folder, DESCRIPTION, "# Another card\n").version != before


@pytest.mark.parametrize("name", ["model.onnx", "baseline.npz", "model.json", "MODEL_CARD.md"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    """One byte more, and the model file is bad."""
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(InvalidModelFile, match=f"{name} differs from its checksum"):
        read_model_file(folder)


@pytest.mark.parametrize("name", ["model.onnx", "baseline.npz", "model.json", "MODEL_CARD.md", "SHA256SUMS"])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    """The message names the file."""
    (folder / name).unlink()
    with pytest.raises(InvalidModelFile, match=f"{name} is missing"):
        read_model_file(folder)


def test_a_list_that_leaves_the_model_out_is_refused(folder: Path) -> None:
    """An unlisted model would be an unverified model."""
    sums = folder / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if "onnx" not in line))
    with pytest.raises(InvalidModelFile, match=r"does not list model\.onnx"):
        read_model_file(folder)


def test_a_list_that_leads_outside_is_refused(folder: Path) -> None:
    """Checksums are of the model file's own files."""
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  ../secret\n")
    with pytest.raises(InvalidModelFile, match="not one of its files"):
        read_model_file(folder)


def test_a_model_file_of_an_older_format_is_refused_in_one_line(folder: Path) -> None:
    """It says which format it has, which is expected, and what to do."""
    about = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(about | {"format": "scones-model-1"}))
    sum_up(folder)
    text = "model.json has format 'scones-model-1', not 'scones-model-2'; train again with: scones train"
    with pytest.raises(InvalidModelFile, match=text) as told:
        read_model_file(folder)
    assert "\n" not in str(told.value)


def test_a_model_from_elsewhere_needs_no_detector_and_no_backbone(folder: Path) -> None:
    """Without them it has none; its photos have the model's own size."""
    about = json.loads((folder / "model.json").read_text())
    for name in ("unfamiliar_above", "photo_size", "backbone"):
        del about[name]
    (folder / "model.json").write_text(json.dumps(about))
    sum_up(folder)
    model_file = read_model_file(folder)
    assert (model_file.unfamiliar_above, model_file.photo_size, model_file.backbone) == (None, 32, "")


def test_out_of_fold_answers_are_part_of_it_where_they_lie(folder: Path) -> None:
    """Verified like the rest; earlier model files have none."""
    assert read_model_file(folder).out_of_fold_path is None
    (folder / "out-of-fold.npz").write_bytes(b"not real answers")
    assert write_model_file(folder, DESCRIPTION, "# A card\n").out_of_fold_path == folder / "out-of-fold.npz"
    (folder / "out-of-fold.npz").write_bytes(b"changed")
    with pytest.raises(InvalidModelFile, match=r"out-of-fold\.npz differs from its checksum"):
        read_model_file(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"photo_size": "small"},
        {"unfamiliar_above": "much"},
        {"classes": 5},
        {"metrics": []},
        {"seed": "x"},
    ],
)
def test_a_strange_description_is_refused(folder: Path, change: dict[str, object]) -> None:
    """Valid checksums do not make a valid model.json."""
    about = json.loads((folder / "model.json").read_text()) | change
    (folder / "model.json").write_text(json.dumps(about))
    sum_up(folder)
    with pytest.raises(InvalidModelFile, match=r"model\.json"):
        read_model_file(folder)


def test_a_tarred_model_file_unpacks(folder: Path, tmp_path: Path) -> None:
    """SageMaker's tar, with its leading './' and folder entries, comes back whole."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    unpack(stream.getvalue(), tmp_path / "out")
    assert read_model_file(tmp_path / "out").version == read_model_file(folder).version
    (tmp_path / "model.tar.gz").write_bytes(stream.getvalue())
    unpack(tmp_path / "model.tar.gz", tmp_path / "again")
    assert read_model_file(tmp_path / "again").version == read_model_file(folder).version


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_a_member_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written outside the folder."""
    with pytest.raises(InvalidModelFile, match="not a plain file"):
        unpack(packed((tarfile.TarInfo(name), b"x")), tmp_path / "deep" / "out")
    assert list(tmp_path.rglob("evil")) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    """A link could point the next member anywhere."""
    member = tarfile.TarInfo("model.onnx")
    member.type = kind
    member.linkname = "/etc/passwd"
    with pytest.raises(InvalidModelFile, match="not a plain file"):
        unpack(packed((member, b"")), tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"no archive", packed((tarfile.TarInfo("a"), bytes(10**6)))[:300]])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    """Empty, foreign and cut archives end in the same error."""
    with pytest.raises(InvalidModelFile, match="does not unpack"):
        unpack(data, tmp_path / "out")


def test_another_format_is_said_without_its_bytes(tmp_path: Path) -> None:
    """Python's message quotes the first two as it writes them."""
    with pytest.raises(InvalidModelFile, match=r"does not unpack \(it is not a gzip file\)"):
        unpack(b"root:x:0:0", tmp_path / "out")


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    """The message names the path."""
    with pytest.raises(InvalidModelFile, match=r"nowhere\.tar\.gz"):
        unpack(tmp_path / "nowhere.tar.gz", tmp_path / "out")


def test_reading_a_model_file_loads_nothing_heavy() -> None:
    """Serving starts without a training framework."""
    code = "import sys, scones.model.model_file; print(bool({'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
