"""Prediction: a model file applied to photos on this machine, without any cloud."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from scones.data.decode import decode
from scones.data.image_header import UnreadablePhoto
from scones.data.sources.files import MAX_FILE_BYTES, require_photo_size
from scones.domain.errors import DataError
from scones.domain.result import StepResult
from scones.domain.text import plural, printable
from scones.model.inference import Model
from scones.model.model_file import InvalidModelFile, open_model_file, read_model_file

AnyPath = str | PathLike[str]
_BATCH = 32


class PhotosUnusable(DataError):
    """A file is no photo that can be read; the message names the first, and how many others there are."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's prediction for one photo: the most probable class, and every class's probability.

    *unfamiliarity* is None if the model has no out-of-distribution detector. *error* says why a file could not be read;
    the rest is then empty.
    """

    photo: str
    label: str = ""
    confidence: float = 0.0
    out_of_distribution: bool = False
    unfamiliarity: float | None = None
    probabilities: Mapping[str, float] | None = None
    error: str = ""


class PredictResult(tuple[Prediction, ...], StepResult):
    """The predictions for photos, in their order."""

    __slots__ = ()
    FIGURE = ("", "confidence", "")


def predict(model: AnyPath, photos: AnyPath | Iterable[AnyPath]) -> PredictResult:
    """Predict the class of each of *photos* with *model*, a `model.tar.gz` or its folder.

    Files that cannot be read are part of the result, with the reason; a folder means the files in it.

    Raises:
        InvalidModelFile: *model* is not there, is damaged, or has another format.
        ModelUnusable: its graph cannot be run.
        PhotosUnusable: none of the files can be read.
    """
    given = [photos] if isinstance(photos, str | PathLike) else photos
    # Path.is_dir raises for some names, before Python 3.14.
    files = [
        file
        for path in map(Path, given)
        for file in (sorted(path.iterdir()) if os.path.isdir(path) else [path])  # noqa: PTH112
    ]
    source = Path(model)
    if source.is_dir():
        found = _predict(Model(read_model_file(source)), files)
    elif source.is_file():
        with open_model_file(source) as model_file:
            found = _predict(Model(model_file), files)
    else:
        raise InvalidModelFile(
            str(source), "there is no such file or folder", "name a model.tar.gz, or the folder that it unpacks to"
        )
    unread = [prediction for prediction in found if prediction.error]
    if len(unread) == len(found):
        first = f"{unread[0].photo}: {unread[0].error}" if unread else "no photos were named"
        raise PhotosUnusable(first + (f" (and {plural(len(unread) - 1, 'other file')})" if unread[1:] else ""))
    return PredictResult(found)


def _predict(model: Model, files: list[Path]) -> tuple[Prediction, ...]:
    found: list[Prediction] = []
    for start in range(0, len(files), _BATCH):
        batch = [_decoded(file, model.size) for file in files[start : start + _BATCH]]
        pixels = [photo for photo in batch if isinstance(photo, np.ndarray)]
        answers = iter(model.answer(np.stack(pixels))) if pixels else iter(())
        for file, photo in zip(files[start : start + _BATCH], batch, strict=True):
            if isinstance(photo, str):
                found.append(Prediction(str(file), error=photo))
            else:
                found.append(_prediction(model, str(file), next(answers)))
    return tuple(found)


def _decoded(file: Path, size: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | str":
    """The photo, or why it cannot be read."""
    try:
        if file.exists() and not file.is_file():
            return "is not a file"
        with file.open("rb") as opened:
            photo = opened.read(MAX_FILE_BYTES + 1)
        require_photo_size(len(photo))
        return decode(photo, size)
    except UnreadablePhoto as error:
        return error.reason
    except (OSError, ValueError) as error:  # a name may be too long, or have a zero byte
        return f"cannot be read: {printable(getattr(error, 'strerror', None) or str(error))}"


def _prediction(model: Model, photo: str, answer: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> Prediction:
    probabilities = dict(zip(model.classes, answer[: len(model.classes)].tolist(), strict=True))
    label = max(probabilities, key=probabilities.__getitem__)
    limit = model.unfamiliar_above
    unfamiliarity = None if limit is None else float(answer[-1])
    return Prediction(
        photo=photo,
        label=label,
        confidence=probabilities[label],
        out_of_distribution=limit is not None and unfamiliarity is not None and unfamiliarity > limit,
        unfamiliarity=unfamiliarity,
        probabilities=probabilities,
    )
