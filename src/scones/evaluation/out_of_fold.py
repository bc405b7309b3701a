"""Out-of-fold answers: what networks that had not seen a training photo said of it, kept in the artefact's baseline.

The baseline names no photos. But nine of its channels look at pixels alone, so each row is recognised by
the photo that it was measured on; the photo's label then says whether the answer was right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.baseline import Baseline
from scones.monitoring.channels import CHANNELS, measure

_ANSWERS = [CHANNELS.index("log_odds"), CHANNELS.index("certainty")]
_PIXELS = [index for index, name in enumerate(CHANNELS) if index not in _ANSWERS]
_DECIMALS = 6
_TWO = 2


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers to photos whose truth is known: which were right [N], and how sure of them the model was [N]."""

    right: NDArray[np.bool_]
    confidence: NDArray[np.float64]


def recognise(
    baseline: Baseline, photos: NDArray[np.uint8], labels: Sequence[str], classes: Sequence[str]
) -> Judged | None:
    """Match training *photos* [N, H, W, 3] to the baseline's rows; None where the baseline cannot say what was right.

    Photos that look alike in every channel are left out. With more than two classes the baseline does not keep which
    class was named, so there is nothing to learn from it.
    """
    if len(classes) != _TWO or not len(photos):
        return None
    row_of, photo_of = _unique(baseline.values[:, _PIXELS]), _unique(_marks(photos))
    pairs = [(row, photo_of[mark]) for mark, row in row_of.items() if mark in photo_of]
    if not pairs:
        return None
    odds = np.array([baseline.values[row, CHANNELS.index("log_odds")] for row, _ in pairs])
    second = np.array([labels[photo] == classes[1] for _, photo in pairs])
    return Judged(right=(odds > 0) == second, confidence=1 / (1 + np.exp(-np.abs(odds))))


def learnt_from(baseline: Baseline, photos: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which *photos* [N, H, W, 3] the model has learnt from, [N]: those can say nothing of how good it is."""
    if not len(photos):
        return np.zeros(0, dtype=bool)
    known = {row.tobytes() for row in _rounded(baseline.values[:, _PIXELS])}
    return np.array([row.tobytes() in known for row in _rounded(_marks(photos))])


def _marks(photos: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the channels see in the pixels alone, whatever was answered."""
    return measure(photos, np.full((len(photos), _TWO), 0.5))[:, _PIXELS]


def _rounded(marks: NDArray[np.float64]) -> NDArray[np.float64]:
    # Added zeros make -0.0 and 0.0 one.
    return np.asarray(np.round(marks, _DECIMALS) + 0.0)


def _unique(marks: NDArray[np.float64]) -> dict[bytes, int]:
    """Where each row of marks lies that is there once."""
    keys, places, counts = np.unique(_rounded(marks), axis=0, return_index=True, return_counts=True)
    return {key.tobytes(): int(place) for key, place, count in zip(keys, places, counts, strict=True) if count == 1}
