"""Looking: one photo's file read from its first byte to its last, cleaned, and everything odd about it noted."""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scones.photos.decode import DAMAGE
from scones.photos.header import Header, UnreadablePhoto, read_header
from scones.photos.likeness import cells, is_flat
from scones.photos.metadata import without_metadata

MIN_SIDE_PIXELS: Final = 8
"""A photo with a shorter side shows nothing that can be told."""
_SMALL_PIXELS: Final = 32
_GRAY_LEVELS: Final = 2
_OPAQUE: Final = 255


@dataclass(frozen=True, slots=True)
class Look:
    """A photo that can be used: its *data* without metadata, what to compare it by, and what is odd about it.

    *cells* are uint8 [8, 8, 3].
    """

    data: bytes
    cells: NDArray[np.uint8]
    notes: tuple[str, ...]


def look(data: bytes) -> Look:
    """Look at the file in *data*.

    Raises:
        UnreadablePhoto: it is no photo, damaged, cut short, too large or tiny.
    """
    header = read_header(data)
    if min(header.width, header.height) < MIN_SIDE_PIXELS:
        raise UnreadablePhoto(f"is tiny ({_size(header)}; {MIN_SIDE_PIXELS} a side are needed)")
    seen = cells(data)
    clean = without_metadata(data)
    return Look(clean, seen, tuple(_notes(clean, header, seen)))


def _notes(data: bytes, header: Header, seen: NDArray[np.uint8]) -> list[str]:
    animated, transparent = _extras(data, header)
    flat = is_flat(seen)
    odd = {
        "shows nothing but one colour": flat,
        "is animated, its first frame is used": animated,
        "is transparent, white shows through": transparent,
        "is gray": not flat and int(np.ptp(seen.astype(np.int16), axis=2).max()) <= _GRAY_LEVELS,
        f"is small ({_size(header)})": min(header.width, header.height) < _SMALL_PIXELS,
    }
    return [note for note, found in odd.items() if found]


def _extras(data: bytes, header: Header) -> tuple[bool, bool]:
    """Tell whether a photo moves, and whether one can see through it."""
    try:
        with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
            animated = bool(getattr(image, "is_animated", False))
            # Many an opaque picture has an alpha channel.
            if not image.has_transparency_data:
                return animated, False
            alpha = np.asarray(image.convert("RGBA").getchannel("A"))
            return animated, bool(alpha.min() < _OPAQUE)
    except DAMAGE as error:
        raise UnreadablePhoto(f"is damaged or cut short ({header.format})") from error


def _size(header: Header) -> str:
    return f"{header.width} x {header.height} pixels"
