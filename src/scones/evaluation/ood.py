"""Out-of-distribution detection: how well the model tells photos of other things from photos of its classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.domain.statistics import Interval, wilson_interval
from scones.evaluation.metrics import binary_auc

SYNTHETIC: Final = "flat and noise"
"""The name of the images that Scones generates."""
_IMAGES: Final = 300
_NOISE: Final = 0.2

Floats = NDArray[np.float64]
Photos = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class OodGroup:
    """*n* images of one kind that show none of the classes; *accepted* is the share that the detector misses.

    *auc* is the chance that one of them scores higher than a photo of the classes. *keys* and *scores* are in the
    order of the images.
    """

    kind: str
    n: int
    auc: float
    accepted: float
    interval: Interval
    keys: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class OodEvaluation:
    """The detector at its *threshold*: the share of the *n* test photos that it rejects, and each group of images.

    *scores* are those of the test photos, in their order.
    """

    threshold: float
    n: int
    rejected: float
    interval: Interval
    scores: tuple[float, ...]
    groups: tuple[OodGroup, ...]


def evaluate_ood(
    threshold: float, known: Floats, groups: Mapping[str, tuple[tuple[str, ...], Floats]]
) -> OodEvaluation:
    """Evaluate the detector by the scores of photos of the classes, *known*, and the keys and scores of each group."""
    rejected = known > threshold
    return OodEvaluation(
        threshold=threshold,
        n=len(known),
        rejected=float(rejected.mean()),
        interval=wilson_interval(int(rejected.sum()), len(known)),
        scores=tuple(known.tolist()),
        groups=tuple(_group(kind, threshold, known, *found) for kind, found in groups.items()),
    )


def flat_and_noise(side: int) -> Photos:
    """Generate images without content, uint8 [300, side, side, 3]: plain colours, coloured and gray noise in turn."""
    rng = np.random.default_rng(1)
    shape = (_IMAGES // 3, side, side)
    plain = np.broadcast_to(rng.random((shape[0], 1, 1, 3)), (*shape, 3))
    grain = np.repeat(rng.normal(0.5, _NOISE, (*shape, 1)), 3, axis=3)
    kinds = np.stack([plain, rng.random((*shape, 3)), grain], axis=1)
    return np.asarray((255 * kinds.reshape(-1, side, side, 3)).clip(0, 255).round(), np.uint8)


def _group(kind: str, threshold: float, known: Floats, keys: tuple[str, ...], scores: Floats) -> OodGroup:
    accepted = scores <= threshold
    is_ood = np.repeat([False, True], [len(known), len(scores)])
    return OodGroup(
        kind=kind,
        n=len(scores),
        # Neither kind is empty.
        auc=binary_auc(is_ood, np.concatenate([known, scores])) or 0.0,
        accepted=float(accepted.mean()),
        interval=wilson_interval(int(accepted.sum()), len(scores)),
        keys=keys,
        scores=tuple(scores.tolist()),
    )
