"""Others: photos that show none of the classes, to judge the guard by; never the ones that it learnt from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from scones.photos.archive import CIFAR100, read_others
from scones.photos.check import Candidate, look_at_all
from scones.photos.collection import LabelledPhoto, LeftOut, Progress, SourceError
from scones.photos.download import Archive, fetch
from scones.photos.shelf import open_folder

MOST: Final = 1000
"""Of more photos so many are taken, spread evenly."""
_JUDGES: Final = "test/"

T = TypeVar("T")


def collect_others(
    source: str, *, classes: tuple[str, ...], cache: Path, progress: Progress, archive: Archive = CIFAR100
) -> tuple[tuple[LabelledPhoto, ...], tuple[LeftOut, ...]]:
    """Take photos of other things from *source*, and name those that cannot be used.

    `cifar100` means the archive's test photos of its other classes; of a folder with `test/` in it only that is used.

    Raises:
        SourceError: there is no such source, or no photo in it that can be used.
    """
    if source == "cifar100":
        return _spread(read_others(fetch(archive, cache, progress), classes)), ()
    shelf = open_folder(Path(source).expanduser())
    items = sorted((item for item in shelf.items if "/." not in f"/{item.path}"), key=lambda item: item.path)
    judges = [item for item in items if item.path.startswith(_JUDGES)] or items
    found, left_out = look_at_all(
        [Candidate(item.path, "", "test", item.path, item.read) for item in _spread(judges)], progress
    )
    if not found:
        raise SourceError(f"{shelf.place} has no photo that can be read; name a folder of photos of other things")
    return tuple(seen.photo for seen in found), tuple(left_out)


def _spread(some: Sequence[T]) -> tuple[T, ...]:
    return tuple(some[:: -(-len(some) // MOST) or 1])
