"""The probable cause of an alarm, by rules, and what to do about it.

The rules ask in this order, the most certain first. Does the registered model give other predictions for the same
photos? Then the model changed. Is the OOD score higher than any change of the pictures explains? Then the photos show
something else. Did the pictures themselves change? Then it is their quality. Did what they show change, and neither
their light nor their sharpness? Then it is their content again: other vehicles, or other places. Only then is a skew to
one class a class mix, and predictions that changed by themselves another model. docs/monitoring.md says how often the
rules are right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.domain.text import name_env
from scones.monitoring.drift.features import CONTENT_FEATURES, PREDICTION_FEATURES
from scones.monitoring.drift.window_test import WindowVerdict
from scones.monitoring.performance.registered_model import PredictionCheck

_ROUNDS = 200
_SMALLEST = 1e-12

Floats = NDArray[np.floating]


def estimate_mix(probabilities: Floats, baseline_mix: Sequence[float]) -> tuple[float, ...]:
    """Estimate each class's share from calibrated probabilities [n, C], given the mix that they were calibrated on.

    Maximum likelihood by expectation maximisation (M. Saerens, P. Latinne and C. Decaestecker, 2002). Without photos it
    is the baseline's mix.
    """
    prior = np.maximum(np.asarray(baseline_mix, dtype=np.float64), _SMALLEST)
    mix = prior / prior.sum()
    ratios = np.asarray(probabilities, dtype=np.float64) / mix
    for _ in range(_ROUNDS if len(ratios) else 0):
        weighted = ratios * mix
        mix = (weighted / np.maximum(weighted.sum(axis=1, keepdims=True), _SMALLEST)).mean(axis=0)
    return tuple(float(share) for share in mix / mix.sum())


def mix_can_be_shown(verdict: WindowVerdict) -> bool:
    """Whether image features are unchanged: the estimate assumes that photos of each class look as before.

    It needs enough photos, and no change of the OOD score: photos of other things belong to no class.
    """
    changed = {shift.name for shift in verdict.features if shift.score > verdict.threshold}
    return verdict.enough and changed <= PREDICTION_FEATURES - {"ood_score"}


class Cause(StrEnum):
    """What most likely changed."""

    MODEL = "model changed"
    UNFAMILIAR = "unfamiliar content"
    QUALITY = "image quality"
    MIX = "class mix"
    UNCLEAR = "unclear"


MIN_MIX_CHANGE: Final = 0.1
"""The class mix is a cause only if a class's share changed by at least this much."""
_NOT_OF_PIXELS: Final = PREDICTION_FEATURES | set(CONTENT_FEATURES)
_ROTATION_FEATURES: Final = frozenset({"top_bottom", "left_right", "orientation"})
"""Features that a rotated camera changes; other content of the photo does not."""


@dataclass(frozen=True, slots=True)
class ProbableCause:
    """A cause, whether it is certain, and the reason in one sentence."""

    cause: Cause
    certain: bool
    reason: str


def probable_cause(
    verdict: WindowVerdict,
    check: PredictionCheck | None = None,
    mix_before: Sequence[float] = (),
    mix_now: Sequence[float] = (),
) -> ProbableCause:
    """Decide what most likely changed, from the window test, the prediction check and each class's share."""
    if check is not None and check.another_model:
        reason = f"{len(check.mismatches)} of {check.photos} predictions differ from those of the model deployed last"
        return ProbableCause(Cause.MODEL, True, reason)
    shifts = {
        # A lower OOD score than before does not indicate other content.
        shift.name: 0.0 if shift.name == "ood_score" and shift.now < shift.before else shift.score / verdict.threshold
        for shift in verdict.features
    }
    if not shifts:
        return ProbableCause(Cause.UNCLEAR, False, "there are too few photos to find the cause")
    image = max((times for name, times in shifts.items() if name not in _NOT_OF_PIXELS), default=0.0)
    ood = shifts.get("ood_score", 0.0)
    if max(image, ood) >= max(1.0, shifts["log_odds"]):
        rotated = max((shifts.get(name, 0.0) for name in _ROTATION_FEATURES), default=0.0)
        if ood > image and rotated < 1:
            reason = "the OOD score changed more than any change of light or sharpness explains"
            return ProbableCause(Cause.UNFAMILIAR, False, reason)
        return ProbableCause(Cause.QUALITY, False, "image features changed more than the content of the photos")
    return _cause_of_unchanged_images(verdict, shifts, check, _mix_change(mix_before, mix_now))


def _cause_of_unchanged_images(
    verdict: WindowVerdict, shifts: Mapping[str, float], check: PredictionCheck | None, mix_change: float
) -> ProbableCause:
    """Image features are unchanged: the content changed, or the model."""
    log_odds, certainty, ood = shifts["log_odds"], shifts["certainty"], shifts.get("ood_score", 0.0)
    content = max((shifts.get(name, 0.0) for name in CONTENT_FEATURES), default=0.0)
    checked = check is not None and check.photos > 0
    if not checked and (verdict.strongest == "products" or certainty >= max(1.0, log_odds)):
        reason = "predictions changed while image features did not; no prediction check was possible"
        return ProbableCause(Cause.MODEL, False, reason)
    if verdict.strongest == "content" or content >= max(1.0, log_odds, ood):
        return ProbableCause(Cause.UNFAMILIAR, False, "what the photos show changed; their light and sharpness did not")
    if log_odds >= max(certainty, ood) and mix_change >= MIN_MIX_CHANGE:
        return ProbableCause(Cause.MIX, False, "image features are unchanged; only the class mix changed")
    if verdict.strongest == "ood tail" or ood > max(log_odds, certainty, 0.0):
        return ProbableCause(Cause.UNFAMILIAR, False, "some photos have high OOD scores; no image feature changed much")
    return ProbableCause(Cause.UNCLEAR, False, "no single feature changed much; several changed a little together")


def _mix_change(before: Sequence[float], now: Sequence[float]) -> float:
    return max((abs(new - old) for old, new in zip(before, now, strict=False)), default=0.0)


@dataclass(frozen=True, slots=True)
class NextStep:
    """One thing to do, with its command if there is one."""

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
_ACKNOWLEDGE = NextStep(
    "When it is fixed, acknowledge the alarm; until then it does not fire again.", "scones monitor --acknowledge"
)


def next_steps(cause: Cause, env: str) -> tuple[NextStep, ...]:
    """What to do, in order; the commands name environment *env*."""
    return tuple(NextStep(step.text, name_env(step.command, env)) for step in (*_STEPS[cause], _ACKNOWLEDGE))
