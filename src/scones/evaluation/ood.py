"""Strangers: how well the guard tells photos of other things, and pictures of nothing, from photos of the classes."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.domain.statistics import Interval, wilson_interval
from scones.evaluation.metrics import binary_auc

NOTHING: Final = "flat and noise"
"""The pictures that Scones makes up."""
_MADE_UP: Final = 300
_NOISE: Final = 0.2

Floats = NDArray[np.float64]
Photos = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Strangers:
    """*n* pictures of one kind that show none of the classes, and the share of them that passes the guard.

    *auc* is the chance that one of them is less familiar than a photo of the classes. *scores* are in the order in
    which the pictures were given, *keys* say which those are.
    """

    kind: str
    n: int
    auc: float
    accepted: float
    interval: Interval
    keys: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Guarding:
    """What the guard does at its *limit*: the share of the *n* test photos that it refuses, and each kind of strangers.

    *scores* are those of the test photos, in their order.
    """

    limit: float
    n: int
    refused: float
    interval: Interval
    scores: tuple[float, ...]
    strangers: tuple[Strangers, ...]


def judge_guard(limit: float, known: Floats, strangers: dict[str, tuple[tuple[str, ...], Floats]]) -> Guarding:
    """Judge the guard by the unfamiliarity of *known* photos and, of each kind, of strangers with their keys."""
    refused = known > limit
    return Guarding(
        limit=limit,
        n=len(known),
        refused=float(refused.mean()),
        interval=wilson_interval(int(refused.sum()), len(known)),
        scores=tuple(known.tolist()),
        strangers=tuple(_judge(kind, limit, known, *found) for kind, found in strangers.items()),
    )


def flat_and_noise(side: int) -> Photos:
    """Make up pictures of nothing, uint8 [300, side, side, 3]: plain colours, coloured noise and gray grain in turn."""
    rng = np.random.default_rng(1)
    shape = (_MADE_UP // 3, side, side)
    plain = np.broadcast_to(rng.random((shape[0], 1, 1, 3)), (*shape, 3))
    grain = np.repeat(rng.normal(0.5, _NOISE, (*shape, 1)), 3, axis=3)
    kinds = np.stack([plain, rng.random((*shape, 3)), grain], axis=1)
    return np.asarray((255 * kinds.reshape(-1, side, side, 3)).clip(0, 255).round(), np.uint8)


def _judge(kind: str, limit: float, known: Floats, keys: tuple[str, ...], scores: Floats) -> Strangers:
    accepted = scores <= limit
    stranger = np.repeat([False, True], [len(known), len(scores)])
    return Strangers(
        kind=kind,
        n=len(scores),
        # There are photos of both kinds.
        auc=binary_auc(stranger, np.concatenate([known, scores])) or 0.0,
        accepted=float(accepted.mean()),
        interval=wilson_interval(int(accepted.sum()), len(scores)),
        keys=keys,
        scores=tuple(scores.tolist()),
    )
