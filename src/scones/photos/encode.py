"""Encode: pixels become bytes again, for pages and files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(photo: NDArray[np.uint8]) -> bytes:
    """Encode one photo, uint8 [H, W, 3], without loss."""
    out = io.BytesIO()
    # Quick to write: these are small, and looked at once.
    Image.fromarray(np.ascontiguousarray(photo)).save(out, "PNG", compress_level=1)
    return out.getvalue()
