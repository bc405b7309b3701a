"""Metadata: remove everything from a photo's file but its pixels (place, camera, owner), and turn it upright.

The file's own parts are kept byte for byte where they can be: a photo that tells nothing stays the very same file. Only
one with another orientation, or with inconsistent parts, is encoded again.
"""

import io
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from PIL import Image, ImageOps

from scones.data.decode import DAMAGE
from scones.data.image_header import Format, UnreadablePhoto, read_header

# Only what a decoder needs; color profiles are dropped too, as no decoder here uses them.
_PNG_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"})
_WEBP_CHUNKS: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"})
_WEBP_TOLD: Final = 0x2C  # VP8X's flags of a colour profile, EXIF and XMP
# JFIF, and Adobe's note of the colour transform; every other application segment, and comments, are for people.
_JFIF: Final = 0xE0
_JFIF_BYTES: Final = 18
_JPEG_APPLICATIONS: Final = {_JFIF: b"JFIF\0", 0xEE: b"Adobe"}
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_NEXT: Final = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_GIF_FRAME_CONTROL: Final = 0xF9
_MAY_LIE: Final = re.compile(rb"(?i:exif)|tiff:Orientation")
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = 1
_QUALITY: Final[Mapping[Format, Mapping[str, object]]] = {
    # No colour is sampled down a second time.
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"quality": 95},
}


class _OutOfOrder(Exception):
    """The parts of a file do not follow one another as its format says."""


def without_metadata(data: bytes) -> bytes:
    """Give the photo in *data*, which can be decoded, upright and without anything but its pixels.

    The same bytes always give the same bytes, and `decode` sees the same pixels; a JPEG or WebP that lay on its side
    has been compressed once more.

    Raises:
        UnreadablePhoto: it cannot be turned upright.
    """
    form = read_header(data).format
    if _lies(data, form):
        data = _encoded(data, form)
    try:
        return b"".join(_KEPT[form](data))
    except (_OutOfOrder, struct.error, IndexError):
        return b"".join(_KEPT[form](_encoded(data, form)))


def _lies(data: bytes, form: Format) -> bool:
    if not _MAY_LIE.search(data):
        return False
    try:
        with Image.open(io.BytesIO(data), formats=(form,)) as image:
            return bool(image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT)
    except DAMAGE as error:
        raise UnreadablePhoto(f"has damaged metadata ({form})") from error


def _encoded(data: bytes, form: Format) -> bytes:
    stream = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data), formats=(form,)) as image:
            upright = ImageOps.exif_transpose(image)
            lossless = {"lossless": True} if form == "webp" and b"VP8L" in data else {}
            upright.save(stream, form, **_QUALITY.get(form, {}), **lossless)
    except DAMAGE as error:
        raise UnreadablePhoto(f"cannot be turned upright ({form})") from error
    return stream.getvalue()


def _png(data: bytes) -> Iterator[bytes]:
    yield data[:8]
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        _require(end <= len(data))
        if kind in _PNG_CHUNKS:
            yield data[at:end]
        at = end


def _webp(data: bytes) -> Iterator[bytes]:
    end = 8 + int(struct.unpack_from("<I", data, 4)[0])
    _require(end <= len(data))
    parts, at = [b"WEBP"], 12
    while at < end:
        kind, length = struct.unpack_from("<4sI", data, at)
        part = data[at : at + 8 + length + length % 2]
        _require(len(part) >= 8 + length)
        if kind == b"VP8X":
            part = part[:8] + bytes([part[8] & ~_WEBP_TOLD]) + part[9:]
        if kind in _WEBP_CHUNKS:
            parts.append(part)
        at += len(part)
    body = b"".join(parts)
    yield b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg(data: bytes) -> Iterator[bytes]:
    yield data[:2]
    at = 2
    while at < len(data):
        _require(data[at] == 0xFF)
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xD9:
            # What follows the end is no part of the photo: previews, films, and what editors forgot to cut.
            yield data[at : at + 2]
            return
        end = at + 2 if marker in _JPEG_BARE else at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        if marker == 0xDA:
            following = _JPEG_NEXT.search(data, end)
            end = following.start() if following else len(data)
        if _wanted_in_jpeg(marker, data[at + 4 : at + 16]):
            yield data[at:end] if marker != _JFIF else _without_preview(data[at:end])
        at = end


def _without_preview(jfif: bytes) -> bytes:
    """Cut the small picture from JFIF's segment: it may show what was cut from the large one."""
    _require(len(jfif) >= _JFIF_BYTES)
    return jfif[:2] + struct.pack(">H", _JFIF_BYTES - 2) + jfif[4 : _JFIF_BYTES - 2] + b"\0\0"


def _wanted_in_jpeg(marker: int, begins: bytes) -> bool:
    if 0xE0 <= marker <= 0xEF:
        return marker in _JPEG_APPLICATIONS and begins.startswith(_JPEG_APPLICATIONS[marker])
    return marker != 0xFE


def _gif(data: bytes) -> Iterator[bytes]:
    at = 13 + _gif_colours(data[10])
    yield data[:at]
    while data[at] != 0x3B:
        extension = data[at] == 0x21
        _require(extension or data[at] == 0x2C)
        end = at + 2 if extension else at + 11 + _gif_colours(data[at + 9])
        while data[end]:
            end += 1 + data[end]
        end += 1
        if not extension or data[at + 1] == _GIF_FRAME_CONTROL:
            yield data[at:end]
        at = end
    yield b"\x3b"


def _gif_colours(flags: int) -> int:
    """How many bytes a colour table has."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(data: bytes) -> Iterator[bytes]:
    # The format has no place for metadata.
    yield data


def _require(in_order: bool) -> None:
    if not in_order:
        raise _OutOfOrder


_KEPT: Final[Mapping[Format, Callable[[bytes], Iterator[bytes]]]] = {
    "png": _png,
    "jpeg": _jpeg,
    "webp": _webp,
    "gif": _gif,
    "bmp": _bmp,
}
