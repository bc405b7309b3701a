"""Folders that a cloud creates and removes: private to the user, and known as its own by a signature inside."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

LOCK = "lock"
SIGNATURE = b"scones_local cloud folder 1\n"
"""How the lock file of every folder of ours begins; the pid of the cloud that uses the folder follows."""
PRIVATE = 0o600
_TRIES = 200


class FolderInUse(OSError):
    """The folder exists, is not empty, and was not created by a local cloud of this user."""


def is_own_folder(folder: Path) -> bool:
    """Whether a local cloud of this user created *folder*; never true for a link."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    # A folder of another user may contain whatever that user likes, also our signature.
    return found.st_uid == os.geteuid() and not folder.is_symlink() and is_signed(folder / LOCK)


def is_signed(file: Path) -> bool:
    """Whether *file* is a regular file, not a link, that begins with our signature."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False
    finally:
        os.close(descriptor)


def claim_folder(folder: Path) -> None:
    """Create *folder* unless it is our own already; an empty folder is replaced.

    Raises:
        FolderInUse: it is a link, or it has content that no local cloud wrote.
        OSError: it cannot be created.
    """
    if is_own_folder(folder):
        return
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise FolderInUse(folder)
    with contextlib.suppress(FileExistsError):
        folder.parent.mkdir(parents=True)
    # Complete before it gets its name: no other process sees the folder without its signature.
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write_private(draft / LOCK, SIGNATURE)
        draft.replace(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not is_own_folder(folder):  # else another cloud of ours was faster
            raise


def empty_folder(folder: Path) -> bool:
    """Remove everything in a folder of ours except its lock, without following links; returns whether all is gone."""
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name != LOCK:
            left.unlink(missing_ok=True)
    return [left.name for left in folder.iterdir()] == [LOCK]


def remove_folder(folder: Path) -> None:
    """Remove *folder* if it is our own, even while processes that are just ending still write in it."""
    for _ in range(_TRIES):
        if not is_own_folder(folder):
            return
        with contextlib.suppress(OSError):
            if empty_folder(folder):
                (folder / LOCK).unlink()
                try:
                    folder.rmdir()
                except OSError:  # a file was written in between: the folder must stay known as ours
                    write_private(folder / LOCK, SIGNATURE)
                    raise
                return
        time.sleep(0.01)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user can read, whole or not at all; a link in its place is replaced."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
