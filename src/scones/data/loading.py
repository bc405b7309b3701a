"""Load a labelled dataset, or out-of-distribution images, from a folder, CIFAR-100 or the built-in sample."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from scones.config.settings import Settings
from scones.data.dataset import Dataset, ExcludedFile, LabelledPhoto, ProgressCallback, SourceError
from scones.data.sources.cifar100 import (
    CIFAR100,
    Archive,
    DownloadError,
    InvalidArchive,
    download,
    load_cifar100,
    read_ood_images,
)
from scones.data.sources.files import FileSource, open_folder, user_path
from scones.data.sources.folder import TEST_ROLES, load_files, role_of
from scones.data.sources.synthetic import load_sample
from scones.data.validation import ImageFile, validate_images
from scones.domain.progress import Reporter
from scones.domain.text import plural

_RENDERED: Final = "these are drawings by Scones, not photos: figures measured on them say nothing about photos"


_S3: Final = "s3://"
_NAMED: Final = {"auto", "cifar100", "sample"}


def load_configured_dataset(
    settings: Settings, report: Reporter, open_s3: Callable[[str], FileSource] | None = None
) -> Dataset:
    """Load the dataset that the settings name, and report notices about its source.

    *open_s3* lists the photos below an S3 prefix; without it a prefix cannot be read.

    Raises:
        SourceError: the source cannot be used.
    """
    if settings.data.startswith(_S3):
        if open_s3 is None:
            raise SourceError(f"{settings.data} can only be staged; copy the photos to a folder and name that")
        return load_files(open_s3(settings.data), settings.classes, report.progress)
    if settings.data not in _NAMED:
        folder = open_folder(user_path(settings.data))
        return load_files(folder, settings.classes, report.progress)
    collection = load_dataset(
        settings.data,
        classes=settings.classes,
        cache=settings.cache,
        progress=report.progress,
        archive=replace(CIFAR100, outliers_per_class=settings.outliers_per_class),
    )
    if collection.notice:
        report.tell(collection.notice)
    return collection


def load_dataset(
    source: str,
    *,
    classes: tuple[str, ...],
    cache: Path,
    progress: ProgressCallback,
    archive: Archive = CIFAR100,
) -> Dataset:
    """Load the dataset *source*: `auto`, `cifar100`, `sample` or the path of a folder.

    `auto` means CIFAR-100, or the sample if CIFAR-100 is not available within a few seconds; its `notice` says so.

    Raises:
        SourceError: the source cannot be used.
    """
    if source == "sample":
        return replace(load_sample(classes, progress), notice=f"the built-in sample is used: {_RENDERED}")
    if source == "cifar100":
        return load_cifar100(archive, classes, cache, progress)
    if source == "auto":
        try:
            return load_cifar100(archive, classes, cache, progress)
        except (DownloadError, InvalidArchive) as error:
            notice = f"CIFAR-100 is not available ({error}); the built-in sample is used instead: {_RENDERED}"
            return replace(load_sample(classes, progress), notice=notice)
    return load_files(open_folder(user_path(source)), classes, progress)


MAX_OOD_IMAGES: Final = 1000
"""The maximum number of out-of-distribution images; of more, this many are taken, spread evenly."""

T = TypeVar("T")


def load_ood_images(
    source: str, *, classes: tuple[str, ...], cache: Path, progress: ProgressCallback, archive: Archive = CIFAR100
) -> tuple[tuple[LabelledPhoto, ...], tuple[ExcludedFile, ...]]:
    """Load out-of-distribution images from *source*, and list the files that cannot be used.

    `cifar100` means the archive's test photos of its other classes; of a folder with `test/`, only `test/` is used.

    Raises:
        SourceError: there is no such source, or it has no usable photo.
    """
    if source == "cifar100":
        return _spread(read_ood_images(download(archive, cache, progress), classes)), ()
    shelf = open_folder(user_path(source))
    items = sorted(shelf.items, key=lambda item: item.path)
    testing = [item for item in items if "/" in item.path and role_of(item.path.split("/")[0]) in TEST_ROLES]
    found, unusable = validate_images(
        [ImageFile(item.path, "", "test", item.path, item.read) for item in _spread(testing or items)], progress
    )
    others = len(items) - len(testing) if testing else 0
    left_out = [*shelf.left_out, *unusable]
    if others:
        left_out.append(
            ExcludedFile(shelf.place, f"only its test photos are used, not {plural(others, 'other file')}", others)
        )
    if not found:
        raise SourceError(f"{shelf.place} has no readable photo; name a folder of photos of other things")
    return tuple(seen.photo for seen in found), tuple(left_out)


def _spread(some: Sequence[T]) -> tuple[T, ...]:
    return tuple(some[:: -(-len(some) // MAX_OOD_IMAGES) or 1])
