"""Image classification: jobs of SageMaker's built-in algorithm, with its channels and hyperparameters, by our trainer.

Photos lie in the channels `train` and `validation`; `train_lst` and `validation_lst` hold one .lst file each, with rows
of number, label and path, separated by tabs. Sources: image-classification.html and IC-Hyperparameter.html below
https://docs.aws.amazon.com/sagemaker/latest/dg/.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from scones.data.decode import decode
from scones.data.image_header import UnreadablePhoto, read_header
from scones.domain.errors import raise_as
from scones.domain.text import plural
from scones.model.inference import Model
from scones.model.model_file import ModelFile
from scones.training.cross_validation import MIN_PHOTOS
from scones.training.sagemaker_entrypoint import InvalidTrainingJob, TrainingJob
from scones.training.train import train

Valid = Callable[[str], bool]
CHANNELS: Final = ("train", "validation", "train_lst", "validation_lst")
PHOTO_TYPES: Final = ("application/x-image", "image/png", "image/jpeg")
_CHUNK: Final = 32
_SHAPE: Final = re.compile(r"\s*([13])\s*,\s*(\d+)\s*,\s*(\d+)\s*")


class Row(NamedTuple):
    """One row of a .lst file: the photo, the number of its class, and where the row is, for messages."""

    photo: Path
    label: int
    place: str


def train_image_classification(job: TrainingJob) -> ModelFile:
    """Train on the algorithm's channels, and say the accuracies on stdout as the algorithm does.

    Raises:
        SconesError: the job's channels or hyperparameters cannot be used, or training failed.
    """
    hyperparameters = read_hyperparameters(_config(job, "hyperparameters"))
    _check_channels(_config(job, "inputdataconfig"))
    rows = {name: read_lst(job, name, hyperparameters.classes) for name in ("train", "validation")}
    for row in (*rows["train"], *rows["validation"]):
        hyperparameters.check_size(row)
    hyperparameters.check_count(rows["train"])
    for line in hyperparameters.without_meaning:
        _say(line)
    model_file = train(_as_ours(job, hyperparameters.classes, rows["train"]))
    model = Model(model_file)
    for name, split in rows.items():
        # The algorithm's words, from which SageMaker reads the metrics; it counts the epochs from 0.
        _say(f"Epoch[0] {name.capitalize()}-accuracy={accuracy(model, split):.6f}")
    return model_file


class AlgorithmHyperparameters(NamedTuple):
    """The algorithm's hyperparameters that mean something here, and a line about each other that was given."""

    classes: int
    samples: int
    mini_batch_size: int
    height: int
    width: int
    resize: int
    """The shorter side that photos get before training; 0 leaves them as they are."""
    without_meaning: tuple[str, ...]

    def check_size(self, row: Row) -> None:
        """Refuse a photo that is smaller than image_shape, as the algorithm does; one that is unreadable passes.

        Raises:
            InvalidTrainingJob: it is smaller.
        """
        try:
            with raise_as(UnreadablePhoto):
                header = read_header(row.photo.read_bytes())
        except UnreadablePhoto:
            return
        scale = self.resize / min(header.width, header.height) if self.resize else 1.0
        if round(header.width * scale) < self.width or round(header.height * scale) < self.height:
            size = f"{header.width} x {header.height} pixels"
            after = f", also after resize = {self.resize}" if self.resize else ""
            raise InvalidTrainingJob(
                f"{row.place}: {row.photo.name} has {size} and is smaller than image_shape {self.height} x "
                f"{self.width}{after}; set image_shape to the size of the photos, or resize to a larger one"
            )

    def check_count(self, rows: Sequence[Row]) -> None:
        """Refuse too few training photos: fewer than a batch, as the algorithm does, or too few of a class.

        Raises:
            InvalidTrainingJob: there are too few.
        """
        if len(rows) < self.mini_batch_size:
            raise InvalidTrainingJob(
                "The number of input images must be bigger or equal to the mini_batch_size: "
                f"{len(rows)} photos, mini_batch_size = {self.mini_batch_size}"
            )
        for label in range(self.classes):
            if (count := sum(row.label == label for row in rows)) < MIN_PHOTOS:
                raise InvalidTrainingJob(
                    f"class {label} has {plural(count, 'training photo')}; training here needs {MIN_PHOTOS}"
                )
        if self.samples != len(rows):
            _say(f"num_training_samples={self.samples}, but train_lst has {len(rows)} rows: all of them are used")


def read_hyperparameters(values: Mapping[str, str]) -> AlgorithmHyperparameters:
    """Check every hyperparameter against the algorithm's rules; all values are strings.

    Raises:
        InvalidTrainingJob: one is missing, unknown, or has a value that the algorithm refuses.
    """
    for name, value in values.items():
        if name not in _RULES:
            raise InvalidTrainingJob(f"unknown hyperparameter {name!r}; the algorithm has: {', '.join(_RULES)}")
        valid, wanted = _RULES[name]
        if not valid(value):
            raise InvalidTrainingJob(f"hyperparameter {name} = {value!r} must be {wanted}")
    for name in ("num_classes", "num_training_samples"):
        if name not in values:
            raise InvalidTrainingJob(f"the hyperparameter {name} is required")
    if int(values.get("checkpoint_frequency", 1)) > (epochs := int(values.get("epochs", 30))):
        raise InvalidTrainingJob(f"hyperparameter checkpoint_frequency must not exceed epochs, which is {epochs}")
    if int(values["num_classes"]) < 2:
        raise InvalidTrainingJob("hyperparameter num_classes = 1: training here needs two or more classes")
    if values.get("multi_label", "0") == "1":
        raise InvalidTrainingJob("hyperparameter multi_label = '1': several labels for one photo are not supported")
    shape = _SHAPE.fullmatch(values.get("image_shape", "3,224,224"))
    assert shape  # noqa: S101 - the rule of image_shape says so
    return AlgorithmHyperparameters(
        classes=int(values["num_classes"]),
        samples=int(values["num_training_samples"]),
        mini_batch_size=int(values.get("mini_batch_size", 32)),
        height=int(shape[2]),
        width=int(shape[3]),
        resize=int(values.get("resize", 0)),
        without_meaning=tuple(
            f"hyperparameter {name}={value} has no meaning here: a linear head on a pretrained network is fitted"
            for name, value in values.items()
            if name not in _USED
        ),
    )


def _whole(low: int) -> tuple[Valid, str]:
    return lambda text: text.isascii() and text.isdigit() and int(text) >= low, f"a whole number of at least {low}"


def _one_of(*words: str) -> tuple[Valid, str]:
    return lambda text: text in words, f"one of: {', '.join(words)}"


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


_SHARE: Final = (_is_share, "a number between 0 and 1")
_USED: Final = ("num_classes", "num_training_samples", "mini_batch_size", "image_shape", "resize", "multi_label")
_RULES: Final[Mapping[str, tuple[Valid, str]]] = {
    **dict.fromkeys(("num_classes", "num_training_samples", "mini_batch_size", "resize", "epochs"), _whole(1)),
    **dict.fromkeys(("checkpoint_frequency", "early_stopping_min_epochs", "early_stopping_patience"), _whole(1)),
    "top_k": _whole(2),
    **dict.fromkeys(("learning_rate", "lr_scheduler_factor", "momentum", "weight_decay", "beta_1", "beta_2"), _SHARE),
    **dict.fromkeys(("eps", "gamma", "early_stopping_tolerance"), _SHARE),
    **dict.fromkeys(("use_pretrained_model", "multi_label", "use_weighted_loss"), _one_of("0", "1")),
    "image_shape": (lambda text: bool(_SHAPE.fullmatch(text)), "channels (1 or 3), height and width, as '3,224,224'"),
    "num_layers": _one_of("18", "34", "50", "101", "152", "200", "20", "32", "44", "56", "110"),
    "optimizer": _one_of("sgd", "adam", "rmsprop", "nag"),
    "augmentation_type": _one_of("crop", "crop_color", "crop_color_transform"),
    "early_stopping": _one_of("True", "False", "true", "false"),
    "lr_scheduler_step": (lambda text: bool(re.fullmatch(r"[\d\s,]+", text)), "epochs separated by commas"),
    "kv_store": _one_of("dist_sync", "dist_async"),
    "precision_dtype": _one_of("float32", "float16"),
    "_tuning_objective_metric": (bool, "a metric"),
}
"""What the algorithm accepts; IC-Hyperparameter.html."""


def _config(job: TrainingJob, name: str) -> dict[str, str]:
    path = job.folder / "input" / "config" / f"{name}.json"
    with raise_as(partial(_invalid_file, path)):
        values: dict[str, str] = json.loads(path.read_bytes())
        return dict(values)


def _invalid_file(path: Path, reason: str) -> InvalidTrainingJob:
    return InvalidTrainingJob(f"{path.name} {reason}")


def _check_channels(config: Mapping[str, object]) -> None:
    """Refuse channels that the algorithm does not have, lacks, or has with another content type.

    Raises:
        InvalidTrainingJob: a channel is missing, unknown, or not of photos.
    """
    for name in (*CHANNELS, *config):
        if name not in config or name not in CHANNELS:
            fault = "unknown" if name in config else "missing"
            raise InvalidTrainingJob(f"the channel {name!r} is {fault}; the channels are: {', '.join(CHANNELS)}")
        entry = config[name]
        kind = entry.get("ContentType", "") if isinstance(entry, dict) else ""
        if str(kind).partition(";")[0].strip().lower() not in PHOTO_TYPES:
            raise InvalidTrainingJob(
                f"channel {name}: ContentType is {kind!r}; set it to one of {', '.join(PHOTO_TYPES)}"
            )


def read_lst(job: TrainingJob, channel: str, classes: int) -> list[Row]:
    """Read the rows about the photos of *channel* from its .lst file, which may have Windows' line ends.

    Raises:
        InvalidTrainingJob: not one .lst file, or a row that is wrong; the message names its line.
    """
    folder = job.folder / "input" / "data"
    found = sorted(path for path in (folder / f"{channel}_lst").rglob("*") if path.name.endswith(".lst"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InvalidTrainingJob(f"the channel {channel}_lst must hold one file *.lst; it holds {names}")
    text = found[0].read_bytes().decode("utf-8-sig", errors="surrogateescape")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise InvalidTrainingJob(f"{found[0].name} of the channel {channel}_lst has no rows")
    return [_row(folder / channel, line, f"{found[0].name}, line {number}", classes) for number, line in lines]


def _row(photos: Path, line: str, place: str, classes: int) -> Row:
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) != 3:
        raise InvalidTrainingJob(f"{place}: {len(cells)} columns; a row is number, label and path, separated by tabs")
    label = _label(cells[1])
    if label is None or not 0 <= label < classes:
        raise InvalidTrainingJob(
            f"{place}: label {cells[1]!r} is not a whole number from 0 to {classes - 1} (num_classes)"
        )
    photo = photos / cells[2]
    if not _is_inside(photo, photos):
        raise InvalidTrainingJob(f"{place}: there is no file {cells[2]!r} in the channel {photos.name}")
    return Row(photo, label, place)


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether *path* is a file in *folder*; one that no file can have, such as one with a zero byte, is not."""
    try:
        return path.resolve().is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):
        return False


def _label(text: str) -> int | None:
    """The number of a class, which may be written as 1 or as 1.000000."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number.is_integer() else None


def _as_ours(job: TrainingJob, classes: int, rows: Sequence[Row]) -> TrainingJob:
    """A job of our trainer: a folder of links to the photos for each class, and the same places for what it writes."""
    ours = TrainingJob(job.folder / "image-classification")
    for folder in (job.model, job.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    ours.channel.mkdir(parents=True)
    (ours.folder / job.model.name).symlink_to(job.model)
    (ours.folder / job.checkpoints.name).symlink_to(job.checkpoints)
    for number, row in enumerate(rows):
        # Named by their numbers, as two of different folders may have one name; a folder would be taken for a source.
        link = ours.channel / str(row.label) / f"{number:06d}-{row.photo.name}"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(row.photo)
    config = ours.folder / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps({"classes": ",".join(map(str, range(classes)))}))
    return ours


def accuracy(model: Model, rows: Sequence[Row]) -> float:
    """The share of photos, of those that can be read, that *model* assigns to their class.

    Raises:
        InvalidTrainingJob: none can be read.
    """
    chunks = [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
    with ThreadPoolExecutor() as pool:
        right = [each for found in pool.map(partial(_right, model), chunks) for each in found]
    if not right:
        raise InvalidTrainingJob(f"no photo can be read; the first is {rows[0].photo.name}")
    return sum(right) / len(right)


def _right(model: Model, rows: Sequence[Row]) -> list[bool]:
    """Whether the model is right about each photo; for one that cannot be read there is no answer."""
    read = list(_readable(rows, model.size))
    if not read:
        return []
    answers = model.predict(np.stack([photo for photo, _ in read])).argmax(axis=1)
    return [int(answer) == label for answer, (_, label) in zip(answers, read, strict=True)]


def _readable(rows: Sequence[Row], size: int) -> Iterator[tuple[np.ndarray, int]]:
    for row in rows:
        try:
            with raise_as(UnreadablePhoto):
                photo = decode(row.photo.read_bytes(), size)
        except UnreadablePhoto as error:
            _say(f"left_out={row.photo.name!r} reason={error.reason!r}")
        else:
            yield photo, row.label


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
