"""SageMaker's training contract: the folders, the hyperparameters, the channel of photos and the failure file."""

import json
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from scones.data.dataset import choose_model_size, folder_below, from_lines
from scones.data.decode import decode
from scones.data.image_header import UnreadablePhoto, read_header
from scones.domain.errors import ModelError, SconesError, raise_as
from scones.training.backbone import BACKBONES
from scones.training.cross_validation import MIN_PHOTOS
from scones.training.export import STEP
from scones.training.features import TrainingData

_KNOWN: Final = ("classes", "image_size", "backbone", "seed", "data_version", "max_photos")
MAX_IMAGE_SIZE: Final = 320
"""Beyond it, the backbone sees no better, and takes long."""
MIN_PHOTO_SIZE: Final = 16
MAX_PHOTOS: Final = 20_000
_HEADERS: Final = 200
"""Photos whose sizes are read to choose the model's."""
_MAX_REASON_LENGTH: Final = 1024


class InvalidTrainingJob(ModelError):
    """The hyperparameters or the photos of a training job cannot be used."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a training job is told. Without `classes`, the channel's folders are the classes, in alphabetical order."""

    classes: tuple[str, ...]
    image_size: int
    """The side of the model's input; 0 leaves it to the photos' own sizes."""
    backbone: str
    seed: int
    data_version: str
    max_photos: int = MAX_PHOTOS
    """Of more photos, so many are chosen, evenly over the classes: a linear head gains little by more."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """The folders of one job, below `/opt/ml` on SageMaker."""

    folder: Path

    @property
    def channel(self) -> Path:
        """Where SageMaker puts the photos: one folder a class."""
        return self.folder / "input" / "data" / "training"

    @property
    def outliers(self) -> Path:
        """Photos of other things, in any folders; SageMaker makes it only if the job has such a channel."""
        return self.folder / "input" / "data" / "outliers"

    @property
    def backbones(self) -> Path:
        """The user's own backbone, as `<SHA-256>.onnx`, if the job is to use one."""
        return self.folder / "input" / "data" / "backbone"

    @property
    def manifest(self) -> Path:
        """The manifest of the staged photos, which names their sources; a job of one's own need not have it."""
        return self.folder / "input" / "data" / "manifest"

    @property
    def checkpoints(self) -> Path:
        """What lies here outlives a stop: SageMaker copies it to S3, and back when a Spot job starts again."""
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        """What is left here, SageMaker packs as `model.tar.gz`."""
        return self.folder / "model"

    @property
    def failure(self) -> Path:
        """SageMaker shows the text of this file as the job's failure reason."""
        return self.folder / "output" / "failure"


@dataclass(frozen=True, slots=True)
class TrainingChannels:
    """What was read: the photos, and the files' names relative to the training channel, in the same order.

    *image_size* is the side of the model's input, which is larger than the photos where those are small.
    """

    data: TrainingData
    names: tuple[str, ...]
    image_size: int


@contextmanager
def failure_reported(job: TrainingJob) -> Iterator[None]:
    """Put whatever error leaves this block in the failure file, in one line of at most 1,024 characters."""
    try:
        yield
    finally:
        # Not an `except`: bugs are reported too, but go on as what they are.
        error = sys.exception()
        if isinstance(error, Exception):
            text = str(error) if isinstance(error, SconesError) else f"{type(error).__name__}: {error}"
            job.failure.parent.mkdir(parents=True, exist_ok=True)
            job.failure.write_text(" ".join(text.split())[:_MAX_REASON_LENGTH] + "\n", encoding="utf-8")


def read_hyperparameters(job: TrainingJob) -> Hyperparameters:
    """Read `hyperparameters.json`, in which SageMaker makes every value a string; a missing file means defaults.

    Raises:
        InvalidTrainingJob: an unknown name, or a value that cannot be used.
    """
    path = job.folder / "input" / "config" / "hyperparameters.json"
    try:
        values = json.loads(path.read_bytes()) if path.exists() else {}
    except ValueError as error:
        raise InvalidTrainingJob(f"{path.name} is no JSON: {error}") from error
    for name in values:
        if name not in _KNOWN:
            raise InvalidTrainingJob(f"unknown hyperparameter {name!r}; known are: {', '.join(_KNOWN)}")
    backbone = str(values.get("backbone", "lite0"))
    if backbone not in BACKBONES and not (job.backbones / backbone).is_file():
        known = f"one of: {', '.join(BACKBONES)}, or <SHA-256>.onnx, a file in the channel {job.backbones.name}"
        raise InvalidTrainingJob(f"hyperparameter backbone = {backbone!r} is not {known}")
    return Hyperparameters(
        classes=_classes(job, str(values.get("classes", ""))),
        image_size=_image_size(values),
        backbone=backbone,
        seed=_whole(values, "seed", 0, range(2**31)),
        data_version=str(values.get("data_version", "")),
        max_photos=_whole(values, "max_photos", MAX_PHOTOS, range(100, 1_000_001)),
    )


def read_photos(job: TrainingJob, hyperparameters: Hyperparameters, report: Callable[[str], None]) -> TrainingChannels:
    """Decode the channels' photos, in the order of classes and then of names; *report* hears of unreadable ones.

    A photo's source is the one in the manifest; without a manifest, the folder below its class's that it lies in.

    Raises:
        InvalidTrainingJob: a class has too few photos that can be read.
        InvalidManifest: the manifest is in another format.
    """
    image_size, size = _choose_sizes(job, hyperparameters)
    files = [_files(job.channel / name) for name in hyperparameters.classes]
    chosen = choose_evenly(files, hyperparameters.max_photos)
    (others,) = choose_evenly([_files(job.outliers)], hyperparameters.max_photos)
    if (total := sum(map(len, files))) > (kept := sum(map(len, chosen))):
        report(f"photos_of_channel={total} photos_chosen={kept} max_photos={hyperparameters.max_photos}")
    store = PhotoStore(kept + len(others), size)
    labels: list[int] = []
    names: list[str] = []
    for number, (name, paths) in enumerate(zip(hyperparameters.classes, chosen, strict=True)):
        found = store.add(job.channel, paths, report)
        if len(found) < MIN_PHOTOS:
            text = f"class {name!r} has {len(found)} photos that can be read; training needs {MIN_PHOTOS} or more in "
            raise InvalidTrainingJob(f"{text}{name}/")
        labels += [number] * len(found)
        names += found
    store.add(job.outliers, others, report)
    data = TrainingData(
        store.photos[: len(names)],
        np.array(labels, dtype=np.int64),
        len(hyperparameters.classes),
        store.photos[len(names) : store.count],
        _sources(job, names),
        store.release,
    )
    return TrainingChannels(data, tuple(names), image_size)


def choose_evenly(files: Sequence[Sequence[Path]], most: int) -> list[Sequence[Path]]:
    """Choose at most so many files of several lists: as many of each where possible, spread evenly over the list."""
    left, shares = most, [0] * len(files)
    for rank, number in enumerate(sorted(range(len(files)), key=lambda number: len(files[number]))):
        shares[number] = min(len(files[number]), left // (len(files) - rank))
        left -= shares[number]
    return [
        [paths[at * len(paths) // share] for at in range(share)] for paths, share in zip(files, shares, strict=True)
    ]


class PhotoStore:
    """Photos, uint8 [at most *count*, size, size, 3], in a file without a name, so that they take no memory."""

    def __init__(self, count: int, size: int) -> None:
        needed = count * size * size * 3
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if needed > free:
            raise InvalidTrainingJob(
                f"{count:,} photos of {size} pixels need {needed / 1e9:,.1f} GB of disk in {tempfile.gettempdir()}, "
                f"which has {free / 1e9:,.1f} GB left; set max_photos or image_size lower, or use a larger disk"
            )
        with tempfile.TemporaryFile() as file:
            file.truncate(max(1, needed))
            self._map = mmap.mmap(file.fileno(), max(1, needed))
        self.photos = np.frombuffer(self._map, np.uint8, needed).reshape(count, size, size, 3)
        self.count = 0
        self._size = size

    def add(self, channel: Path, paths: Sequence[Path], report: Callable[[str], None]) -> list[str]:
        """Decode the files, and give the names of those that can be read; *report* hears of the others."""
        names = []
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for at in range(0, len(paths), _AT_ONCE):
                some = paths[at : at + _AT_ONCE]
                for path, photo in zip(some, pool.map(self._decode, some), strict=True):
                    name = path.relative_to(channel).as_posix()
                    if isinstance(photo, UnreadablePhoto):
                        report(f"left_out={name!r} reason={photo.reason!r}")
                        continue
                    self.photos[self.count] = photo
                    self.count += 1
                    names.append(name)
                self.release()
        return names

    def _decode(self, path: Path) -> npt.NDArray[np.uint8] | UnreadablePhoto:
        try:
            with raise_as(UnreadablePhoto):
                return decode(path.read_bytes(), self._size)
        except UnreadablePhoto as error:
            return error

    def release(self) -> None:
        """Give back the memory of what was written or read; the file keeps it."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


_AT_ONCE: Final = 64


def _sources(job: TrainingJob, names: Sequence[str]) -> tuple[str, ...]:
    samples = [sample for path in _files(job.manifest) for sample in from_lines(path.read_bytes(), "")]
    # A photo's key ends with the split and with its name in the channel.
    known = {sample.key.partition(f"/{sample.split}/")[2]: sample.source for sample in samples}
    return tuple(known.get(name, "") if known else folder_below(name) for name in names)


def _choose_sizes(job: TrainingJob, hyperparameters: Hyperparameters) -> tuple[int, int]:
    """Choose the side of the model's input, and that at which photos are kept: their own, unless that is larger."""
    paths = [path for name in hyperparameters.classes for path in _files(job.channel / name)]
    sides = []
    for path in paths[:: -(-len(paths) // _HEADERS) or 1]:
        try:
            with raise_as(UnreadablePhoto):
                header = read_header(path.read_bytes())
        except UnreadablePhoto:
            continue
        sides.append(min(header.width, header.height))
    chosen, side = choose_model_size(sides)
    image_size = hyperparameters.image_size or chosen
    return image_size, min(image_size, max(MIN_PHOTO_SIZE, side))


def _image_size(values: Mapping[str, object]) -> int:
    size = _whole(values, "image_size", 0, range(MAX_IMAGE_SIZE + 1))
    if size % STEP:
        raise InvalidTrainingJob(f"hyperparameter image_size = {size} must be a multiple of {STEP}, or 0 to choose it")
    return size


def _classes(job: TrainingJob, text: str) -> tuple[str, ...]:
    if not job.channel.is_dir():
        raise InvalidTrainingJob(f"there is no input channel {job.channel.name!r} with one folder of photos a class")
    folders = sorted(path.name for path in job.channel.iterdir() if path.is_dir())
    classes = tuple(name.strip() for name in text.split(",")) if text else tuple(folders)
    if len(set(classes)) < 2 or len(set(classes)) < len(classes):
        raise InvalidTrainingJob(f"training needs two or more different classes, not {', '.join(classes) or 'none'!r}")
    missing = [name for name in classes if name not in folders]
    if missing:
        found = ", ".join(folders) or "none"
        raise InvalidTrainingJob(f"class {missing[0]!r} has no folder in the input channel; folders there: {found}")
    return classes


def _whole(values: Mapping[str, object], name: str, default: int, allowed: range) -> int:
    text = str(values.get(name, default))
    try:
        number = int(text)
    except ValueError as error:
        raise InvalidTrainingJob(f"hyperparameter {name} = {text!r} is not a whole number") from error
    if number not in allowed:
        raise InvalidTrainingJob(f"hyperparameter {name} = {number} must lie between {allowed[0]} and {allowed[-1]}")
    return number


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
