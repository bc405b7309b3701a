"""Estimates the accuracy without labels, from simulated damage to labelled photos; numpy only.

It starts from the model's own confidence. Blur, noise or a colour cast often makes a model give nearly all photos the
same class with high confidence. If only the pictures changed, such a skew is error: the predictions are reweighted
until their mean is the class mix of clean photos. If the pictures are as before, a skew is another class mix, and
nothing is reweighted. A kernel ridge regression, trained on windows of damaged training photos, corrects the rest. How
much the regression counts, how wide the interval is, and how far from all simulated windows the estimate is still
trusted is decided on kinds of damage that were left out of the training. (The regression follows W. Deng and L. Zheng's
AutoEval, 2021.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.drift.baseline import InvalidSimulation, LabelledPhotos, SimulatedDamage, damage_kind
from scones.monitoring.drift.features import (
    CONTENT_FEATURES,
    FEATURES,
    Floats,
    NormalScores,
    spreads,
)

_FLOOR = 1e-6
_NEWTON_STEPS, _MAX_STEP, _NEAR = 20, 2.0, 1e-4
_MAX_SHARPNESS, _HALVINGS = 8.0, 30
_CHANCE_DEVIATIONS = 3.0
"""Standard deviations by which a mean may be off by chance: there are about twenty means."""
_USUAL = 2.0
"""Standard deviations of the class mix by chance; at this difference half of it counts as error."""
_ALL_ERROR = 0.3
"""Deviations of a feature, beyond what class mix and chance explain, above which a skew is all error."""
_IMAGE_FEATURES = np.array([name not in {"log_odds", "certainty", *CONTENT_FEATURES} for name in FEATURES])


def _softmax(logs: Floats) -> Floats:
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _logs(probabilities: NDArray[np.floating]) -> Floats:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), _FLOOR))


def reweight(logs: Floats, mix: Floats) -> Floats:
    """Add a weight per class to *logs* [n, C] so that the mean probabilities [C] are *mix*; return these."""
    weights = np.zeros(logs.shape[1])
    for _ in range(_NEWTON_STEPS):
        predictions = _softmax(logs + weights)
        short = mix - predictions.mean(axis=0)
        if np.abs(short).max() < _NEAR:
            break
        slope = np.diag(predictions.mean(axis=0)) - predictions.T @ predictions / len(predictions)
        step = np.linalg.solve(slope + _FLOOR * np.eye(len(weights)), short)
        # If nearly all predictions are certain, Newton's step would be far too long.
        weights += np.clip(step, -_MAX_STEP, _MAX_STEP)
    return _softmax(logs + weights)


@dataclass(frozen=True, slots=True)
class PredictionSkew:
    """Corrects confidence for prediction skew: fitted on clean photos.

    *sharpness* scales log-probabilities so that the mean confidence is the accuracy; *mix* is the class mix. *lowest*
    and *highest* are the extreme means of each level and spread over the photos of one class: no mix of classes lies
    beyond.
    """

    sharpness: float
    mix: Floats
    photos: int
    lowest: Floats
    highest: Floats

    @classmethod
    def fit(
        cls, normal_scores: NormalScores, features: Floats, probabilities: Floats, accuracy: float
    ) -> "PredictionSkew":
        """Fit to clean photos' features [n, features] and probabilities [n, C]; the share *accuracy* is right."""
        logs = _logs(probabilities)
        low, high = 1 / _MAX_SHARPNESS, _MAX_SHARPNESS
        for _ in range(_HALVINGS):
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if _softmax(middle * logs).max(axis=1).mean() > accuracy else (middle, high)
        predictions, labels = _softmax(middle * logs), probabilities.argmax(axis=1)
        means = np.stack([image_levels(normal_scores, features[labels == each]) for each in np.unique(labels)])
        return cls(middle, predictions.mean(axis=0), len(logs), means.min(axis=0), means.max(axis=0))

    def confidence(self, normal_scores: NormalScores, features: Floats, probabilities: NDArray[np.floating]) -> float:
        """The estimated share of right predictions [n, C] for photos with these *features* [n, features]."""
        logs, rows, labels = (
            self.sharpness * _logs(probabilities),
            np.arange(len(features)),
            probabilities.argmax(axis=1),
        )
        chance = np.sqrt(1 / len(rows) + 1 / self.photos)
        predictions = _softmax(logs)
        plain, weighed = (
            each[rows, labels].mean() for each in (predictions, reweight(logs, self._expected(predictions, chance)))
        )
        found = image_levels(normal_scores, features)
        beyond = np.maximum(self.lowest - found, found - self.highest).max() - _CHANCE_DEVIATIONS * chance
        return float(plain + np.clip(beyond / _ALL_ERROR, 0, 1) * (weighed - plain))

    def _expected(self, predictions: Floats, chance: float) -> Floats:
        """The mix to reweight to: that of the clean photos, except for what may differ by chance."""
        skew = predictions.mean(axis=0) - self.mix
        usual = _USUAL * chance * np.sqrt(self.mix * (1 - self.mix))
        return np.asarray(self.mix + skew / (1 + ((skew / usual) ** 2).max()))


def image_levels(normal_scores: NormalScores, features: Floats) -> Floats:
    """The mean level and spread of all features that depend on the pictures, not on the predictions."""
    scores = normal_scores.score(np.nan_to_num(features))[:, _IMAGE_FEATURES]
    return np.concatenate([scores.mean(axis=0), spreads(scores).mean(axis=0)])


WINDOW = 200
"""Photos in a simulated window."""
MIN_ESTIMATE_PHOTOS = 20
_WINDOWS, _CLEAN_WINDOWS = 16, 64
_SHARES = (1.0, 1.0, 0.7, 0.4)
_WIDTH, _RIDGE, _STRAIGHT = 1.0, 1.0, 0.2
_WEIGHTS = np.linspace(0, 1, 11)
_COVERED = 0.9
_Z = 1.6448536269514722
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class AccuracyEstimate:
    """The estimated accuracy with its 90% interval; *why* says whether to trust it."""

    accuracy: float
    low: float
    high: float
    trusted: bool
    why: str


@dataclass(frozen=True, slots=True)
class AccuracyEstimator:
    """Estimates the accuracy of windows; `fit` trains one."""

    normal_scores: NormalScores
    skew: PredictionSkew
    clean: float
    """The accuracy on the clean photos."""
    confident_above: float
    """The confidence that as many clean photos exceed as are predicted correctly."""
    regression: "_Regression"
    weight: float
    error_bound: float
    """The error that 90% of the windows with left-out damage stay below."""
    max_distance: float

    @classmethod
    def fit(cls, damage: SimulatedDamage, seed: int = 0) -> "AccuracyEstimator":
        """Simulate windows of these photos, and train on them."""
        clean, damaged = damage.clean, damage.damaged
        accuracy = float(clean.right.mean())
        normal_scores = NormalScores.of(np.nan_to_num(clean.features))
        skew = PredictionSkew.fit(normal_scores, clean.features, clean.probabilities, accuracy)
        confident_above = float(np.quantile(clean.probabilities.max(axis=1), 1 - accuracy))
        rng = np.random.default_rng(seed)
        kinds = np.array([damage_kind(name) for name in damaged for _ in range(_WINDOWS)] + [""] * _CLEAN_WINDOWS)
        windows = [_mix(clean, other, rng) for other in damaged.values() for _ in range(_WINDOWS)]
        windows += [_mix(clean, clean, rng) for _ in range(_CLEAN_WINDOWS)]
        confidence = np.array([skew.confidence(normal_scores, each.features, each.probabilities) for each in windows])
        inputs = np.stack(
            [_summary(normal_scores, confident_above, each.features, each.probabilities) for each in windows]
        )
        errors = np.array([each.right.mean() for each in windows]) - confidence
        unseen, away = _leave_out(inputs, errors, kinds)
        left = errors - _WEIGHTS[:, None] * unseen
        best = int((left[:, kinds != ""] ** 2).mean(axis=1).argmin())
        return cls(
            normal_scores=normal_scores,
            skew=skew,
            clean=accuracy,
            confident_above=confident_above,
            regression=_Regression.fit(inputs, errors),
            weight=float(_WEIGHTS[best]),
            error_bound=float(np.quantile(np.abs(left[best]), _COVERED)),
            max_distance=float(np.quantile(away, _COVERED)),
        )

    def estimate(self, features: Floats, probabilities: NDArray[np.floating]) -> AccuracyEstimate:
        """Estimate the accuracy on photos with these *features* [n, features] and *probabilities* [n, C].

        No estimate holds for another model than the registered one: run the prediction check first.

        Raises:
            InvalidSimulation: no photos.
        """
        count = len(features)
        if not count:
            raise InvalidSimulation("no photos to estimate an accuracy from; wait for some")
        inputs = _summary(self.normal_scores, self.confident_above, features, probabilities)[None]
        confidence = self.skew.confidence(self.normal_scores, features, probabilities)
        accuracy = float(np.clip(confidence + self.weight * self.regression.predict(inputs)[0], 0, 1))
        # The error bound holds for windows of WINDOW photos drawn from the training photos; smaller ones vary more by
        # chance, and the training photos are a sample too.
        chance = _Z**2 * max(accuracy * (1 - accuracy), 0.01) * max(1 / count - 1 / WINDOW, 0)
        sample = _Z**2 * self.clean * (1 - self.clean) / self.skew.photos
        half = float(np.sqrt(self.error_bound**2 + chance + sample))
        near = float(self.regression.distance(inputs)[0]) <= self.max_distance
        why = "similar photos were simulated"
        if count < MIN_ESTIMATE_PHOTOS:
            why = f"fewer than {MIN_ESTIMATE_PHOTOS} photos"
        elif not near:
            why = "no simulated photos are similar: label some"
        low, high = max(0.0, accuracy - half), min(1.0, accuracy + half)
        return AccuracyEstimate(accuracy, low, high, near and count >= MIN_ESTIMATE_PHOTOS, why)


def _mix(clean: LabelledPhotos, other: LabelledPhotos, rng: np.random.Generator) -> LabelledPhotos:
    """Draw a window, part of it damaged."""
    hurt = int(WINDOW * rng.choice(_SHARES))
    rows, rest = rng.integers(0, len(other.right), hurt), rng.integers(0, len(clean.right), WINDOW - hurt)
    return LabelledPhotos(
        np.concatenate([other.features[rows], clean.features[rest]]),
        np.concatenate([other.probabilities[rows], clean.probabilities[rest]]),
        np.concatenate([other.right[rows], clean.right[rest]]),
    )


def _summary(
    normal_scores: NormalScores, confident_above: float, features: Floats, probabilities: NDArray[np.floating]
) -> Floats:
    """The regression's inputs for a window: mean confidence, share of confident photos, mean levels and spreads."""
    confidence = probabilities.max(axis=1)
    scores = normal_scores.score(np.nan_to_num(features))
    means = np.concatenate([scores.mean(axis=0), spreads(scores).mean(axis=0)])
    return np.concatenate([[confidence.mean(), (confidence > confident_above).mean()], means, np.abs(means)])


def _leave_out(inputs: Floats, truth: Floats, kinds: NDArray[np.str_]) -> tuple[Floats, Floats]:
    """Predict each kind of damage from the others; return the predictions, and the distances from their windows."""
    unseen, away = np.empty(len(truth)), np.empty(len(truth))
    for kind in np.unique(kinds):
        out = kinds == kind
        # Clean windows are no damage: half of them predict the other half.
        if not kind:
            out &= np.arange(len(kinds)) % 2 == 0
        regression = _Regression.fit(inputs[~out], truth[~out])
        held = kinds == kind
        unseen[held], away[held] = regression.predict(inputs[held]), regression.distance(inputs[held])
    return unseen, away


@dataclass(frozen=True, slots=True)
class _Regression:
    """Kernel ridge regression with a Gaussian and a linear kernel."""

    centre: Floats
    spread: Floats
    known: Floats
    mean: float
    coefficients: Floats

    @classmethod
    def fit(cls, inputs: Floats, truth: Floats) -> "_Regression":
        centre, spread = inputs.mean(axis=0), inputs.std(axis=0) + _TINY
        known, mean = (inputs - centre) / spread, float(truth.mean())
        kernel = _kernel(known, known) + _RIDGE * np.eye(len(known))
        return cls(centre, spread, known, mean, np.asarray(np.linalg.solve(kernel, truth - mean), np.float64))

    def predict(self, inputs: Floats) -> Floats:
        kernel = _kernel((inputs - self.centre) / self.spread, self.known)
        return np.asarray(kernel @ self.coefficients + self.mean)

    def distance(self, inputs: Floats) -> Floats:
        """The distance from the nearest training window, in standard deviations per input."""
        apart = _apart((inputs - self.centre) / self.spread, self.known)
        return np.asarray(np.sqrt(np.maximum(apart.min(axis=1), 0) / inputs.shape[1]))


def _apart(one: Floats, other: Floats) -> Floats:
    return np.asarray((one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T)


def _kernel(one: Floats, other: Floats) -> Floats:
    inputs = one.shape[1]
    return np.asarray(np.exp(-_WIDTH / inputs * _apart(one, other)) + _STRAIGHT / inputs * one @ other.T)
