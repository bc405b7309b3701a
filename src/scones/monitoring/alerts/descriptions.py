"""Descriptions: how features changed, in words; the photos that changed most; and where the change began."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.drift.features import CONTENT_FEATURES, FEATURES, OOD_QUANTILE, Floats, NormalScores
from scones.monitoring.drift.window_test import FeatureShift

# Below this shift of the median a feature's level is unchanged, though its spread may have changed.
_MOVED = 0.25
_MIN_PHOTOS_AFTER = 5
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class ChangeDirection:
    """How the photos changed, in normal scores: the weight of each feature's level and of its size."""

    normal_scores: NormalScores
    levels: Floats
    sizes: Floats

    @classmethod
    def of(cls, baseline: Floats, values: Floats, shifts: Sequence[FeatureShift]) -> "ChangeDirection":
        """The direction from the *baseline*, [m, features], to *values* [n, features].

        NaN is ignored.
        """
        normal_scores = NormalScores.of(np.nan_to_num(baseline))
        middle = np.median(normal_scores.score(np.nan_to_num(values)), axis=0)
        weights = {shift.name: max(shift.score, 0.0) for shift in shifts}
        strength = np.array([weights.get(name, 0.0) for name in FEATURES])
        moved = np.abs(middle) >= _MOVED
        return cls(normal_scores, np.where(moved, strength * np.sign(middle), 0), np.where(moved, 0, strength))

    def along(self, values: Floats) -> Floats:
        """How far each photo lies in that direction, [n]."""
        scores = self.normal_scores.score(np.nan_to_num(values))
        return np.asarray(scores @ self.levels + np.abs(scores) @ self.sizes)


def most_changed(along: Floats, count: int) -> NDArray[np.intp]:
    """Give the places of the photos that lie max_distance, the worst first."""
    return np.argsort(-along, kind="stable")[:count]


def nearest_baseline(baseline: Floats, values: Floats) -> NDArray[np.intp]:
    """The place in the *baseline* of the photo most similar to each of *values*, over all features."""
    normal_scores = NormalScores.of(np.nan_to_num(baseline))
    known, compared = (normal_scores.score(np.nan_to_num(table)) for table in (baseline, values))
    apart = (known**2).sum(axis=1) - 2 * compared @ known.T
    return np.asarray(apart.argmin(axis=1))


def estimate_onset(before: Floats, now: Floats) -> int:
    """Estimate the place in *now* [n] where the mean departs from *before* [m]: the most likely step."""
    scores = (now - before.mean()) / (before.std() + _TINY)
    left = np.arange(len(scores), 0, -1)
    gains = np.maximum(np.cumsum(scores[::-1])[::-1], 0) ** 2 / left
    gains[left < _MIN_PHOTOS_AFTER] = 0
    return int(gains.argmax()) if len(gains) else 0


_WHITE = 255
# A median within the middle half of the baseline is not a visible change.
_MIDDLE = 0.75
_MAX_PERCENT_RATIO = 100.0


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """One feature's medians in words, and the direction; *times* is the drift score in units of the threshold."""

    feature: str
    label: str
    before: str
    now: str
    word: str
    """How the photos changed: "darker"."""
    beyond: str
    """How unusual that is: "darker than 93% of the baseline's photos"."""
    times: float

    def __str__(self) -> str:
        """The change in one line."""
        return f"{self.label} {self.before} -> {self.now}: {self.beyond}"


@dataclass(frozen=True, slots=True)
class _Words:
    label: str
    less: str
    more: str
    show: Callable[[float, float], str]
    """Formats a value, given the baseline's median."""


def _of_white(value: float, _usual: float) -> str:
    return f"{value / _WHITE:.0%}"


def _difference(value: float, _usual: float) -> str:
    return f"{100 * value / _WHITE:+.0f}%"


def _of_usual(value: float, usual: float) -> str:
    """Logarithms of 1 + x, shown relative to the baseline's median."""
    if not math.expm1(usual) > 0:
        return f"{math.expm1(value):.2g}"
    share = math.expm1(value) / math.expm1(usual)
    return f"{share:.0%}" if share < _MAX_PERCENT_RATIO else f"{share:.0f} x"


def _probability(value: float, _usual: float) -> str:
    return f"{100 / (1 + math.exp(-value)):.0f}%"


def _share(value: float, _usual: float) -> str:
    return f"{100 * value:.1f}%"


def _plain(value: float, _usual: float) -> str:
    return f"{value:.2f}"


_SHOWN = "what the photos show"
_EDGE = 0.05
"""The share of training photos on each side that are unusual in what they show."""

_CHANNELS: Mapping[str, _Words] = MappingProxyType(
    {
        "log_odds": _Words("probability of the predicted class", "less confident", "more confident", _probability),
        "certainty": _Words("certainty", "less certain", "more certain", _probability),
        "brightness": _Words("brightness", "darker", "brighter", _of_white),
        "contrast": _Words("contrast", "flatter", "harsher", _of_white),
        "sharpness": _Words("sharpness", "blurrier", "sharper", _of_usual),
        "saturation": _Words("colour", "paler", "more colourful", _of_usual),
        "red_blue": _Words("red over blue", "bluer", "redder", _difference),
        "clipping": _Words("black or burnt-out pixels", "less clipped", "more clipped", _share),
        "noise": _Words("grain", "smoother", "grainier", _of_usual),
        "top_bottom": _Words("top minus bottom", "brighter below", "brighter above", _difference),
        "left_right": _Words("left minus right", "brighter on the right", "brighter on the left", _difference),
        "orientation": _Words("vertical edges", "with more horizontal edges", "with more vertical edges", _plain),
        "colour_grain": _Words("grain in the colours", "smoother in colour", "grainier in colour", _of_usual),
        "richest_colour": _Words("richest colour", "less richly coloured", "more richly coloured", _share),
        **{
            name: _Words(_SHOWN, "unusual in what they show", "unusual in what they show", _plain)
            for name in CONTENT_FEATURES
        },
        "ood_score": _Words(
            "photos with a high OOD score", "less out of distribution", "more out of distribution", _plain
        ),
    }
)


def describe_shift(
    shift: FeatureShift, before: Floats, now: Floats, *, threshold: float, classes: Sequence[str]
) -> FeatureChange:
    """Describe a shift in words, given the feature's values in the baseline and now.

    *threshold* is that of the shift's score.
    """
    feature = _channel(shift.name, classes)
    times = shift.score / threshold if threshold > 0 else 0.0
    if shift.name == "ood_score":
        return _describe_ood(feature, before, now, times)
    if shift.name in CONTENT_FEATURES:
        return _describe_content(before, now, times)
    lower, higher = float((before < shift.now).mean()), float((before > shift.now).mean())
    word, share = (feature.more, lower) if lower >= higher else (feature.less, higher)
    beyond = f"{word} than {math.floor(100 * share)}% of the baseline's photos"
    if share < _MIDDLE and (spread := _spread(before, now)):
        word, a_little = "more varied" if spread > 1 else "less varied", f"a little {word}"
        beyond = f"{a_little}, and {word} ({spread:.1f} times the spread)"
    elif share < _MIDDLE:
        word, beyond = f"a little {word}", f"a little {word} than usual"
    return FeatureChange(
        feature=shift.name,
        label=feature.label,
        before=feature.show(shift.before, shift.before),
        now=feature.show(shift.now, shift.before),
        word=word,
        beyond=beyond,
        times=times,
    )


def _describe_content(before: Floats, now: Floats, times: float) -> FeatureChange:
    """Count photos on the side to which they moved: a direction of the backbone's features has no name of its own."""
    low, high = np.quantile(before, [_EDGE, 1 - _EDGE])
    left, right = float((now < low).mean()), float((now > high).mean())
    share = max(left, right)
    return FeatureChange(
        feature="content",
        label=f"photos whose content is rare in the baseline ({_EDGE:.0%} of it)",
        before=f"{_EDGE:.0%}",
        now=f"{share:.0%}",
        word="different in what they show",
        beyond=f"what the photos show changed: {share:.0%} of them show what {_EDGE:.0%} of the baseline's photos do",
        times=times,
    )


def _describe_ood(feature: _Words, before: Floats, now: Floats, times: float) -> FeatureChange:
    """Count photos with a high OOD score: most scores are clipped to the same value, so the median says nothing."""
    usual = np.quantile(before, OOD_QUANTILE)
    then, share = float((before > usual).mean()), float((now > usual).mean())
    return FeatureChange(
        feature="ood_score",
        label=feature.label,
        before=f"{then:.0%}",
        now=f"{share:.0%}",
        word=feature.more if share >= then else feature.less,
        beyond=f"{share:.0%} of the photos have a higher OOD score than {OOD_QUANTILE:.0%} of the baseline's photos",
        times=times,
    )


def describe_photo(values: Floats, baseline: Floats, classes: Sequence[str]) -> str:
    """Describe how one photo, [features], is most unusual compared with the *baseline*, [n, features]."""
    lower, higher = (baseline < values).mean(axis=0), (baseline > values).mean(axis=0)
    shares = np.where(np.isfinite(values) & np.isfinite(baseline).all(axis=0), np.maximum(lower, higher), 0)
    place = int(shares.argmax())
    feature = _channel(FEATURES[place], classes)
    return f"{feature.more if lower[place] >= higher[place] else feature.less} than {math.floor(100 * shares[place])}%"


def _channel(name: str, classes: Sequence[str]) -> _Words:
    # Only with two classes do both directions have a name.
    if name == "log_odds" and len(classes) == 2:
        first, second = classes
        return _Words(f"probability of {second}", f"more like a {first}", f"more like a {second}", _probability)
    return _CHANNELS[name]


def _spread(before: Floats, now: Floats) -> float:
    """The ratio of the interquartile ranges; 0 if they are about the same."""
    usual, found = (float(np.subtract(*np.quantile(values, [0.75, 0.25]))) for values in (before, now))
    times = found / usual if usual > 0 else 1.0
    return 0.0 if 1 / 1.25 < times < 1.25 else times
