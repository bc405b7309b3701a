"""What the model believes of its own answers, held against what its clean photos say: pure, numpy only.

Blur, noise or a colour cast often makes a model give nearly all photos the same answer, and be sure of it. If only the
photos look otherwise, and the vehicles are as many of each class as before, such a lean is error. So the answers are
weighed until, on the mean, they name each class as often as on clean photos; what is then believed of them is nearer
the truth. Where the pictures are as they were, a lean is another mix of classes instead, and nothing is weighed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.channels import ANSWERS, CHANNELS
from scones.monitoring.scores import Floats, Yardstick, spreads

_FLOOR = 1e-6
_STEPS, _LONGEST, _NEAR = 20, 2.0, 1e-4
_SHARPEST, _HALVINGS = 8.0, 30
_SURE = 3.0
"""Deviations by which a mean may be off by chance: there are some twenty of them."""
_USUAL = 2.0
"""Deviations by which the mix of a window may be another by chance, before half of its lean counts as error."""
_CERTAINLY = 0.3
"""Deviations of a channel beyond what any mix and chance explain, from which on a lean is all error."""
_OF_PICTURES = np.array([name not in ANSWERS - {"unfamiliarity"} for name in CHANNELS])


def _softmax(logs: Floats) -> Floats:
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _logs(probabilities: NDArray[np.floating]) -> Floats:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), _FLOOR))


def weigh(logs: Floats, mix: Floats) -> Floats:
    """Add a number a class to *logs* [n, C], so that the mean probabilities [C] are *mix*; give the probabilities."""
    weights = np.zeros(logs.shape[1])
    for _ in range(_STEPS):
        answers = _softmax(logs + weights)
        short = mix - answers.mean(axis=0)
        if np.abs(short).max() < _NEAR:
            break
        slope = np.diag(answers.mean(axis=0)) - answers.T @ answers / len(answers)
        step = np.linalg.solve(slope + _FLOOR * np.eye(len(weights)), short)
        # Where nearly all answers are certain, Newton's step would be far too long.
        weights += np.clip(step, -_LONGEST, _LONGEST)
    return _softmax(logs + weights)


@dataclass(frozen=True, slots=True)
class Balance:
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
    def of(cls, yardstick: Yardstick, channels: Floats, probabilities: Floats, accuracy: float) -> "Balance":
        """Take clean photos' channels [n, channels] and answers [n, C], of which the share *accuracy* is right."""
        logs = _logs(probabilities)
        low, high = 1 / _SHARPEST, _SHARPEST
        for _ in range(_HALVINGS):
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if _softmax(middle * logs).max(axis=1).mean() > accuracy else (middle, high)
        answers, said = _softmax(middle * logs), probabilities.argmax(axis=1)
        means = np.stack([pictures(yardstick, channels[said == each]) for each in np.unique(said)])
        return cls(middle, answers.mean(axis=0), len(logs), means.min(axis=0), means.max(axis=0))

    def believed(self, yardstick: Yardstick, channels: Floats, probabilities: NDArray[np.floating]) -> float:
        """Say which share of the answers [n, C] to photos with these *channels* [n, channels] it takes to be right."""
        logs, rows, said = self.sharpness * _logs(probabilities), np.arange(len(channels)), probabilities.argmax(axis=1)
        chance = np.sqrt(1 / len(rows) + 1 / self.photos)
        answers = _softmax(logs)
        plain, weighed = (each[rows, said].mean() for each in (answers, weigh(logs, self._expected(answers, chance))))
        found = pictures(yardstick, channels)
        beyond = np.maximum(self.lowest - found, found - self.highest).max() - _SURE * chance
        return float(plain + np.clip(beyond / _CERTAINLY, 0, 1) * (weighed - plain))

    def _expected(self, answers: Floats, chance: float) -> Floats:
        """The mix to weigh towards: that of the clean photos, but for what may differ by chance alone."""
        lean = answers.mean(axis=0) - self.mix
        usual = _USUAL * chance * np.sqrt(self.mix * (1 - self.mix))
        return np.asarray(self.mix + lean / (1 + ((lean / usual) ** 2).max()))


def pictures(yardstick: Yardstick, channels: Floats) -> Floats:
    """Give the mean level and spread of all that says how pictures look, not what is made of them."""
    scores = yardstick.score(np.nan_to_num(channels))[:, _OF_PICTURES]
    return np.concatenate([scores.mean(axis=0), spreads(scores).mean(axis=0)])
