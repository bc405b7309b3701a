"""Near duplicates: photos of the same picture, however it was cropped, scaled, recolored or mirrored.

Two photos are near duplicates if the brightness of their 8 x 8 cells changes in the same way from cell to cell and,
unless it does so almost exactly, their colors are similar. The limits were set by eye on the 1,200 photos of
CIFAR-100's two classes, and tested on 1,989 of its others: docs/staging.md has the results.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.data.decode import decode

CELLS: Final = 8
"""Cells per side."""
_PROBE_PIXELS: Final = 32
_SHAPE_LIKENESS: Final = 0.9
_COLOUR_LIKENESS: Final = 0.85
# From here on, colors need not agree: a gray copy is a copy.
_SURE_LIKENESS: Final = 0.95
_ROWS_AT_ONCE: Final = 256
# The weights of red, green and blue in brightness (ITU-R BT.601).
_BRIGHTNESS: Final = np.array([0.299, 0.587, 0.114], np.float32)
# Below it, in levels of 255, differences between cells are noise.
_FLAT: Final = 1.5

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """A photo, by its number, and its near duplicates among the photos before it.

    *others* int [M], *likeness* float [M] (0 to 1), *mirrored* bool [M].
    """

    number: int
    others: NDArray[np.intp]
    likeness: Floats
    mirrored: NDArray[np.bool_]


def cells(data: bytes) -> NDArray[np.uint8]:
    """The cells of a photo, uint8 [8, 8, 3], that are compared; raises UnreadablePhoto as `decode` does."""
    pixels = decode(data, _PROBE_PIXELS)
    wide = _PROBE_PIXELS // CELLS
    means: NDArray[np.float64] = pixels.reshape(CELLS, wide, CELLS, wide, 3).mean((1, 3))
    return means.round().astype(np.uint8)


def is_flat(photo: NDArray[np.uint8]) -> bool:
    """Whether the photo has a single color."""
    return bool(photo.reshape(-1, 3).std(0).max() < _FLAT)


def find_near_duplicates(photos: NDArray[np.uint8]) -> Iterator[NearDuplicates]:
    """Find the near duplicates of each of the *photos* uint8 [N, 8, 8, 3] among the photos before it.

    All N x N pairs are compared, in blocks: 10,000 photos take seconds, and little memory.
    """
    straight, mirror = photos.astype(np.float32), photos[:, :, ::-1].astype(np.float32)
    shapes, colours = _shapes(straight), _colours(straight)
    mirrored_shapes, mirrored_colours = _shapes(mirror), _colours(mirror)
    for start in range(0, len(photos), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        as_is = shapes[rows] @ shapes[: start + _ROWS_AT_ONCE].T
        turned = shapes[rows] @ mirrored_shapes[: start + _ROWS_AT_ONCE].T
        best = np.maximum(as_is, turned)
        for row in np.flatnonzero((np.tril(best, start - 1) >= _SHAPE_LIKENESS).any(axis=1)):
            number = start + int(row)
            others = np.flatnonzero(best[row, :number] >= _SHAPE_LIKENESS)
            mirrored = turned[row, others] > as_is[row, others]
            theirs = np.where(mirrored[:, None], mirrored_colours[others], colours[others])
            near = (best[row, others] >= _SURE_LIKENESS) | (theirs @ colours[number] >= _COLOUR_LIKENESS)
            if near.any():
                yield NearDuplicates(number, others[near], best[row, others[near]], mirrored[near])


def group_duplicates(count: int, found: list[NearDuplicates]) -> NDArray[np.intp]:
    """Assign a group number to each of *count* photos, int [count]: near duplicates share a number, transitively."""
    group = np.arange(count)
    for item in found:
        joined = np.unique(group[[item.number, *item.others]])
        group[np.isin(group, joined)] = joined[0]
    return group


def _shapes(photos: Floats) -> Floats:
    """Changes of brightness from cell to cell, as rows of length 1; zeros for photos of a single color."""
    bright = photos @ _BRIGHTNESS
    across = np.diff(bright, axis=2).reshape(len(photos), (CELLS - 1) * CELLS)
    down = np.diff(bright, axis=1).reshape(len(photos), (CELLS - 1) * CELLS)
    return _unit(np.concatenate([across, down], axis=1))


def _colours(photos: Floats) -> Floats:
    flat = photos.reshape(len(photos), 3 * CELLS**2)
    return _unit(flat - flat.mean(1, keepdims=True))


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    flat = lengths < _FLAT * np.sqrt(rows.shape[1])
    return np.where(flat, np.float32(0), rows / np.maximum(lengths, 1e-6)).astype(np.float32)
