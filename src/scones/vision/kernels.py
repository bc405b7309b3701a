"""The kernels by which noise is found and smoothed; numpy only, since the export needs them too."""

from typing import Final

import numpy as np
import numpy.typing as npt

REACH: Final = 3
"""Pixels on each side that smoothing looks at; beyond the edges the photo is mirrored."""
Kernel = npt.NDArray[np.float32]


def smoothing() -> Kernel:
    """A kernel [3, 3, 7, 7] that blurs the colours much and the brightness a little, as eyes do."""
    little, much = np.zeros((7, 7)), _binomial(6)
    little[2:5, 2:5] = _binomial(2)
    same = np.eye(3)[:, :, None, None]
    return np.asarray(little / 3 + (same - 1 / 3) * much, dtype=np.float32)


def noise_finder() -> Kernel:
    """A kernel [2, 3, 3, 3] whose mean absolute answer is the deviation of noise that differs between the colours.

    The differences of neighbouring colours, without what is straight in them: J. Immerkær, "Fast noise variance
    estimation", 1996.
    """
    rough = np.outer([1, -2, 1], [1, -2, 1]) / 6
    differences = np.array([[1, -1, 0], [0, 1, -1]])[:, :, None, None]
    return np.asarray(differences * rough * np.sqrt(np.pi / 2) / np.sqrt(2), dtype=np.float32)


def _binomial(order: int) -> npt.NDArray[np.float64]:
    row = np.ones(1)
    for _ in range(order):
        row = np.convolve(row, [0.5, 0.5])
    return np.outer(row, row)
