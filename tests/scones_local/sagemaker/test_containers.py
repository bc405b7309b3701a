"""Containers: model archives that unpack, and archives that are refused."""

import io
import tarfile
from pathlib import Path

import pytest

from scones_local.sagemaker.containers import ContainerError, pack_folder, unpack_model


def archive_of(*members: tuple[str, bytes | str, bytes]) -> bytes:
    """A model.tar.gz of members (name, content or link's target, type)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content, kind in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if isinstance(content, str):
                member.linkname = content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


FILE, FOLDER, LINK, HARD_LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
GOOD = archive_of(("model.onnx", b"weights" * 1000, FILE))


def test_a_packed_folder_unpacks_to_the_same_files(tmp_path: Path) -> None:
    """With its folders, and with what is executable."""
    source = tmp_path / "source"
    (source / "code" / "empty").mkdir(parents=True)
    (source / "model.onnx").write_bytes(b"weights")
    (source / "code" / "run.sh").write_bytes(b"#!/bin/sh")
    (source / "code" / "run.sh").chmod(0o755)
    unpack_model(pack_folder(source), tmp_path / "target")
    assert sorted(p.relative_to(tmp_path / "target").as_posix() for p in (tmp_path / "target").rglob("*")) == [
        "code",
        "code/empty",
        "code/run.sh",
        "model.onnx",
    ]
    assert (tmp_path / "target" / "model.onnx").read_bytes() == b"weights"
    assert (tmp_path / "target" / "code" / "run.sh").stat().st_mode & 0o100


@pytest.mark.parametrize(("kind", "target"), [(LINK, "model.onnx"), (HARD_LINK, "a/model.onnx")])
def test_a_link_inside_an_archive_becomes_a_copy(tmp_path: Path, kind: bytes, target: str) -> None:
    """A symbolic link's target counts from the link's folder, a hard link's from the top."""
    unpack_model(archive_of(("a/model.onnx", b"weights", FILE), ("a/latest", target, kind)), tmp_path)
    assert (tmp_path / "a" / "latest").read_bytes() == b"weights"
    assert not (tmp_path / "a" / "latest").is_symlink()


def test_a_leading_slash_is_dropped(tmp_path: Path) -> None:
    """As SageMaker's own tar does it."""
    unpack_model(archive_of(("/model.onnx", b"weights", FILE)), tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == b"weights"


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"weights", id="no gzip"),
        pytest.param(GOOD[:-20], id="cut off"),
        pytest.param(GOOD[:30] + b"\xff" * 20 + GOOD[50:], id="damaged"),
        pytest.param(archive_of(("../escaped", b"", FILE)), id="climbs out"),
        pytest.param(archive_of(("a/../../escaped", b"", FOLDER)), id="folder climbs out"),
        pytest.param(archive_of(("a", "/etc/hostname", LINK)), id="link leads out"),
        pytest.param(archive_of(("a", "..", LINK), ("a/escaped", b"", FILE)), id="through a link"),
        pytest.param(archive_of(("a", "a", LINK)), id="link to itself"),
        pytest.param(archive_of(("a", "b", HARD_LINK)), id="link to nothing"),
        pytest.param(archive_of(("a", b"", FILE), ("a/b", b"", FILE)), id="file below a file"),
        pytest.param(archive_of(("a", b"", tarfile.FIFOTYPE)), id="pipe"),
        pytest.param(archive_of(("a", b"", tarfile.CHRTYPE)), id="device"),
    ],
)
def test_an_archive_that_is_no_model_s_is_refused_with_its_reason(tmp_path: Path, archive: bytes) -> None:
    """Nothing is written outside its folder."""
    with pytest.raises(ContainerError, match=r"^the model archive cannot be unpacked: \S"):
        unpack_model(archive, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
