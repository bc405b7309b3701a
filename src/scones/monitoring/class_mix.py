"""Class mix: the share of each class among the photos, when only the mix has changed; by maximum likelihood.

Method: M. Saerens, P. Latinne and C. Decaestecker, 2002: expectation and maximisation on the calibrated answers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.channels import ANSWERS
from scones.monitoring.detectors import Verdict

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


def mix_can_be_shown(verdict: Verdict) -> bool:
    """Whether the image channels are quiet: the method takes photos of each class to look as they did.

    Too few photos show nothing. Unfamiliar photos are of no class, so they forbid it too.
    """
    lean = ANSWERS - {"unfamiliarity"}
    loud = {shift.name for shift in verdict.channels if shift.score > verdict.threshold}
    return verdict.enough and loud <= lean
