"""Descriptions: how features changed, in words; the photos that changed most; and where the change began."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.drift.features import FEATURES, OOD_QUANTILE
from scones.monitoring.drift.normal_scores import Floats, NormalScores
from scones.monitoring.drift.window_test import FeatureShift

# Below, a channel's level has not moved, though it may have become more varied.
_MOVED = 0.25
_MIN_PHOTOS_AFTER = 5
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class ChangeDirection:
    """How the photos changed, on the scale of normal scores: the weight of each channel's level and of its size."""

    yardstick: NormalScores
    levels: Floats
    sizes: Floats

    @classmethod
    def of(cls, baseline: Floats, values: Floats, shifts: Sequence[FeatureShift]) -> "ChangeDirection":
        """Take the direction in which *values* [n, channels] lie from the *baseline*, [m, channels].

        What is not a number says nothing.
        """
        yardstick = NormalScores.of(np.nan_to_num(baseline))
        middle = np.median(yardstick.score(np.nan_to_num(values)), axis=0)
        weights = {shift.name: max(shift.score, 0.0) for shift in shifts}
        loudness = np.array([weights.get(name, 0.0) for name in FEATURES])
        moved = np.abs(middle) >= _MOVED
        return cls(yardstick, np.where(moved, loudness * np.sign(middle), 0), np.where(moved, 0, loudness))

    def along(self, values: Floats) -> Floats:
        """Say how far each photo lies in that direction, [n]."""
        scores = self.yardstick.score(np.nan_to_num(values))
        return np.asarray(scores @ self.levels + np.abs(scores) @ self.sizes)


def most_changed(along: Floats, count: int) -> NDArray[np.intp]:
    """Give the places of the photos that lie farthest, the worst first."""
    return np.argsort(-along, kind="stable")[:count]


def nearest_baseline(baseline: Floats, values: Floats) -> NDArray[np.intp]:
    """Give the place in the *baseline* of the photo most like each of *values*, over all channels."""
    yardstick = NormalScores.of(np.nan_to_num(baseline))
    known, asked = (yardstick.score(np.nan_to_num(table)) for table in (baseline, values))
    apart = (known**2).sum(axis=1) - 2 * asked @ known.T
    return np.asarray(apart.argmin(axis=1))


def estimate_onset(before: Floats, now: Floats) -> int:
    """Estimate the place in *now* [n] from which on it is no longer as *before* [m]: the likeliest step of a mean."""
    scores = (now - before.mean()) / (before.std() + _TINY)
    left = np.arange(len(scores), 0, -1)
    gains = np.maximum(np.cumsum(scores[::-1])[::-1], 0) ** 2 / left
    gains[left < _MIN_PHOTOS_AFTER] = 0
    return int(gains.argmax()) if len(gains) else 0


_WHITE = 255
# A median among the middle half of the baseline has not moved in a way that anybody would see.
_MIDDLE = 0.75
_MAX_PERCENT_RATIO = 100.0


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """One channel's medians in words, and which way it went; *times* says how far beyond the alarm line it is."""

    channel: str
    label: str
    before: str
    now: str
    word: str
    """What the photos have become: "darker"."""
    beyond: str
    """How unusual that is: "darker than 93% of the photos it learnt from"."""
    times: float

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.label} {self.before} -> {self.now}: {self.beyond}"


@dataclass(frozen=True, slots=True)
class _Words:
    label: str
    less: str
    more: str
    show: Callable[[float, float], str]
    """Writes a value, given the baseline's median."""


def _of_white(value: float, _usual: float) -> str:
    return f"{value / _WHITE:.0%}"


def _difference(value: float, _usual: float) -> str:
    return f"{100 * value / _WHITE:+.0f}%"


def _of_usual(value: float, usual: float) -> str:
    """Logarithms of 1 + x: nobody reads them, so they are shown beside what is usual."""
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


_CHANNELS: Mapping[str, _Words] = MappingProxyType(
    {
        "log_odds": _Words("probability of the first choice", "less sure", "surer", _probability),
        "certainty": _Words("certainty", "less certain", "more certain", _probability),
        "brightness": _Words("brightness", "darker", "brighter", _of_white),
        "contrast": _Words("contrast", "flatter", "harsher", _of_white),
        "sharpness": _Words("sharpness", "blurrier", "sharper", _of_usual),
        "saturation": _Words("colour", "paler", "more colourful", _of_usual),
        "red_blue": _Words("red over blue", "bluer", "redder", _difference),
        "clipping": _Words("black or burnt-out pixels", "less clipped", "more burnt out or black", _share),
        "noise": _Words("grain", "smoother", "grainier", _of_usual),
        "top_bottom": _Words("top over bottom", "brighter below", "brighter above", _difference),
        "left_right": _Words("left over right", "brighter on the right", "brighter on the left", _difference),
        "orientation": _Words("upright edges", "with more lying edges", "with more upright edges", _plain),
        "unfamiliarity": _Words("unfamiliar photos", "more familiar", "less familiar", _plain),
    }
)


def describe_shift(
    shift: FeatureShift, before: Floats, now: Floats, *, line: float, classes: Sequence[str]
) -> FeatureChange:
    """Put a shift into words, given the channel's values in the baseline and now.

    *line* is the alarm line that the shift's score is held against.
    """
    channel = _channel(shift.name, classes)
    times = shift.score / line if line > 0 else 0.0
    if shift.name == "unfamiliarity":
        return _describe_ood(channel, before, now, times)
    lower, higher = float((before < shift.now).mean()), float((before > shift.now).mean())
    word, share = (channel.more, lower) if lower >= higher else (channel.less, higher)
    beyond = f"{word} than {math.floor(100 * share)}% of the photos it learnt from"
    if share < _MIDDLE and (spread := _spread(before, now)):
        word, a_little = "more varied" if spread > 1 else "less varied", f"a little {word}"
        beyond = f"{a_little}, and {word} ({spread:.1f} times the spread)"
    elif share < _MIDDLE:
        word, beyond = f"a little {word}", f"a little {word} than usual"
    return FeatureChange(
        channel=shift.name,
        label=channel.label,
        before=channel.show(shift.before, shift.before),
        now=channel.show(shift.now, shift.before),
        word=word,
        beyond=beyond,
        times=times,
    )


def _describe_ood(channel: _Words, before: Floats, now: Floats, times: float) -> FeatureChange:
    """Say how many photos are strange: most are alike in their unfamiliarity, so its median tells nothing."""
    usual = np.quantile(before, OOD_QUANTILE)
    then, share = float((before > usual).mean()), float((now > usual).mean())
    return FeatureChange(
        channel="unfamiliarity",
        label=channel.label,
        before=f"{then:.0%}",
        now=f"{share:.0%}",
        word=channel.more if share >= then else channel.less,
        beyond=f"{share:.0%} of the photos are stranger than {OOD_QUANTILE:.0%} of those it learnt from",
        times=times,
    )


def describe_photo(values: Floats, baseline: Floats, classes: Sequence[str]) -> str:
    """Say in which way one photo, [channels], is most unusual beside the *baseline*, [n, channels]."""
    lower, higher = (baseline < values).mean(axis=0), (baseline > values).mean(axis=0)
    shares = np.where(np.isfinite(values) & np.isfinite(baseline).all(axis=0), np.maximum(lower, higher), 0)
    place = int(shares.argmax())
    channel = _channel(FEATURES[place], classes)
    return f"{channel.more if lower[place] >= higher[place] else channel.less} than {math.floor(100 * shares[place])}%"


def _channel(name: str, classes: Sequence[str]) -> _Words:
    # Only with two classes does the lean have two ends with names.
    if name == "log_odds" and len(classes) == 2:
        first, second = classes
        return _Words(f"lean to {second}", f"more like a {first}", f"more like a {second}", _probability)
    return _CHANNELS[name]


def _spread(before: Floats, now: Floats) -> float:
    """How many times as wide the middle half is; 0 where it is about as wide."""
    usual, found = (float(np.subtract(*np.quantile(values, [0.75, 0.25]))) for values in (before, now))
    times = found / usual if usual > 0 else 1.0
    return 0.0 if 1 / 1.25 < times < 1.25 else times
