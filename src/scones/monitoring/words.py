"""Words: how a channel moved, so that a person understands it: "brightness 49% -> 27%, darker than 93% of ..."."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from scones.monitoring.channels import CHANNELS, FAMILIAR
from scones.monitoring.detectors import ChannelShift
from scones.monitoring.scores import Floats

_WHITE = 255
# A median among the middle half of the baseline has not moved in a way that anybody would see.
_MIDDLE = 0.75
_MOST_TIMES = 100.0


@dataclass(frozen=True, slots=True)
class Moved:
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
class _Channel:
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
    return f"{share:.0%}" if share < _MOST_TIMES else f"{share:.0f} x"


def _probability(value: float, _usual: float) -> str:
    return f"{100 / (1 + math.exp(-value)):.0f}%"


def _share(value: float, _usual: float) -> str:
    return f"{100 * value:.1f}%"


def _plain(value: float, _usual: float) -> str:
    return f"{value:.2f}"


_CHANNELS: Mapping[str, _Channel] = MappingProxyType(
    {
        "log_odds": _Channel("probability of the first choice", "less sure", "surer", _probability),
        "certainty": _Channel("certainty", "less certain", "more certain", _probability),
        "brightness": _Channel("brightness", "darker", "brighter", _of_white),
        "contrast": _Channel("contrast", "flatter", "harsher", _of_white),
        "sharpness": _Channel("sharpness", "blurrier", "sharper", _of_usual),
        "saturation": _Channel("colour", "paler", "more colourful", _of_usual),
        "red_blue": _Channel("red over blue", "bluer", "redder", _difference),
        "clipping": _Channel("black or burnt-out pixels", "less clipped", "more burnt out or black", _share),
        "noise": _Channel("grain", "smoother", "grainier", _of_usual),
        "top_bottom": _Channel("top over bottom", "brighter below", "brighter above", _difference),
        "left_right": _Channel("left over right", "brighter on the right", "brighter on the left", _difference),
        "orientation": _Channel("upright edges", "with more lying edges", "with more upright edges", _plain),
        "unfamiliarity": _Channel("unfamiliar photos", "more familiar", "less familiar", _plain),
    }
)


def describe(shift: ChannelShift, before: Floats, now: Floats, *, line: float, classes: Sequence[str]) -> Moved:
    """Put a shift into words, given the channel's values in the baseline and now.

    *line* is the alarm line that the shift's score is held against.
    """
    channel = _channel(shift.name, classes)
    times = shift.score / line if line > 0 else 0.0
    if shift.name == "unfamiliarity":
        return _stranger(channel, before, now, times)
    lower, higher = float((before < shift.now).mean()), float((before > shift.now).mean())
    word, share = (channel.more, lower) if lower >= higher else (channel.less, higher)
    beyond = f"{word} than {math.floor(100 * share)}% of the photos it learnt from"
    if share < _MIDDLE and (spread := _spread(before, now)):
        word, a_little = "more varied" if spread > 1 else "less varied", f"a little {word}"
        beyond = f"{a_little}, and {word} ({spread:.1f} times the spread)"
    elif share < _MIDDLE:
        word, beyond = f"a little {word}", f"a little {word} than usual"
    return Moved(
        channel=shift.name,
        label=channel.label,
        before=channel.show(shift.before, shift.before),
        now=channel.show(shift.now, shift.before),
        word=word,
        beyond=beyond,
        times=times,
    )


def _stranger(channel: _Channel, before: Floats, now: Floats, times: float) -> Moved:
    """Say how many photos are strange: most are alike in their unfamiliarity, so its median tells nothing."""
    usual = np.quantile(before, FAMILIAR)
    then, share = float((before > usual).mean()), float((now > usual).mean())
    return Moved(
        channel="unfamiliarity",
        label=channel.label,
        before=f"{then:.0%}",
        now=f"{share:.0%}",
        word=channel.more if share >= then else channel.less,
        beyond=f"{share:.0%} of the photos are stranger than {FAMILIAR:.0%} of those it learnt from",
        times=times,
    )


def describe_photo(values: Floats, baseline: Floats, classes: Sequence[str]) -> str:
    """Say in which way one photo, [channels], is most unusual beside the *baseline*, [n, channels]."""
    lower, higher = (baseline < values).mean(axis=0), (baseline > values).mean(axis=0)
    shares = np.where(np.isfinite(values) & np.isfinite(baseline).all(axis=0), np.maximum(lower, higher), 0)
    place = int(shares.argmax())
    channel = _channel(CHANNELS[place], classes)
    return f"{channel.more if lower[place] >= higher[place] else channel.less} than {math.floor(100 * shares[place])}%"


def _channel(name: str, classes: Sequence[str]) -> _Channel:
    # Only with two classes does the lean have two ends with names.
    if name == "log_odds" and len(classes) == 2:
        first, second = classes
        return _Channel(f"lean to {second}", f"more like a {first}", f"more like a {second}", _probability)
    return _CHANNELS[name]


def _spread(before: Floats, now: Floats) -> float:
    """How many times as wide the middle half is; 0 where it is about as wide."""
    usual, found = (float(np.subtract(*np.quantile(values, [0.75, 0.25]))) for values in (before, now))
    times = found / usual if usual > 0 else 1.0
    return 0.0 if 1 / 1.25 < times < 1.25 else times
