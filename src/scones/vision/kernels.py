"""The kernels by which noise is found and smoothed; numpy only, since the export needs them too."""

from typing import Final

import numpy as np
import numpy.typing as npt

REACH: Final = 3
"""Pixels on each side that smoothing looks at; beyond the edges the photo is mirrored."""
Kernel = npt.NDArray[np.float32]


def smoothing() -> tuple[Kernel, Kernel]:
    """Two kernels, [4, 3, 7, 1] then [3, 4, 1, 7], that blur the colours much and the brightness a little, as eyes do.

    The first gives the colours, blurred much, and the brightness, blurred a little; the second goes on, and exchanges
    the brightness of the colours. One kernel [3, 3, 7, 7] would do the same with nearly three times the work.
    """
    little, much = np.pad(_binomial(2), REACH - 1), _binomial(2 * REACH)
    down = np.concatenate([np.eye(3)[:, :, None] * much, np.full((1, 3, 1), 1 / 3) * little])
    across = np.concatenate([(np.eye(3) - 1 / 3)[:, :, None] * much, np.ones((3, 1, 1)) * little], axis=1)
    return np.asarray(down[:, :, :, None], dtype=np.float32), np.asarray(across[:, :, None, :], dtype=np.float32)


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
    return row
