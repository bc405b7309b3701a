"""Out-of-fold predictions: each training photo, predicted by a network that was not trained on it."""

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import ModelError
from scones.model.model_file import ModelFile

_FORMAT = 2


class InvalidLabelledPredictions(ModelError):
    """There are no predictions, or they do not match the labels."""


class InvalidOutOfFold(ModelError):
    """The out-of-fold predictions of a model file are damaged or inconsistent."""


@dataclass(frozen=True, slots=True)
class ScoredPredictions:
    """Predictions for labelled photos: which are right, [N], and their confidence, [N]."""

    right: NDArray[np.bool_]
    confidence: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SourceAnswers:
    """Leave-one-source-out: whether a head that saw no photo of its source is *right* about each photo, [N].

    *sources* [N] are those photos' own. *count* is the number of all sources of the training photos, also of those that
    cannot be left out.
    """

    count: int
    sources: tuple[str, ...]
    right: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class OutOfFoldPredictions:
    """The training photos' *names*, relative to their channel, *labels* and calibrated *probabilities* [N, C].

    *fingerprints* identify photos by their pixels, whatever their names. *votes* [N, C] are the neighbor votes of
    `label_issues`. *sources* [N] say where each photo is from, and *new_source* [N, C] what a model says of it that saw
    no photo of its source, NaN where there is none. *reference* [K] are the rows of the photos that the model compares
    others with. A model from elsewhere has none of these.

    Raises:
        InvalidOutOfFold: on construction, if these are not as many as there are photos, or classes.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]
    fingerprints: tuple[str, ...]
    votes: NDArray[np.float64] | None = None
    sources: tuple[str, ...] | None = None
    new_source: NDArray[np.float64] | None = None
    reference: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Validate the shapes."""
        found = self.probabilities.shape, len(self.labels), len(self.fingerprints)
        count = len(self.names)
        rows = [each.shape for each in (self.votes, self.new_source) if each is not None]
        sources = count if self.sources is None else len(self.sources)
        fits = found == ((count, len(self.classes)), count, count) and {*rows, found[0]} == {found[0]}
        if not fits or sources != count:
            raise InvalidOutOfFold(f"out-of-fold predictions of {count} photos are inconsistent ({found}); train again")

    def scored(self) -> ScoredPredictions:
        """Compare the predictions with the labels."""
        truth = label_columns(self.labels, self.probabilities, self.classes)
        return ScoredPredictions(self.probabilities.argmax(axis=1) == truth, self.probabilities.max(axis=1))

    def by_source(self) -> "SourceAnswers | None":
        """The answers of heads that saw no photo of the same source; None where the photos' sources are not kept."""
        if self.sources is None or self.new_source is None:
            return None
        judged = np.isfinite(self.new_source).all(axis=1)
        truth = label_columns(self.labels, self.probabilities, self.classes)
        right = self.new_source[judged].argmax(axis=1) == truth[judged]
        return SourceAnswers(len(set(self.sources)), tuple(np.array(self.sources)[judged].tolist()), right)

    def learnt_from(self, photos: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which of *photos* [N, H, W, 3] the model was trained on, [N]: those cannot be used to evaluate it."""
        known = set(self.fingerprints)
        return np.array([mark in known for mark in fingerprints(photos)], dtype=bool)

    def learnt_since(self, before: "OutOfFoldPredictions") -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Labels and probabilities of the photos that an earlier model had not learnt, or with another label."""
        learnt = set(zip(before.fingerprints, before.labels, strict=True))
        pairs = zip(self.fingerprints, self.labels, strict=True)
        new = [row for row, pair in enumerate(pairs) if pair not in learnt]
        return tuple(self.labels[row] for row in new), self.probabilities[new]

    def save(self, path: Path) -> None:
        """Write them as a npz file that loads without pickle."""
        arrays: dict[str, NDArray[Any]] = {
            "format": np.array(_FORMAT),
            "classes": np.array(self.classes, dtype=np.str_),
            "names": np.array(self.names, dtype=np.str_),
            "labels": np.array(self.labels, dtype=np.str_),
            "probabilities": np.asarray(self.probabilities, dtype=np.float64),
            "fingerprints": np.array(self.fingerprints, dtype=np.str_),
        }
        kinds = {"votes": np.float64, "new_source": np.float64, "reference": np.int64, "sources": np.str_}
        for name, kind in kinds.items():
            if getattr(self, name) is not None:
                arrays[name] = np.asarray(getattr(self, name), dtype=kind)
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def kept(cls, model_file: ModelFile) -> "OutOfFoldPredictions | None":
        """Read those of a model file, or None if it has none; raises InvalidOutOfFold."""
        return cls.load(model_file.out_of_fold_path) if model_file.out_of_fold_path else None

    @classmethod
    def load(cls, path: Path) -> "OutOfFoldPredictions":
        """Read what `save` wrote.

        Raises:
            InvalidOutOfFold: no such file, or not such a file.
        """
        try:
            # Opened here, because numpy does not close a file that it cannot read.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if int(file["format"]) != _FORMAT:
                    raise InvalidOutOfFold(f"{path} is of another version of Scones; train again with this one")
                classes, names, labels, marks = (
                    tuple(str(value) for value in file[name]) for name in ("classes", "names", "labels", "fingerprints")
                )
                votes, new_source = (
                    np.asarray(file[name], dtype=np.float64) if name in file else None
                    for name in ("votes", "new_source")
                )
                sources = tuple(str(value) for value in file["sources"]) if "sources" in file else None
                reference = np.asarray(file["reference"], dtype=np.int64) if "reference" in file else None
                probabilities = np.asarray(file["probabilities"], dtype=np.float64)
                return cls(classes, names, labels, probabilities, marks, votes, sources, new_source, reference)
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InvalidOutOfFold(f"cannot read the out-of-fold predictions {path}: {error}; train again") from error


def label_columns(
    labels: Sequence[str], probabilities: NDArray[np.float64], classes: Sequence[str]
) -> NDArray[np.intp]:
    """Give the column of *probabilities* [N, C] that belongs to each label.

    Raises:
        InvalidLabelledPredictions: no photos, an unknown label, a wrong shape, or probabilities that are not finite.
    """
    if not len(labels):
        raise InvalidLabelledPredictions("no photos to evaluate; classify some first")
    shape = len(labels), len(classes)
    if probabilities.shape != shape:
        raise InvalidLabelledPredictions(f"probabilities are {probabilities.shape}, not {shape}: one row per label")
    if not np.isfinite(probabilities).all():
        raise InvalidLabelledPredictions("some probabilities are not finite; leave those photos out and count them")
    place = {label: index for index, label in enumerate(classes)}
    unknown = sorted(set(labels) - set(place))
    if unknown:
        expected = ", ".join(classes)
        raise InvalidLabelledPredictions(
            f"label {unknown[0]!r} is none of the model's classes {expected}; evaluate it on photos of these classes"
        )
    return np.array([place[label] for label in labels], dtype=np.intp)


def fingerprints(photos: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> tuple[str, ...]:
    """Name each photo [N, H, W, 3], at the model's own size, by its pixels: 16 hex digits."""
    return tuple(hashlib.sha256(np.ascontiguousarray(photo).tobytes()).hexdigest()[:16] for photo in photos)
