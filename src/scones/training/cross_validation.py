"""Cross-validation: choose penalties and layers, and predict each training photo by a head that did not see it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scones.domain.errors import ModelError
from scones.domain.text import plural
from scones.training.calibration import fit_temperature, log_losses, soften
from scones.training.features import Features, TrainingData
from scones.training.head import (
    PENALTIES,
    Head,
    HeadOutputs,
    Penalties,
    Rows,
    StudySet,
    fit_head,
    fit_logistic,
)

FOLDS: Final = 5
"""Of classes with fewer photos, as many as the smallest has."""
MIN_PHOTOS: Final = 3
"""The fewest photos of a class: all but one fold teach, and one is predicted."""
FAIR_SHARE: Final = 0.2
"""Of a class's photos, so many must be left to learn from, and to judge by, when sources are left out."""
BLENDS: Final = (("layers", "last"), ("layers", "last", "imagenet"), ("last", "imagenet"), ("layers",), ("last",))
"""The groups of layers whose logits may be averaged, those first that carry over best to photos of another source."""


class TrainingError(ModelError):
    """Training cannot start or go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Folds:
    """Which fold each photo, int64 [N], and each outlier, int64 [M], belongs to, and how many folds there are."""

    photos: npt.NDArray[np.int64]
    outliers: npt.NDArray[np.int64]
    count: int


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The final head, one head a fold, and the out-of-fold answers to every photo and every outlier.

    *new_source*, float64 [N, C], are the probabilities by a head that saw no photo of the same source, NaN where there
    is none: of a single source, or one without which a class would be missing.
    """

    final: Head
    of_fold: tuple[Head, ...]
    folds: Folds
    penalties: Penalties
    photos: HeadOutputs
    outliers: HeadOutputs
    new_source: npt.NDArray[np.float64]


def cross_validate(
    study: StudySet, folds: Folds, sources: Sequence[str], report: Callable[[float], None]
) -> CrossValidation:
    """Choose by photos of new sources where they show all classes, else by folds, and fit all heads."""
    by_fold = [(folds.photos != fold, folds.photos == fold) for fold in range(folds.count)]
    by_source = source_splits(study, sources)
    elsewhere = np.any([np.zeros(len(study.labels), bool), *(held_out for _, held_out in by_source)], axis=0)
    splits = by_source if _shows_all_classes(study.labels, elsewhere) else by_fold
    logits = _held_out_logits(study, splits, lambda share: report(0.6 * share))
    judged = np.any([held_out for _, held_out in splits], axis=0)
    penalties = choose({key: value[judged] for key, value in logits.items()}, study.labels[judged])
    everything, all_outliers = np.arange(len(study.labels)), np.arange(len(study.outliers))
    photos, outliers = _blank(len(study.labels), study.classes), _blank(len(study.outliers), study.classes)
    heads = []
    for fold, (seen, held_out) in enumerate(by_fold):
        head = fit_head(study, penalties, np.flatnonzero(seen), np.flatnonzero(folds.outliers != fold))
        _fill(photos, held_out, head.ask(study.views[0][held_out]))
        _fill(outliers, folds.outliers == fold, head.ask(study.outliers[folds.outliers == fold]))
        heads.append(head)
        report(0.6 + 0.4 * (fold + 1) / (folds.count + 1))
    final = fit_head(study, penalties, everything, all_outliers)
    report(1.0)
    new_source = np.full((len(study.labels), study.classes), np.nan)
    if by_source:
        temperature = fit_temperature(photos.log_probabilities, study.labels)
        chosen = logits if splits is by_source else _held_out_logits(study, by_source, lambda _share: None)
        new_source[elsewhere] = soften(_blend(chosen, penalties)[elsewhere], temperature)
    return CrossValidation(final, tuple(heads), folds, penalties, photos, outliers, new_source)


def assign_folds(data: TrainingData, seed: int) -> Folds:
    """Give each photo a fold, so that every fold has its share of every class, and each outlier too."""
    rng = np.random.default_rng(seed)
    smallest = int(np.bincount(data.labels, minlength=data.classes).min())
    if smallest < MIN_PHOTOS:
        raise TrainingError(f"a class has {plural(smallest, 'photo')}; training needs {MIN_PHOTOS} or more of each")
    count = min(FOLDS, smallest)
    fold_of = np.zeros(len(data.labels), dtype=np.int64)
    for number in range(data.classes):
        members = rng.permutation(np.flatnonzero(data.labels == number))
        fold_of[members] = np.arange(len(members)) % count
    return Folds(fold_of, rng.permutation(np.arange(len(data.outliers)) % count), count)


Split = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
"""Which photos are learnt from, and which are held out, [N] each."""


def source_splits(study: StudySet, sources: Sequence[str]) -> list[Split]:
    """Leave out each source, or a group of sources where there are many, unless little of a class would be left."""
    names = np.array(sources, dtype=np.str_)
    found, counts = np.unique(names, return_counts=True)
    if len(found) < 2:
        return []
    # The largest sources each have a group of their own; the others go where there are fewest photos.
    sizes, group_of = [0] * min(FOLDS, len(found)), {}
    for source, count in sorted(
        zip(found.tolist(), counts.tolist(), strict=True), key=lambda each: (-each[1], each[0])
    ):
        smallest = sizes.index(min(sizes))
        sizes[smallest] += count
        group_of[source] = smallest
    groups = np.array([group_of[name] for name in names.tolist()])
    splits = [(groups != number, groups == number) for number in range(len(sizes))]
    return [split for split in splits if _shows_all_classes(study.labels, split[0])]


def _shows_all_classes(labels: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]) -> bool:
    """Whether the chosen photos have a fair share of each class's, and not too few."""
    whole = np.bincount(labels)
    part = np.bincount(labels[chosen], minlength=len(whole))
    return bool((part >= np.maximum(FAIR_SHARE * whole, 1)).all())


Logits = dict[tuple[str, float], npt.NDArray[np.float64]]
"""Held-out logits [N, C] by group of layers and penalty."""


def _held_out_logits(study: StudySet, splits: Sequence[Split], report: Callable[[float], None]) -> Logits:
    found: Logits = {
        (name, penalty): np.zeros((len(study.labels), study.classes))
        for name in study.groups.components
        for penalty in PENALTIES
    }
    steps = [(name, split) for name in study.groups.components for split in splits]
    for number, (name, (seen, held_out)) in enumerate(steps):
        values = study.groups.components[name]
        fitted = fit_logistic(values[:, seen], study.labels[seen], study.classes, PENALTIES)
        for penalty, (weights, bias) in zip(PENALTIES, fitted, strict=True):
            found[name, penalty][held_out] = values[0, held_out] @ weights + bias
        report((number + 1) / len(steps))
    return found


def choose(logits: Logits, labels: npt.NDArray[np.int64]) -> Penalties:
    """Choose the blend of groups, and each group's penalty, by the mean log loss of held-out photos.

    A blend that comes earlier in `BLENDS` is left for a later one only if that is better by more than a standard error.
    """
    names = {name for name, _ in logits}
    best = {
        name: min(PENALTIES, key=lambda penalty, name=name: _losses(logits[name, penalty], labels).mean())  # type: ignore[misc]
        for name in sorted(names)
    }
    blends = [{name: best[name] for name in blend} for blend in BLENDS if names.issuperset(blend)]
    losses = [_losses(_blend(logits, blend), labels) for blend in blends]
    winner = min(range(len(blends)), key=lambda number: losses[number].mean())
    for number in range(winner):
        behind = losses[number] - losses[winner]
        if behind.mean() <= behind.std() / np.sqrt(len(behind)):
            return blends[number]
    return blends[winner]


def _blend(logits: Logits, penalties: Penalties) -> npt.NDArray[np.float64]:
    return np.asarray(np.mean([logits[key] for key in penalties.items()], axis=0))


def _losses(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Each photo's log loss at the best temperature, so that each class counts the same."""
    loss = log_losses(soften(logits, fit_temperature(logits, labels)), labels)
    count = np.bincount(labels)
    return np.asarray(loss * (len(labels) / (np.count_nonzero(count) * np.maximum(count, 1)))[labels])


def _blank(count: int, classes: int) -> HeadOutputs:
    return HeadOutputs(np.zeros((count, classes), dtype=np.float32), np.zeros((count, 2), dtype=np.float32))


def _fill(whole: HeadOutputs, where: npt.NDArray[np.bool_], part: HeadOutputs) -> None:
    whole.log_probabilities[where] = part.log_probabilities
    whole.strangeness[where] = part.strangeness


@dataclass(frozen=True, slots=True)
class HeldOutPredictor:
    """The heads of all folds, and which fold each training photo, int64 [N], was held out by."""

    heads: tuple[Head, ...]
    folds: npt.NDArray[np.int64]

    def ask(self, features: Features, rows: Rows) -> HeadOutputs:
        """Answer for photos with these *features* [M, F], copies of the training photos *rows* [M]."""
        outputs = _blank(len(rows), len(self.heads[0].bias))
        for fold, part in self._parts(rows):
            _fill(outputs, part, self.heads[fold].ask(features[part]))
        return outputs

    def _parts(self, rows: Rows) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
        for fold in range(len(self.heads)):
            part = self.folds[rows] == fold
            if part.any():
                yield fold, part
