"""Image headers: format and size from the first bytes, before any decoder runs. Standard library only, for Lambda."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from scones.domain.errors import DataError

MAX_SIDE_PIXELS: Final = 12_000
"""The maximum side; phone photos have at most about 9,000 pixels a side."""
MAX_PIXELS: Final = 64_000_000
"""The maximum size; decoded, it takes about 200 MB."""

Format = Literal["png", "jpeg", "webp", "gif", "bmp"]
"""The formats that Scones reads."""


class UnreadablePhoto(DataError):
    """The bytes cannot be read as a photo; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooLarge(UnreadablePhoto):
    """Decoding the photo would take too much memory."""


@dataclass(frozen=True, slots=True)
class Header:
    """A photo's format and size in pixels, from its first bytes."""

    format: Format
    content_type: str
    width: int
    height: int

    @property
    def decoding_pixels(self) -> int:
        """The pixels to decode; a quarter for a JPEG, which is decoded at a reduced scale."""
        pixels = self.width * self.height
        return pixels // 4 if self.format == "jpeg" else pixels


def read_header(data: bytes) -> Header:
    """Read the format and the size of the photo in *data*.

    Raises:
        UnreadablePhoto: not one of the formats, truncated within the header, or over the size limits.
    """
    for form, magic, offset, read_size in _FORMATS:
        if data.startswith(magic, offset) and (form != "webp" or data.startswith(b"RIFF")):
            width, height = _size(form, read_size, data)
            check_size(width, height)
            return Header(form, f"image/{form}", width, height)
    raise UnreadablePhoto("is empty" if not data else "is not a PNG, JPEG, WebP, GIF or BMP image")


def check_size(width: int, height: int) -> None:
    """Check that a size can be decoded: not empty, and within the limits.

    Raises:
        UnreadablePhoto: the size is outside the limits.
    """
    if width < 1 or height < 1:
        raise UnreadablePhoto(f"has no pixels ({width} x {height})")
    if max(width, height) > MAX_SIDE_PIXELS or width * height > MAX_PIXELS:
        limit = f"{MAX_SIDE_PIXELS:,} pixels a side and {MAX_PIXELS // 1_000_000} million in all"
        raise TooLarge(f"is too large ({width:,} x {height:,} pixels; the limit is {limit})")


def _size(form: Format, read_size: Callable[[bytes], tuple[int, int]], data: bytes) -> tuple[int, int]:
    try:
        return read_size(data)
    except (struct.error, IndexError) as error:
        raise UnreadablePhoto(f"is truncated within its {form} header") from error


def _png(data: bytes) -> tuple[int, int]:
    if data[12:16] not in (b"IHDR", b""):
        raise UnreadablePhoto("has a damaged png header")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    # A negative height only says that the rows run from top to bottom.
    return width, abs(height)


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(_part(data, 24, 3), "little"), 1 + int.from_bytes(_part(data, 27, 3), "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise UnreadablePhoto("has a damaged webp header")


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1
        if data[at] != 0xFF:
            raise UnreadablePhoto("has a damaged jpeg header")
        marker = data[at + 1]
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2 or marker in (0xD9, 0xDA):
            raise UnreadablePhoto("has a damaged jpeg header")
        at += 2 + length


def _part(data: bytes, start: int, length: int) -> bytes:
    part = data[start : start + length]
    if len(part) < length:
        raise IndexError(start)
    return part


# Start-of-frame markers; C4, C8 and CC in their midst mean something else.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

_FORMATS: tuple[tuple[Format, bytes, int, Callable[[bytes], tuple[int, int]]], ...] = (
    ("png", b"\x89PNG\r\n\x1a\n", 0, _png),
    ("jpeg", b"\xff\xd8\xff", 0, _jpeg),
    ("webp", b"WEBP", 8, _webp),
    ("gif", b"GIF8", 0, _gif),
    ("bmp", b"BM", 0, _bmp),
)
