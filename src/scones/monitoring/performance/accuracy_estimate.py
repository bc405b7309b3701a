"""Estimates the accuracy without labels, from simulated damage to labelled photos; numpy only.

It starts from the model's own confidence. Blur, noise or a colour cast often makes a model give nearly all photos the
same class with high confidence. If only the pictures changed, such a skew is error: the predictions are reweighted
until their mean is the class mix of clean photos. If the pictures are as before, a skew is another class mix, and
nothing is reweighted. A kernel ridge regression, trained on windows of damaged training photos, corrects the rest. How
much the regression counts, how wide the interval is, and how far from all simulated windows the estimate is still
trusted is decided on kinds of damage that were left out of the training. (The regression follows W. Deng and L. Zheng's
AutoEval, 2021.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import SconesError
from scones.monitoring.drift.features import FEATURES, PREDICTION_FEATURES
from scones.monitoring.drift.normal_scores import Floats, NormalScores, spreads

_FLOOR = 1e-6
_NEWTON_STEPS, _MAX_STEP, _NEAR = 20, 2.0, 1e-4
_MAX_SHARPNESS, _HALVINGS = 8.0, 30
_CHANCE_DEVIATIONS = 3.0
"""Deviations by which a mean may be off by chance: there are some twenty of them."""
_USUAL = 2.0
"""Deviations by which the mix of a window may be another by chance, before half of its lean counts as error."""
_ALL_ERROR = 0.3
"""Deviations of a channel beyond what any mix and chance explain, from which on a lean is all error."""
_IMAGE_FEATURES = np.array([name not in PREDICTION_FEATURES - {"unfamiliarity"} for name in FEATURES])


def _softmax(logs: Floats) -> Floats:
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _logs(probabilities: NDArray[np.floating]) -> Floats:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), _FLOOR))


def reweight(logs: Floats, mix: Floats) -> Floats:
    """Add a number a class to *logs* [n, C], so that the mean probabilities [C] are *mix*; give the probabilities."""
    weights = np.zeros(logs.shape[1])
    for _ in range(_NEWTON_STEPS):
        answers = _softmax(logs + weights)
        short = mix - answers.mean(axis=0)
        if np.abs(short).max() < _NEAR:
            break
        slope = np.diag(answers.mean(axis=0)) - answers.T @ answers / len(answers)
        step = np.linalg.solve(slope + _FLOOR * np.eye(len(weights)), short)
        # Where nearly all answers are certain, Newton's step would be far too long.
        weights += np.clip(step, -_MAX_STEP, _MAX_STEP)
    return _softmax(logs + weights)


@dataclass(frozen=True, slots=True)
class PredictionSkew:
    """What clean photos are like: how sharp answers must be to be right as often as believed, the mix, and the range.

    The *lowest* and *highest* mean of each level and spread are those of the photos of one class alone: no mix of
    classes lies beyond.
    """

    sharpness: float
    mix: Floats
    photos: int
    lowest: Floats
    highest: Floats

    @classmethod
    def of(cls, yardstick: NormalScores, channels: Floats, probabilities: Floats, accuracy: float) -> "PredictionSkew":
        """Take clean photos' channels [n, channels] and answers [n, C], of which the share *accuracy* is right."""
        logs = _logs(probabilities)
        low, high = 1 / _MAX_SHARPNESS, _MAX_SHARPNESS
        for _ in range(_HALVINGS):
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if _softmax(middle * logs).max(axis=1).mean() > accuracy else (middle, high)
        answers, said = _softmax(middle * logs), probabilities.argmax(axis=1)
        means = np.stack([image_levels(yardstick, channels[said == each]) for each in np.unique(said)])
        return cls(middle, answers.mean(axis=0), len(logs), means.min(axis=0), means.max(axis=0))

    def believed(self, yardstick: NormalScores, channels: Floats, probabilities: NDArray[np.floating]) -> float:
        """Say which share of the answers [n, C] to photos with these *channels* [n, channels] it takes to be right."""
        logs, rows, said = self.sharpness * _logs(probabilities), np.arange(len(channels)), probabilities.argmax(axis=1)
        chance = np.sqrt(1 / len(rows) + 1 / self.photos)
        answers = _softmax(logs)
        plain, weighed = (
            each[rows, said].mean() for each in (answers, reweight(logs, self._expected(answers, chance)))
        )
        found = image_levels(yardstick, channels)
        beyond = np.maximum(self.lowest - found, found - self.highest).max() - _CHANCE_DEVIATIONS * chance
        return float(plain + np.clip(beyond / _ALL_ERROR, 0, 1) * (weighed - plain))

    def _expected(self, answers: Floats, chance: float) -> Floats:
        """The mix to weigh towards: that of the clean photos, but for what may differ by chance alone."""
        lean = answers.mean(axis=0) - self.mix
        usual = _USUAL * chance * np.sqrt(self.mix * (1 - self.mix))
        return np.asarray(self.mix + lean / (1 + ((lean / usual) ** 2).max()))


def image_levels(yardstick: NormalScores, channels: Floats) -> Floats:
    """Give the mean level and spread of all that says how pictures look, not what is made of them."""
    scores = yardstick.score(np.nan_to_num(channels))[:, _IMAGE_FEATURES]
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


class InvalidSimulation(SconesError):
    """What the estimate should learn from is not there, or does not fit together."""


@dataclass(frozen=True, slots=True)
class LabelledPhotos:
    """Photos whose truth is known: channels [n, channels], answers [n, C], and whether these were right [n].

    Raises:
        BadLesson: on construction, if these are not as many.
    """

    channels: Floats
    probabilities: Floats
    right: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if not len(self.channels) == len(self.probabilities) == len(self.right) > 0:
            counts = f"{len(self.channels)} photos, {len(self.probabilities)} answers, {len(self.right)} truths"
            raise InvalidSimulation(f"{counts}: they do not fit together; train again")


@dataclass(frozen=True, slots=True)
class SimulatedDamage:
    """What training leaves to learn from: clean photos, and damaged ones by name, "kind severity".

    Raises:
        BadLesson: on construction, if there are fewer than two kinds of damage.
    """

    clean: LabelledPhotos
    damaged: Mapping[str, LabelledPhotos]

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to compare with."""
        # One to learn from, and one to leave out.
        if len({_kind(name) for name in self.damaged}) <= 1:
            raise InvalidSimulation("an estimate needs two kinds of damage or more to learn from; train again")


@dataclass(frozen=True, slots=True)
class AccuracyEstimate:
    """The estimated accuracy with its 90% interval; *why* says what it is worth, in words."""

    accuracy: float
    low: float
    high: float
    trusted: bool
    why: str


@dataclass(frozen=True, slots=True)
class AccuracyEstimator:
    """Estimates windows; `learn` makes one."""

    yardstick: NormalScores
    balance: PredictionSkew
    clean: float
    """The accuracy on the clean photos."""
    sure: float
    """The confidence that as many clean photos exceed as are answered rightly."""
    regression: "_Regression"
    weight: float
    doubt: float
    """The error that nine in ten windows of left-out damage stay below."""
    farthest: float

    @classmethod
    def learn(cls, lesson: SimulatedDamage, seed: int = 0) -> "AccuracyEstimator":
        """Simulate windows of the lesson's photos, and learn from them."""
        clean, damaged = lesson.clean, lesson.damaged
        accuracy = float(clean.right.mean())
        yardstick = NormalScores.of(np.nan_to_num(clean.channels))
        balance = PredictionSkew.of(yardstick, clean.channels, clean.probabilities, accuracy)
        sure = float(np.quantile(clean.probabilities.max(axis=1), 1 - accuracy))
        rng = np.random.default_rng(seed)
        kinds = np.array([_kind(name) for name in damaged for _ in range(_WINDOWS)] + [""] * _CLEAN_WINDOWS)
        windows = [_mix(clean, other, rng) for other in damaged.values() for _ in range(_WINDOWS)]
        windows += [_mix(clean, clean, rng) for _ in range(_CLEAN_WINDOWS)]
        believed = np.array([balance.believed(yardstick, each.channels, each.probabilities) for each in windows])
        features = np.stack([_summary(yardstick, sure, each.channels, each.probabilities) for each in windows])
        off = np.array([each.right.mean() for each in windows]) - believed
        unseen, away = _leave_out(features, off, kinds)
        left = off - _WEIGHTS[:, None] * unseen
        best = int((left[:, kinds != ""] ** 2).mean(axis=1).argmin())
        return cls(
            yardstick=yardstick,
            balance=balance,
            clean=accuracy,
            sure=sure,
            regression=_Regression.fit(features, off),
            weight=float(_WEIGHTS[best]),
            doubt=float(np.quantile(np.abs(left[best]), _COVERED)),
            farthest=float(np.quantile(away, _COVERED)),
        )

    def estimate(self, channels: Floats, probabilities: NDArray[np.floating]) -> AccuracyEstimate:
        """Estimate the accuracy on photos with these *channels* [n, channels] and *probabilities* [n, C].

        No estimate holds for another model than the registered one: ask replay first.

        Raises:
            BadLesson: no photos.
        """
        count = len(channels)
        if not count:
            raise InvalidSimulation("no photos to estimate an accuracy on; wait for some")
        features = _summary(self.yardstick, self.sure, channels, probabilities)[None]
        believed = self.balance.believed(self.yardstick, channels, probabilities)
        accuracy = float(np.clip(believed + self.weight * self.regression.predict(features)[0], 0, 1))
        # The doubt holds for windows of WINDOW photos, drawn from those learnt from; smaller ones vary more by chance,
        # and the photos learnt from are a sample too.
        chance = _Z**2 * max(accuracy * (1 - accuracy), 0.01) * max(1 / count - 1 / WINDOW, 0)
        sample = _Z**2 * self.clean * (1 - self.clean) / self.balance.photos
        half = float(np.sqrt(self.doubt**2 + chance + sample))
        near = float(self.regression.distance(features)[0]) <= self.farthest
        why = "photos like these were simulated"
        if count < MIN_ESTIMATE_PHOTOS:
            why = f"fewer than {MIN_ESTIMATE_PHOTOS} photos"
        elif not near:
            why = "photos unlike all that were simulated: label some"
        low, high = max(0.0, accuracy - half), min(1.0, accuracy + half)
        return AccuracyEstimate(accuracy, low, high, near and count >= MIN_ESTIMATE_PHOTOS, why)


def _kind(name: str) -> str:
    return name.split(" ", maxsplit=1)[0]


def _mix(clean: LabelledPhotos, other: LabelledPhotos, rng: np.random.Generator) -> LabelledPhotos:
    """Draw a window, part of it damaged."""
    hurt = int(WINDOW * rng.choice(_SHARES))
    rows, rest = rng.integers(0, len(other.right), hurt), rng.integers(0, len(clean.right), WINDOW - hurt)
    return LabelledPhotos(
        np.concatenate([other.channels[rows], clean.channels[rest]]),
        np.concatenate([other.probabilities[rows], clean.probabilities[rest]]),
        np.concatenate([other.right[rows], clean.right[rest]]),
    )


def _summary(yardstick: NormalScores, sure: float, channels: Floats, probabilities: NDArray[np.floating]) -> Floats:
    """What a regression sees of a window: mean confidence, share of the sure, mean levels and spreads, and sizes."""
    confidence = probabilities.max(axis=1)
    scores = yardstick.score(np.nan_to_num(channels))
    means = np.concatenate([scores.mean(axis=0), spreads(scores).mean(axis=0)])
    return np.concatenate([[confidence.mean(), (confidence > sure).mean()], means, np.abs(means)])


def _leave_out(features: Floats, truth: Floats, kinds: NDArray[np.str_]) -> tuple[Floats, Floats]:
    """Predict each kind of damage from the others; give the predictions and the distances from what was learnt."""
    unseen, away = np.empty(len(truth)), np.empty(len(truth))
    for kind in np.unique(kinds):
        out = kinds == kind
        # Clean windows are no damage to come: half of them predict the other half.
        if not kind:
            out &= np.arange(len(kinds)) % 2 == 0
        regression = _Regression.fit(features[~out], truth[~out])
        held = kinds == kind
        unseen[held], away[held] = regression.predict(features[held]), regression.distance(features[held])
    return unseen, away


@dataclass(frozen=True, slots=True)
class _Regression:
    """Kernel ridge regression with a bell and a straight part."""

    centre: Floats
    spread: Floats
    known: Floats
    mean: float
    coefficients: Floats

    @classmethod
    def fit(cls, features: Floats, truth: Floats) -> "_Regression":
        centre, spread = features.mean(axis=0), features.std(axis=0) + _TINY
        known, mean = (features - centre) / spread, float(truth.mean())
        kernel = _kernel(known, known) + _RIDGE * np.eye(len(known))
        return cls(centre, spread, known, mean, np.asarray(np.linalg.solve(kernel, truth - mean), np.float64))

    def predict(self, features: Floats) -> Floats:
        kernel = _kernel((features - self.centre) / self.spread, self.known)
        return np.asarray(kernel @ self.coefficients + self.mean)

    def distance(self, features: Floats) -> Floats:
        """The distance from the nearest window that was learnt from, in deviations a feature."""
        apart = _apart((features - self.centre) / self.spread, self.known)
        return np.asarray(np.sqrt(np.maximum(apart.min(axis=1), 0) / features.shape[1]))


def _apart(one: Floats, other: Floats) -> Floats:
    return np.asarray((one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T)


def _kernel(one: Floats, other: Floats) -> Floats:
    features = one.shape[1]
    return np.asarray(np.exp(-_WIDTH / features * _apart(one, other)) + _STRAIGHT / features * one @ other.T)
