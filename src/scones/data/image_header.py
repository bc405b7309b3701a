"""Image files: format, size, the parts that hold pixels, and the work of decoding, before any decoder runs.

Standard library only, for Lambda. A file is walked once, from part to part: segments of JPEG, chunks of PNG and WebP,
blocks of GIF. What the walk finds bounds what a decoder can be made to do.
"""

import re
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from scones.domain.errors import DataError

MAX_SIDE_PIXELS: Final = 12_000
"""The maximum side; phone photos have at most about 9,000 pixels a side."""
MAX_PIXELS: Final = 64_000_000
"""The maximum size, and the maximum of `Header.decoding_pixels`; decoded, it takes about 200 MB."""
MAX_PARTS: Final = 100_000
"""The maximum number of segments, chunks or blocks; one more is allowed for each 256 bytes of the file."""

Format = Literal["png", "jpeg", "webp", "gif", "bmp"]
"""The formats that Scones reads."""
Range = tuple[int, int]
"""Where a part of a file begins and ends."""


class UnreadablePhoto(DataError):
    """The bytes cannot be read as a photo; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooLarge(UnreadablePhoto):
    """Decoding the photo would take too much memory or time."""


@dataclass(frozen=True, slots=True)
class Header:
    """A photo's format, size in pixels, and what decoding it takes.

    `decoding_pixels` is the work, in pixels of a PNG of 8 bits: a JPEG of one scan counts a quarter, for it is decoded
    at a reduced scale. Of a progressive JPEG the decoder holds every pixel, and each scan changes them all.
    """

    format: Format
    content_type: str
    width: int
    height: int
    decoding_pixels: int
    animated: bool
    whole: bool
    """Whether the file has all its parts, each as long as it says."""
    pixels: bytes = field(repr=False)
    """The file without metadata. One that has none is the very same bytes."""
    first_frame: bytes = field(repr=False)
    """The same without the further frames of an animation: what `decode` reads."""
    exif: bytes = field(repr=False)
    xmp: bytes = field(repr=False)


def read_header(data: bytes) -> Header:
    """Read the format and the size of the photo in *data*, and find its parts.

    Raises:
        UnreadablePhoto: not one of the formats, truncated within the header, or over the limits.
    """
    for form, magic, offset, walk in _FORMATS:
        if data.startswith(magic, offset) and (form != "webp" or data.startswith(b"RIFF")):
            found = _Walk(data)
            try:
                walk(found)
            except (struct.error, IndexError) as error:
                found.whole = False
                if found.width < 0:
                    raise UnreadablePhoto(f"is truncated within its {form} header") from error
            check_size(found.width, found.height)
            return found.header(form)
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


class _Walk:
    """A walk through a file: the size that it states, and the parts that hold pixels."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.width = self.height = -1
        self.work = 0
        self.frames = 0
        self.whole = True
        self.exif = self.xmp = b""
        self._room = MAX_PARTS + len(data) // 256
        self._kept: list[Range | bytes] = []
        self._first_frame: list[Range | bytes] = []

    def count(self) -> None:
        """Count a part."""
        self._room -= 1
        if self._room < 0:
            raise TooLarge(f"consists of too many parts (the limit is {MAX_PARTS:,}, and one for each 256 bytes)")

    def keep(self, start: int, end: int, *, first_frame: bool = True) -> None:
        """Keep the bytes from *start* to *end*; they may be cut short."""
        for ranges in (self._kept, self._first_frame) if first_frame else (self._kept,):
            last = ranges[-1] if ranges else b""
            if isinstance(last, tuple) and last[1] == start:
                ranges[-1] = (last[0], end)
            else:
                ranges.append((start, end))

    def put(self, part: bytes) -> None:
        """Keep *part* in place of what the file says."""
        self._kept.append(part)
        self._first_frame.append(part)

    def put_cut(self, at: int, end: int, size: int, last: bytes = b"") -> None:
        """Keep *size* bytes of JPEG's segment from *at* to *end*, of which the last are *last*."""
        if end == at + 4 + size:
            self.keep(at, end)
        else:
            content = self.data[at + 4 : at + 4 + size - len(last)] + last
            self.put(self.data[at : at + 2] + struct.pack(">H", 2 + size) + content)

    def header(self, form: Format) -> Header:
        """What was found."""
        pixels = _join(self.data, self._kept)
        still = pixels if self._first_frame == self._kept else _join(self.data, self._first_frame)
        if form == "webp":
            same = still is pixels
            pixels = _riff(pixels)
            still = pixels if same else _riff(still)
        if self.work > MAX_PIXELS:
            raise TooLarge(f"takes too long to decode ({self.width:,} x {self.height:,} pixels in many steps)")
        return Header(
            form,
            f"image/{form}",
            self.width,
            self.height,
            self.work,
            animated=self.frames > 1,
            whole=self.whole,
            pixels=pixels,
            first_frame=still,
            exif=self.exif,
            xmp=self.xmp,
        )


def _join(data: bytes, parts: list[Range | bytes]) -> bytes:
    if len(parts) == 1 and parts[0] == (0, len(data)):
        return data
    return b"".join(part if isinstance(part, bytes) else data[part[0] : part[1]] for part in parts)


# PNG


def _png(found: _Walk) -> None:
    data = found.data
    if data[12:16] not in (b"IHDR", b""):
        raise UnreadablePhoto("has a damaged png header")
    found.width, found.height, bits, color = struct.unpack_from(">IIBB", data, 16)
    found.work = found.width * found.height * (8 if bits == 16 else 5 if color in _PNG_ALPHA else 4) // 4
    found.keep(0, 8)
    at, kind = 8, b""
    once = set(_PNG_ONCE)
    while kind != b"IEND":
        found.count()
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind == b"IDAT":
            found.frames = max(found.frames, 1)
            found.keep(at, end)
        elif kind in once:
            # A second header could state another size.
            once.remove(kind)
            found.keep(at, end)
        elif kind in _PNG_FRAMES and length >= _PNG_FRAMES[kind]:
            found.frames += kind == b"fcTL"
            found.keep(at, end, first_frame=False)
        elif kind in _PNG_TEXTS:
            _png_text(found, kind, data[at + 8 : end - 4], data[end - 4 : end])
        found.whole = end <= len(data)
        at = end


def _png_text(found: _Walk, kind: bytes, content: bytes, crc: bytes) -> None:
    """Read EXIF and XMP; as in other decoders, a chunk with a wrong checksum does not count."""
    name = b"" if kind == b"eXIf" else content.partition(b"\0")[0]
    if name not in (b"", _PNG_XMP, _PNG_EXIF) or zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big") != crc:
        return
    if kind == b"eXIf":
        found.exif = content
    elif name == _PNG_XMP:
        found.xmp = _png_content(kind, content[len(name) + 1 :])
    elif name == _PNG_EXIF and not found.exif:
        # ImageMagick writes a line end, a name, a length, and the bytes in hexadecimal digits.
        digits = b"".join(_png_content(kind, content[len(name) + 1 :]).split(b"\n")[3:])
        with suppress(ValueError):
            found.exif = bytes.fromhex(digits.decode("ascii", errors="replace"))


def _png_content(kind: bytes, text: bytes) -> bytes:
    compressed = kind == b"zTXt"
    if kind == b"iTXt":
        compressed, text = text[:1] == b"\1", text[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif compressed:
        text = text[1:]
    try:
        return zlib.decompressobj().decompress(text, _MAX_TEXT_BYTES) if compressed else text
    except zlib.error:
        return b""


# JPEG


def _jpeg(found: _Walk) -> None:
    data = found.data
    found.keep(0, 2)
    at, frame, components, scans, tables = 2, 0, 0, 0, 0
    # What lies between two parts is filling; a decoder would step over it byte by byte.
    while marker := _JPEG_MARKER.search(data, at):
        found.count()
        at, kind = marker.start(), data[marker.start() + 1]
        if kind == _JPEG_END:
            # What follows the end is no part of the photo: previews, films, and what editors forgot to cut.
            found.keep(at, at + 2)
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if length < 2 or kind == _JPEG_BEGIN or (frame and kind in _JPEG_FRAMES) or (not frame and kind == _JPEG_SCAN):
            raise UnreadablePhoto("has a damaged jpeg header")
        if kind in _JPEG_FRAMES:
            frame = kind
            found.height, found.width, components = struct.unpack_from(">HHB", data, at + 5)
        elif kind == _JPEG_TABLES:
            # Pillow reads them in Python.
            tables += length
        elif kind == _JPEG_SCAN:
            scans += 1
            whole = scans > 1 or frame not in _JPEG_SEQUENTIAL or data[at + 4] < components
            found.work = _jpeg_work(found.width * found.height, scans) if whole else found.width * found.height // 4
            found.work += 16 * tables
            following = _JPEG_MARKER.search(data, end)
            end = following.start() if following else len(data)
        _jpeg_keep(found, kind, at, end)
        at = end
    found.whole = at <= len(data)
    if not frame:
        raise IndexError(at)


def _jpeg_work(pixels: int, scans: int) -> int:
    """Count every pixel, and more scans than encoders write as further pixels; a scan has a price of its own."""
    return max(pixels, scans * max(pixels, _MIN_SCAN_PIXELS) // _USUAL_SCANS)


def _jpeg_keep(found: _Walk, kind: int, at: int, end: int) -> None:
    content = found.data[at + 4 : end] if kind >= _JPEG_JFIF else b""
    if kind == _JPEG_JFIF:
        if content.startswith(b"JFIF\0") and len(content) >= _JFIF_BYTES:
            # A small picture in this segment may show what was cut from the large one.
            found.put_cut(at, end, _JFIF_BYTES, b"\0\0")
    elif kind == _JPEG_ADOBE:
        if content.startswith(b"Adobe") and len(content) >= _ADOBE_BYTES:
            found.put_cut(at, end, _ADOBE_BYTES)
    elif kind == _JPEG_EXIF:
        if content.startswith(b"Exif\0\0"):
            found.exif = found.exif or content
        elif content.startswith(_JPEG_XMP):
            found.xmp = content[len(_JPEG_XMP) :]
    elif not _JPEG_JFIF <= kind <= 0xEF and kind != _JPEG_COMMENT:
        found.keep(at, end)


# WebP


def _webp(found: _Walk) -> None:
    data = found.data
    found.width, found.height = _webp_size(data)
    found.work = found.width * found.height
    end = 8 + int(struct.unpack_from("<I", data, 4)[0])
    found.whole = end <= len(data)
    at = 12
    while at < end:
        found.count()
        kind, length = struct.unpack_from("<4sI", data, at)
        after = at + 8 + length + length % 2
        found.whole = found.whole and after <= len(data)
        if kind == b"VP8X":
            found.put(data[at : at + 8] + bytes([data[at + 8] & ~_WEBP_DESCRIBED]) + data[at + 9 : after])
        elif kind == b"ANMF":
            found.frames += 1
            _webp_work(found, 6)
            found.keep(at, after, first_frame=found.frames == 1)
        elif kind in _WEBP_CHUNKS:
            # The fourth byte of VP8L's content has a flag of alpha.
            alpha = kind == b"ALPH" or (kind == b"VP8L" and data[at + 12] & 0x10)
            _webp_work(found, 6 if alpha else 5 if kind == b"VP8 " else 4)
            found.keep(at, after)
        elif kind == b"EXIF":
            found.exif = data[at + 8 : at + 8 + length]
        elif kind == b"XMP ":
            found.xmp = data[at + 8 : at + 8 + length]
        at = after


def _webp_work(found: _Walk, quarters: int) -> None:
    found.work = max(found.work, found.width * found.height * quarters // 4)


def _webp_size(data: bytes) -> tuple[int, int]:
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


def _part(data: bytes, start: int, length: int) -> bytes:
    part = data[start : start + length]
    if len(part) < length:
        raise IndexError(start)
    return part


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


# GIF


def _gif(found: _Walk) -> None:
    data = found.data
    width, height = struct.unpack_from("<HH", data, 6)
    at = 13 + _gif_colors(data[10])
    found.keep(0, at)
    while part := _GIF_PART.search(data, at):
        found.count()
        at, kind = part.start(), part.group()
        if kind == b";":
            break
        if kind == b"!":
            end = _gif_blocks(found, at + 2)
            if data[at + 1] == _GIF_FRAME_CONTROL:
                found.keep(at, end, first_frame=not found.frames)
        else:
            left, top, across, down, colors = struct.unpack_from("<HHHHB", data, at + 1)
            if not found.frames:
                # A decoder enlarges the picture to hold its first frame.
                found.width, found.height = max(width, left + across), max(height, top + down)
                found.work = found.width * found.height
            found.frames += 1
            end = _gif_blocks(found, at + 11 + _gif_colors(colors))
            found.keep(at, end, first_frame=found.frames == 1)
        at = end
    found.whole = part is not None
    if not found.frames:
        raise IndexError(at)
    found.put(b";")


def _gif_blocks(found: _Walk, at: int) -> int:
    """The end of the blocks that begin at *at*."""
    data, end = found.data, len(found.data)
    while at < end and (size := data[at]):
        found.count()
        at += 1 + size
    return at + 1


def _gif_colors(flags: int) -> int:
    """How many bytes a table of colors has."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


# BMP


def _bmp(found: _Walk) -> None:
    # The format has no place for metadata.
    data = found.data
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    # A negative height only says that the rows run from top to bottom.
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    found.width, found.height = width, abs(height)
    found.work = found.width * found.height
    if header_bytes >= 40 and struct.unpack_from("<I", data, 30)[0] in _BMP_RUN_LENGTHS:
        # Pillow reads run lengths in Python.
        found.work = 3 * found.work + 8 * len(data)
    found.keep(0, len(data))


_PNG_ONCE: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IEND"})
_PNG_FRAMES: Final = {b"acTL": 8, b"fcTL": 26, b"fdAT": 4}
"""The chunks of an animation, and the bytes that each needs."""
_PNG_TEXTS: Final = frozenset({b"eXIf", b"iTXt", b"zTXt", b"tEXt"})
_PNG_ALPHA: Final = frozenset({4, 6})
_PNG_XMP: Final = b"XML:com.adobe.xmp"
_PNG_EXIF: Final = b"Raw profile type exif"
_MAX_TEXT_BYTES: Final = 1_000_000

_JPEG_BEGIN, _JPEG_END, _JPEG_SCAN, _JPEG_TABLES, _JPEG_COMMENT = 0xD8, 0xD9, 0xDA, 0xDB, 0xFE
_JPEG_JFIF, _JPEG_EXIF, _JPEG_ADOBE = 0xE0, 0xE1, 0xEE
_JPEG_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
# Start-of-frame markers; C4, C8 and CC in their midst mean something else.
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEQUENTIAL: Final = frozenset({0xC0, 0xC1})
# Between parts, restart markers (D0 to D7) and TEM (01) are filling; in a scan they are data.
_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_USUAL_SCANS: Final = 16
_MIN_SCAN_PIXELS: Final = 16_384

_WEBP_CHUNKS: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH", b"ANIM"})
_WEBP_DESCRIBED: Final = 0x2C  # VP8X's flags of a color profile, EXIF and XMP

_GIF_FRAME_CONTROL: Final = 0xF9
_GIF_PART: Final = re.compile(rb"[!,;]")

_BMP_RUN_LENGTHS: Final = frozenset({1, 2})

_FORMATS: Final[tuple[tuple[Format, bytes, int, Callable[[_Walk], None]], ...]] = (
    ("png", b"\x89PNG\r\n\x1a\n", 0, _png),
    ("jpeg", b"\xff\xd8\xff", 0, _jpeg),
    ("webp", b"WEBP", 8, _webp),
    ("gif", b"GIF8", 0, _gif),
    ("bmp", b"BM", 0, _bmp),
)
