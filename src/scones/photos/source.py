"""Where photos come from: CIFAR-100's archive, a folder of one's own, or the rendered sample."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from scones.photos.archive import CIFAR100, BadArchive, collect_archive
from scones.photos.collection import (
    Collection,
    LabelledPhoto,
    LeftOut,
    Progress,
    SourceError,
    Split,
    TooFewPhotos,
)
from scones.photos.download import Archive, DownloadError
from scones.photos.folder import collect_shelf
from scones.photos.sample import collect_sample
from scones.photos.shelf import open_folder

__all__ = ["Collection", "LabelledPhoto", "LeftOut", "Progress", "SourceError", "Split", "TooFewPhotos", "collect"]

_RENDERED: Final = (
    "these are drawings made by Scones itself, not photos: figures measured on them say nothing of photos"
)


def collect(
    source: str, *, classes: tuple[str, ...], cache: Path, progress: Progress, archive: Archive = CIFAR100
) -> Collection:
    """Collect the photos of *source*: `auto`, `cifar100`, `sample` or the path of a folder.

    `auto` means CIFAR-100, or, where it cannot be had within a few seconds, the sample; its `notice` then says so.

    Raises:
        SourceError: the source cannot be used.
    """
    if source == "sample":
        return replace(collect_sample(classes, progress), notice=f"the built-in sample is used: {_RENDERED}")
    if source == "cifar100":
        return collect_archive(archive, classes, cache, progress)
    if source == "auto":
        try:
            return collect_archive(archive, classes, cache, progress)
        except (DownloadError, BadArchive) as error:
            notice = f"CIFAR-100 cannot be had ({error}); the built-in sample is used instead: {_RENDERED}"
            return replace(collect_sample(classes, progress), notice=notice)
    return collect_shelf(open_folder(Path(source).expanduser()), classes, progress)
