"""Head: a linear classifier on the backbone's features, and the measures by which it refuses strange photos."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from scones.training.calibration import NEIGHBOURS, spread_sample
from scones.training.features import VIEW_WEIGHTS, Features

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

COMPONENTS: Final = 512
"""The principal components of each group that are looked at: the penalty all but removes the others."""
ALIKE: Final = 100
"""The components by which photos are compared with each other, at most one for ten photos."""
SAMPLE: Final = 4000
"""Photos by which a group's components are found."""
PENALTIES: Final = (1e-3, 3e-3, 1e-2, 3e-2)
"""Inverse strengths of the penalty (`C`) to choose from."""
OUTLIER_PENALTY: Final = 1e-3
"""The inverse strength of the penalty for telling other things from photos of the classes."""


class LayerGroups:
    """Standardized principal components of groups of features: of many layers, of the last, of ImageNet's classes.

    They are found without labels. `components` maps each group's name to its rows' values, [views, N, at most 512].
    """

    def __init__(self, features: Sequence[Features], last: slice, imagenet: tuple[Floats, Floats] | None) -> None:
        self.width = features[0].shape[1]
        layers: dict[str, slice] = {"layers": slice(0, last.start), "last": last}
        self._maps: dict[str, tuple[Floats, Floats]] = {}
        self.components: dict[str, Floats] = {}
        for name, columns in layers.items():
            if columns.stop > columns.start:
                self._add(name, features, columns, None)
        if imagenet is not None:
            self._add("imagenet", features, last, imagenet)

    def _add(self, name: str, features: Sequence[Features], columns: slice, into: tuple[Floats, Floats] | None) -> None:
        """Find the linear map from all features to this group's components."""
        matrix, offset = into if into is not None else (None, None)

        def values(rows: Features) -> Floats:
            raw = rows[:, columns].astype(np.float32)
            return raw if matrix is None or offset is None else raw @ matrix + offset

        sample = values(features[0][spread_rows(len(features[0]))])
        mean, scale = sample.mean(axis=0), 1 / (sample.std(axis=0) + np.float32(1e-3))
        directions = _directions((sample - mean) * scale)
        rotation = scale[:, None] * directions
        shift = -mean @ rotation
        if matrix is not None and offset is not None:
            shift, rotation = shift + offset @ rotation, matrix @ rotation
        whole = np.zeros((self.width, rotation.shape[1]), np.float32)
        whole[columns] = rotation
        self._maps[name] = whole, shift
        self.components[name] = np.stack([rows[:, columns].astype(np.float32) @ rotation + shift for rows in features])

    def to_features(self, name: str, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Turn weights on a group's components, [components, C], into weights on the features, [F, C]."""
        rotation, shift = self._maps[name]
        return rotation @ weights, bias + shift @ weights

    def whitened(self) -> Floats:
        """Tell how alike photos look: few components that count the same, of photo and mirror image, of length 1."""
        first = next(iter(self.components.values()))
        # Among as many components as photos, all photos would be equally unlike.
        photo, mirrored, *_ = first[:, :, : max(1, min(ALIKE, first.shape[1] // 10))]
        mean = (photo + mirrored) / 2
        return unit(mean / np.maximum(mean.std(axis=0), 1e-6))

    def project(self, name: str, features: Features) -> Floats:
        """Give the group's components of other photos' features."""
        rotation, shift = self._maps[name]
        return np.asarray(features.astype(np.float32) @ rotation + shift)


def spread_rows(count: int) -> Rows:
    """Choose at most `SAMPLE` of so many rows, evenly."""
    return np.arange(count)[:: -(-count // SAMPLE) or 1]


def _directions(standardized: Floats) -> Floats:
    """The leading principal components, [F, at most 512], with signs that do not depend on chance."""
    rows, columns = standardized.shape
    few = min(COMPONENTS, rows, columns)
    if rows < columns:
        _, vectors = np.linalg.eigh(standardized @ standardized.T)
        found = standardized.T @ vectors[:, ::-1][:, :few]
        found /= np.maximum(np.linalg.norm(found, axis=0), 1e-6)
    else:
        _, vectors = np.linalg.eigh(standardized.T @ standardized)
        found = vectors[:, ::-1][:, :few]
    signs = np.sign(found[np.abs(found).argmax(axis=0), np.arange(few)])
    return np.asarray(found * signs, np.float32)


def fit_logistic(
    components: Floats, labels: npt.NDArray[np.int64], classes: int, penalties: Sequence[float]
) -> list[tuple[Floats, Floats]]:
    """Fit a logistic regression to all views, [views, N, D], for each of the *penalties*; each class counts the same.

    Gives weights [D, C] and biases [C], whose product and sum are logits.
    """
    count = np.bincount(labels, minlength=classes)
    each = (len(labels) / (classes * np.maximum(count, 1)))[labels]
    shares = VIEW_WEIGHTS[: len(components)]
    weights = np.concatenate([each * share / sum(shares) * 2 for share in shares])
    rows = components.reshape(-1, components.shape[-1])
    repeated = np.tile(labels, len(components))
    model = LogisticRegression(tol=1e-3, max_iter=300, warm_start=True)
    found = []
    with warnings.catch_warnings():
        # A fit that is stopped early is judged out of fold like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for penalty in penalties:
            model.set_params(C=penalty).fit(rows, repeated, weights)
            found.append(_all_classes(model, classes))
    return found


def _all_classes(model: LogisticRegression, classes: int) -> tuple[Floats, Floats]:
    """Weights for every class: of two, the library keeps one."""
    coefficients, intercept = np.asarray(model.coef_, np.float32), np.asarray(model.intercept_, np.float32)
    if classes == 2:
        half = np.array([-0.5, 0.5], np.float32)
        coefficients, intercept = half[:, None] * coefficients, half * intercept
    return coefficients.T, intercept


@dataclass(frozen=True, slots=True)
class HeadOutputs:
    """What a head says of N photos.

    *log_probabilities*, float32 [N, classes]; *strangeness*, float32 [N, 2], is the input of the OOD detector
    (calibration.py): the outlier logit, and the distance from the training photos.
    """

    log_probabilities: Floats
    strangeness: Floats


@dataclass(frozen=True, slots=True)
class Head:
    """Weights on the features, [F, C] and [C]; of the outlier logit, [F] and one; and training photos' last features.

    *memory*, float32 [K, last], has rows of length 1. *last* tells which features those are.
    """

    weights: Floats
    bias: Floats
    outlier_weights: Floats
    outlier_bias: float
    memory: Floats
    last: slice

    def ask(self, features: Features) -> HeadOutputs:
        """Answer for photos with these features."""
        values = features.astype(np.float32)
        logits = values @ self.weights + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        strange = np.column_stack(
            [values @ self.outlier_weights + self.outlier_bias, distance(unit(values[:, self.last]), self.memory)]
        )
        return HeadOutputs(log_probabilities, strange.astype(np.float32))


def unit(features: Floats) -> Floats:
    """Scale each row to length 1."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, 1e-12), np.float32)


def distance(directions: Floats, memory: Floats) -> Floats:
    """The mean cosine distance from the nearest rows of *memory*, [N]."""
    likeness = directions @ memory.T
    count = min(NEIGHBOURS, len(memory))
    nearest = np.partition(likeness, len(memory) - count, axis=1)[:, -count:]
    return np.asarray(1 - nearest.mean(axis=1), np.float32)


@dataclass(frozen=True, slots=True)
class StudySet:
    """All that heads are fitted to: the features of each view of the photos, their labels, and outliers' features.

    *last* tells which of the features are those of the backbone's last layer.
    """

    views: Sequence[Features]
    labels: npt.NDArray[np.int64]
    classes: int
    outliers: Features
    last: slice
    groups: LayerGroups


Penalties = Mapping[str, float]
"""The groups whose logits are averaged, and each one's penalty."""


def fit_head(study: StudySet, penalties: Penalties, rows: Rows, outlier_rows: Rows) -> Head:
    """Fit a head to the photos *rows*, and its outlier logit to the outliers too, if there are any."""
    groups, labels = study.groups, study.labels[rows]
    weights, bias = np.zeros((groups.width, study.classes), np.float32), np.zeros(study.classes, np.float32)
    for name, penalty in penalties.items():
        fitted = fit_logistic(groups.components[name][:, rows], labels, study.classes, (penalty,))[0]
        more, shift = groups.to_features(name, *fitted)
        weights += more / len(penalties)
        bias += shift / len(penalties)
    outlier_weights, outlier_bias = _fit_outliers(study, rows, outlier_rows)
    chosen = rows[spread_sample(len(rows))]
    memory = unit(study.views[0][chosen, study.last].astype(np.float32))
    return Head(weights, bias, outlier_weights, outlier_bias, memory, study.last)


def _fit_outliers(study: StudySet, rows: Rows, outlier_rows: Rows) -> tuple[Floats, float]:
    if not len(outlier_rows):
        return np.zeros(study.groups.width, np.float32), 0.0
    group = next(iter(study.groups.components))
    known = study.groups.components[group][:2, rows]
    strange = study.groups.project(group, study.outliers[outlier_rows])
    both = np.concatenate([known, np.stack([strange] * 2)], axis=1)
    truth = np.repeat([0, 1], [len(rows), len(strange)])
    fitted = fit_logistic(both, truth, 2, (OUTLIER_PENALTY,))[0]
    weights, bias = study.groups.to_features(group, *fitted)
    return weights[:, 1] * 2, float(bias[1] * 2)
