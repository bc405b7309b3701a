"""Cause: why an alarm rang, as far as the photos tell; rules over the channels, the replay and the class mix.

The rules ask in this order, the surest first. Does the registered model give other answers to the same photos? Then it
is the model, whatever else moved. Does the guard find the photos stranger than any change of the picture explains? Then
they show something else. Did the pictures themselves change? Then it is their quality. Only then is a lean to one class
a class mix, and answers that changed by themselves another model. docs/monitoring.md says how often they are right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scones.monitoring.channels import ANSWERS
from scones.monitoring.detectors import Verdict
from scones.monitoring.replay import Replayed


class Cause(StrEnum):
    """What most likely changed."""

    MODEL = "model changed"
    UNFAMILIAR = "unfamiliar content"
    QUALITY = "image quality"
    MIX = "class mix"
    UNCLEAR = "unclear"


MIX_CHANGED: Final = 0.1
"""A class's share must move by as much for the mix to be a cause."""
_TURNED: Final = frozenset({"top_bottom", "left_right", "orientation"})
"""What a camera that is held another way changes; other things on the photo do not."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What the cause is read from: the verdict, the replay if there was one, and each class's share then and now."""

    verdict: Verdict
    replay: Replayed | None = None
    mix_before: tuple[float, ...] = ()
    mix_now: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """A cause, whether it is certain, and in a sentence what it was read from."""

    cause: Cause
    certain: bool
    because: str


def likely_cause(signs: Signs) -> Reason:
    """Say what most likely changed."""
    replay = signs.replay
    if replay is not None and replay.another_model:
        told = f"of {replay.photos} photos replayed, the model deployed last answers {len(replay.mismatches)} otherwise"
        return Reason(Cause.MODEL, True, told)
    shifts = {
        # Photos that the guard finds more familiar than before show nothing else than before.
        shift.name: 0.0
        if shift.name == "unfamiliarity" and shift.now < shift.before
        else shift.score / signs.verdict.threshold
        for shift in signs.verdict.channels
    }
    if not shifts:
        return Reason(Cause.UNCLEAR, False, "there are too few photos to tell")
    pictures = {name: times for name, times in shifts.items() if name not in ANSWERS}
    loudest = max(pictures.values(), default=0.0)
    strange = shifts.get("unfamiliarity", 0.0)
    if max(loudest, strange) >= max(1.0, shifts["log_odds"]):
        turned = max((shifts.get(name, 0.0) for name in _TURNED), default=0.0)
        if strange > loudest and turned < 1:
            told = "the guard finds the photos stranger than any change of light or sharpness explains"
            return Reason(Cause.UNFAMILIAR, False, told)
        return Reason(Cause.QUALITY, False, "the pictures themselves changed, more than what is on them")
    return _quiet_pictures(signs, shifts)


def _quiet_pictures(signs: Signs, shifts: dict[str, float]) -> Reason:
    """The pictures look as before: it is what they show, or who answers."""
    lean, certainty = shifts["log_odds"], shifts["certainty"]
    could_be_another_model = signs.replay is None
    if could_be_another_model and (signs.verdict.loudest == "products" or certainty >= max(1.0, lean)):
        told = "the pictures look as before, but the answers to them changed; no photo was replayed to make sure"
        return Reason(Cause.MODEL, False, told)
    moved = _mix_moved(signs.mix_before, signs.mix_now)
    if lean >= max(certainty, shifts.get("unfamiliarity", 0.0)) and moved >= MIX_CHANGED:
        return Reason(Cause.MIX, False, "the pictures look as before; only which class they show changed")
    if signs.verdict.loudest == "strange photos" or shifts.get("unfamiliarity", 0.0) > max(lean, certainty, 0.0):
        return Reason(Cause.UNFAMILIAR, False, "some photos are strange to the guard; no picture channel stands out")
    return Reason(Cause.UNCLEAR, False, "no channel stands out by itself; several moved a little, together")


def _mix_moved(before: Sequence[float], now: Sequence[float]) -> float:
    return max((abs(new - old) for old, new in zip(before, now, strict=False)), default=0.0)
