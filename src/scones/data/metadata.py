"""Metadata: remove everything from a photo's file but its pixels (place, camera, owner), and turn it upright.

The file's own parts are kept byte for byte where they can be: a photo without metadata stays the very same file. Only
one with another orientation, or with inconsistent parts, is encoded again.
"""

import io
from collections.abc import Mapping
from typing import Final

from scones.data.decode import UPRIGHT, opened, orientation, upright
from scones.data.image_header import Format, Header, read_header

_QUALITY: Final[Mapping[Format, Mapping[str, object]]] = {
    # No colour is sampled down a second time.
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"quality": 95},
}


def without_metadata(data: bytes) -> bytes:
    """Give the photo in *data*, which can be decoded, upright and without anything but its pixels.

    The same bytes always give the same bytes, and `decode` sees the same pixels; a JPEG or WebP that lay on its side
    has been compressed once more.

    Raises:
        UnreadablePhoto: it cannot be turned upright.
    """
    header = read_header(data)
    if header.whole and orientation(header) == UPRIGHT:
        return header.pixels
    return read_header(_encoded(header)).pixels


def _encoded(header: Header) -> bytes:
    stream = io.BytesIO()
    with opened(header) as image:
        lossless = {"lossless": True} if header.format == "webp" and b"VP8L" in header.pixels else {}
        upright(image, header).save(stream, header.format, **_QUALITY.get(header.format, {}), **lossless)
    return stream.getvalue()
