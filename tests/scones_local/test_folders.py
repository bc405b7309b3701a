"""A local cloud removes only folders that it created, and follows no link."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from access_keys import KEY
from aws_calls import a_bucket, job_request
from scones_local import cloud, folders
from scones_local.cloud import Cloud, StateFolderInUse, start, stop


def with_files(folder: Path) -> Path:
    """A user's folder with a file."""
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("precious")
    return folder


def lock_of_another_program(folder: Path) -> None:
    """A folder of another program, with its lock file."""
    (with_files(folder) / "lock").write_text("999999\n")


def empty_lock(folder: Path) -> None:
    """A folder of another program, with an empty lock file."""
    (with_files(folder) / "lock").write_text("")


def lock_is_a_link(folder: Path) -> None:
    """A folder whose lock file is a link to the signature of a cloud."""
    signed = folder.with_name("signed")
    signed.write_bytes(folders.SIGNATURE)
    (with_files(folder) / "lock").symlink_to(signed)


def lock_is_a_pipe(folder: Path) -> None:
    """A folder whose lock file is a pipe, which blocks whoever opens it."""
    os.mkfifo(with_files(folder) / "lock")


def no_lock(folder: Path) -> None:
    """A folder with files."""
    with_files(folder)


def a_link(folder: Path) -> None:
    """A link to a folder with files."""
    folder.symlink_to(with_files(folder.with_name("elsewhere")))


def a_link_to_a_cloud(folder: Path) -> None:
    """A link to a folder that a cloud has created."""
    folders.claim_folder(folder.with_name("elsewhere"))
    (folder.with_name("elsewhere") / "thesis.txt").write_text("precious")
    folder.symlink_to(folder.with_name("elsewhere"))


FOREIGN = [lock_of_another_program, empty_lock, lock_is_a_link, lock_is_a_pipe, no_lock, a_link, a_link_to_a_cloud]


def content(folder: Path) -> dict[str, str]:
    """The files below *folder*'s parent."""
    return {str(path): path.read_text() for path in folder.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make", FOREIGN)
@pytest.mark.parametrize("role", ["state", "s3_folder"])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path, role: str, make: Callable[[Path], None]) -> None:
    """Whatever is in it, also where S3 would be written: nothing is removed, changed or added."""
    folder = tmp_path / "there"
    make(folder)
    before = content(folder)
    places = {"state": tmp_path / "state", role: folder}
    with pytest.raises(StateFolderInUse, match="there"):
        start(**places)  # type: ignore[arg-type]
    assert content(folder) == before


@pytest.mark.parametrize("make", FOREIGN)
def test_stop_removes_no_foreign_folder(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Neither does `stop`, when the folders of a cloud that has ended were replaced meanwhile."""
    folder = tmp_path / "there"
    make(folder)
    before = content(folder)
    stop(Cloud("http://127.0.0.1:1", 1, folder, 1, KEY, s3_folder=folder))
    cloud.forget(folder)
    assert cloud.find(folder) is None
    assert content(folder) == before


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    """A folder without content may be claimed, and what is claimed is known, private and removed."""
    folder = tmp_path / "empty"
    folder.mkdir(mode=0o755)
    folders.claim_folder(folder)
    folders.claim_folder(folder)
    assert folders.is_own_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folders.remove_folder(folder)
    assert not folder.exists()


def test_links_in_an_own_folder_are_not_followed(tmp_path: Path) -> None:
    """A crashed cloud's folder may hold links: they are removed, and what they point to is not."""
    target, folder = with_files(tmp_path / "elsewhere"), tmp_path / "own"
    folders.claim_folder(folder)
    (folder / "link").symlink_to(target)
    (folder / "deep").mkdir()
    (folder / "deep" / "link").symlink_to(target / "thesis.txt")
    (folder / "cloud.json.draft").symlink_to(target / "thesis.txt")
    folders.write_private(folder / "cloud.json", b"{}")
    assert folders.empty_folder(folder)
    folders.remove_folder(folder)
    assert not folder.exists()
    assert (target / "thesis.txt").read_text() == "precious"


def test_a_foreign_marker_is_left_alone(tmp_path: Path) -> None:
    """A user's file or link with the marker's name is neither written nor removed, nor taken for a marker."""
    for name in ("file", "link"):
        marker, target = tmp_path / f"{name}.up", tmp_path / "target"
        target.write_text("precious")
        if name == "file":
            marker.write_text("precious")
        else:
            marker.symlink_to(target)
        running = start(tmp_path / name)
        cloud.detach(running)
        cloud.stop(running)
        assert not cloud.has_died(tmp_path / name)
        assert marker.read_text() == target.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create a folder of another user")
def test_a_folder_of_another_user_is_foreign(tmp_path: Path) -> None:
    """A signed folder of another user is not ours: its record could send all requests to that user's server."""
    folder = tmp_path / "theirs"
    folders.claim_folder(folder)
    os.chown(folder, 65534, 65534)
    assert not folders.is_own_folder(folder)
    with pytest.raises(StateFolderInUse):
        start(folder)
    assert folder.exists()


@pytest.mark.parametrize("member", ["TrainingJobName", "ChannelName"])
def test_a_name_that_is_a_path_is_refused(clients: Any, tmp_path: Path, member: str) -> None:
    """Folders are named after jobs and channels: a path would be written to and, in the end, removed."""
    folder = with_files(tmp_path / "there")
    request = job_request(a_bucket(clients.s3))
    (request if member == "TrainingJobName" else request["InputDataConfig"][0])[member] = str(folder)
    with pytest.raises(ClientError, match="failed to satisfy constraint"):
        clients.sagemaker.create_training_job(**request)
    assert content(folder) == {str(folder / "thesis.txt"): "precious"}


def test_two_starts_at_once_agree(tmp_path: Path) -> None:
    """Of several processes that start a cloud in the same folder, one succeeds, and the others name it."""
    program = (
        "import sys, pathlib\nfrom scones_local import cloud\n"
        "try: running = cloud.start(pathlib.Path(sys.argv[1]))\n"
        "except cloud.CloudAlreadyRunning: print('running'); sys.exit()\n"
        "print('started', flush=True); sys.stdin.readline(); cloud.stop(running)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "state")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    said = sorted(process.stdout.readline().strip() for process in processes)
    for process in processes:
        process.communicate("\n", timeout=60)
    assert said == ["running", "running", "running", "started"]
    assert list(tmp_path.iterdir()) == []
