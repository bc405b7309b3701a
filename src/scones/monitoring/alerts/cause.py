"""The probable cause of an alarm, by rules, and what to do about it.

The rules ask in this order, the most certain first. Does the registered model give other predictions for the same
photos? Then the model changed. Is the OOD score higher than any change of the pictures explains? Then the photos show
something else. Did the pictures themselves change? Then it is their quality. Only then is a skew to one class a class
mix, and predictions that changed by themselves another model. docs/monitoring.md says how often the rules are right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.drift.features import PREDICTION_FEATURES
from scones.monitoring.drift.window_test import WindowVerdict
from scones.monitoring.performance.prediction_check import PredictionCheck

_ROUNDS = 200
_SMALLEST = 1e-12

Floats = NDArray[np.floating]


def estimate_mix(probabilities: Floats, baseline_mix: Sequence[float]) -> tuple[float, ...]:
    """Estimate each class's share from calibrated probabilities [n, C], given the mix that they were calibrated on.

    With no photos the mix is the baseline's.
    """
    prior = np.maximum(np.asarray(baseline_mix, dtype=np.float64), _SMALLEST)
    mix = prior / prior.sum()
    ratios = np.asarray(probabilities, dtype=np.float64) / mix
    for _ in range(_ROUNDS if len(ratios) else 0):
        weighted = ratios * mix
        mix = (weighted / np.maximum(weighted.sum(axis=1, keepdims=True), _SMALLEST)).mean(axis=0)
    return tuple(float(share) for share in mix / mix.sum())


def mix_can_be_shown(verdict: WindowVerdict) -> bool:
    """Whether the image channels are quiet: the method takes photos of each class to look as they did.

    Too few photos show nothing. Unfamiliar photos are of no class, so they forbid it too.
    """
    lean = PREDICTION_FEATURES - {"unfamiliarity"}
    loud = {shift.name for shift in verdict.channels if shift.score > verdict.threshold}
    return verdict.enough and loud <= lean


class Cause(StrEnum):
    """What most likely changed."""

    MODEL = "model changed"
    UNFAMILIAR = "unfamiliar content"
    QUALITY = "image quality"
    MIX = "class mix"
    UNCLEAR = "unclear"


MIX_CHANGED: Final = 0.1
"""A class's share must move by as much for the mix to be a cause."""
_ROTATION_FEATURES: Final = frozenset({"top_bottom", "left_right", "orientation"})
"""What a camera that is held another way changes; other things on the photo do not."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What the cause is read from: the verdict, the replay if there was one, and each class's share then and now."""

    verdict: WindowVerdict
    replay: PredictionCheck | None = None
    mix_before: tuple[float, ...] = ()
    mix_now: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbableCause:
    """A cause, whether it is certain, and in a sentence what it was read from."""

    cause: Cause
    certain: bool
    because: str


def likely_cause(signs: Signs) -> ProbableCause:
    """Say what most likely changed."""
    replay = signs.replay
    if replay is not None and replay.another_model:
        told = f"of {replay.photos} photos replayed, the model deployed last answers {len(replay.mismatches)} otherwise"
        return ProbableCause(Cause.MODEL, True, told)
    shifts = {
        # Photos that the guard finds more familiar than before show nothing else than before.
        shift.name: 0.0
        if shift.name == "unfamiliarity" and shift.now < shift.before
        else shift.score / signs.verdict.threshold
        for shift in signs.verdict.channels
    }
    if not shifts:
        return ProbableCause(Cause.UNCLEAR, False, "there are too few photos to tell")
    pictures = {name: times for name, times in shifts.items() if name not in PREDICTION_FEATURES}
    loudest = max(pictures.values(), default=0.0)
    strange = shifts.get("unfamiliarity", 0.0)
    if max(loudest, strange) >= max(1.0, shifts["log_odds"]):
        turned = max((shifts.get(name, 0.0) for name in _ROTATION_FEATURES), default=0.0)
        if strange > loudest and turned < 1:
            told = "the guard finds the photos stranger than any change of light or sharpness explains"
            return ProbableCause(Cause.UNFAMILIAR, False, told)
        return ProbableCause(Cause.QUALITY, False, "the pictures themselves changed, more than what is on them")
    return _cause_of_unchanged_images(signs, shifts)


def _cause_of_unchanged_images(signs: Signs, shifts: dict[str, float]) -> ProbableCause:
    """The pictures look as before: it is what they show, or who answers."""
    lean, certainty = shifts["log_odds"], shifts["certainty"]
    could_be_another_model = signs.replay is None
    if could_be_another_model and (signs.verdict.loudest == "products" or certainty >= max(1.0, lean)):
        told = "the pictures look as before, but the answers to them changed; no photo was replayed to make sure"
        return ProbableCause(Cause.MODEL, False, told)
    moved = _mix_change(signs.mix_before, signs.mix_now)
    if lean >= max(certainty, shifts.get("unfamiliarity", 0.0)) and moved >= MIX_CHANGED:
        return ProbableCause(Cause.MIX, False, "the pictures look as before; only which class they show changed")
    if signs.verdict.loudest == "strange photos" or shifts.get("unfamiliarity", 0.0) > max(lean, certainty, 0.0):
        return ProbableCause(
            Cause.UNFAMILIAR, False, "some photos are strange to the guard; no picture channel stands out"
        )
    return ProbableCause(Cause.UNCLEAR, False, "no channel stands out by itself; several moved a little, together")


def _mix_change(before: Sequence[float], now: Sequence[float]) -> float:
    return max((abs(new - old) for old, new in zip(before, now, strict=False)), default=0.0)


@dataclass(frozen=True, slots=True)
class NextStep:
    """One thing to do, and the command for it, if there is one."""

    text: str
    command: str = ""


_RETRAIN = NextStep(
    "If photos like these will keep coming, label some and add them to the training photos. Then run, in this order:",
    "scones stage FOLDER && scones train && scones deploy",
)
_SAFER = NextStep("Until then, send more photos to a person: raise the threshold.", "scones up --threshold 0.95")
_STEPS: Mapping[Cause, tuple[NextStep, ...]] = MappingProxyType(
    {
        Cause.MODEL: (
            NextStep("Put the registered model back: the one that was deployed last.", "scones deploy"),
            NextStep("See what is running, and ask who changed the endpoint.", "scones status"),
            NextStep("Evaluate it once it is back. Do not trust predictions since the onset.", "scones evaluate"),
        ),
        Cause.QUALITY: (
            NextStep("Look at the photos: can you see it? A dirty lens, night, a new camera or app version?"),
            NextStep("Fix it where the photos are taken: most often nothing is wrong with the model."),
            _SAFER,
            _RETRAIN,
        ),
        Cause.UNFAMILIAR: (
            NextStep("Look at the photos: what do they show? Another vehicle, a document, a hand before the lens?"),
            NextStep("Are these photos sent by mistake? Stop them at the source; the OOD detector rejects the oddest."),
            _SAFER,
            _RETRAIN,
        ),
        Cause.MIX: (
            NextStep("Nothing is broken: other couriers send photos than before. Ask whether that is expected."),
            NextStep("If it stays so, train on photos in that proportion. Then run, in this order:", _RETRAIN.command),
        ),
        Cause.UNCLEAR: (
            NextStep("Look at the photos: what do they have in common?"),
            NextStep("Label the photos listed below: thirty labels say more than any statistic."),
            _SAFER,
        ),
    }
)
_ACKNOWLEDGE = NextStep("When it is fixed, acknowledge the alarm; until then it does not fire again.")


def next_steps(cause: Cause) -> tuple[NextStep, ...]:
    """Say what to do, in order."""
    return (*_STEPS[cause], NextStep(_ACKNOWLEDGE.text, "scones monitor --acknowledge"))
