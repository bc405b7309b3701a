"""Restoration: nodes that smooth noisy photos and raise the contrast of pale ones, before the backbone sees them."""

from typing import Final

import numpy as np
import numpy.typing as npt

from scones.training.backbone import Graph

NOISE_FROM: Final = 0.02
"""Photos with noise of a higher deviation, for values 0 to 1, are smoothed a little."""
NOISE_ALL: Final = 0.05
"""From here on they are smoothed as far as it goes."""
MIN_CONTRAST: Final = 0.16
"""The deviation from each color's mean, for values 0 to 1, to which paler photos are lifted: nearly one in four is."""
MIN_DEVIATION: Final = 1e-3
"""A photo plainer than this has no contrast to lift."""
REACH: Final = 3
"""Pixels on each side that smoothing looks at; beyond the edges the photo is mirrored."""

Kernel = npt.NDArray[np.float32]


def smoothing() -> tuple[Kernel, Kernel]:
    """Two kernels, [4, 3, 7, 1] then [3, 4, 1, 7], that blur the colors much and the brightness a little, as eyes do.

    The first gives the colors, blurred much, and the brightness, blurred a little; the second goes on, and exchanges
    the brightness of the colors. One kernel [3, 3, 7, 7] would do the same with nearly three times the work.
    """
    little, much = np.pad(_binomial(2), REACH - 1), _binomial(2 * REACH)
    down = np.concatenate([np.eye(3)[:, :, None] * much, np.full((1, 3, 1), 1 / 3) * little])
    across = np.concatenate([(np.eye(3) - 1 / 3)[:, :, None] * much, np.ones((3, 1, 1)) * little], axis=1)
    return np.asarray(down[:, :, :, None], dtype=np.float32), np.asarray(across[:, :, None, :], dtype=np.float32)


def noise_finder() -> Kernel:
    """A kernel [2, 3, 3, 3] whose mean absolute answer is the deviation of noise that differs between the colors.

    The differences of neighboring colors, without what is straight in them: J. Immerkær, "Fast noise variance
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


def add_restoration(graph: Graph, x: str) -> str:
    """Append it to *graph*; *x* names photos of values 0 to 1, float [N, 3, side, side], as does the result."""
    zero, one, plain, enough = (graph.constant(np.float32(value)) for value in (0, 1, MIN_DEVIATION, MIN_CONTRAST))
    whole = graph.constant(np.array([1, 2, 3]))
    level = graph.add("ReduceMean", graph.add("Abs", graph.add("Conv", x, graph.constant(noise_finder()))), whole)
    start, width = (graph.constant(np.float32(value)) for value in (NOISE_FROM, NOISE_ALL - NOISE_FROM))
    share = graph.add("Clip", graph.add("Div", graph.add("Sub", level, start), width), zero, one)
    calm = _smoothed(graph, x, share)
    middle = graph.add("ReduceMean", calm, graph.constant(np.array([2, 3])))
    off = graph.add("Sub", calm, middle)
    deviation = graph.add("Sqrt", graph.add("ReduceMean", graph.add("Mul", off, off), whole))
    lift = graph.add("Div", enough, graph.add("Max", deviation, plain))
    return graph.add("Add", middle, graph.add("Mul", off, graph.add("Max", lift, one)))


def _smoothed(graph: Graph, x: str, share: str) -> str:
    """Blend *x* with its smoothed copy by each photo's *share*; always computed, since serving refuses branches."""
    smoothed = graph.add("Pad", x, graph.constant(np.array([0, 0, REACH, REACH] * 2)), mode="reflect")
    for kernel in smoothing():
        smoothed = graph.add("Conv", smoothed, graph.constant(kernel))
    return graph.add("Add", x, graph.add("Mul", share, graph.add("Sub", smoothed, x)))
