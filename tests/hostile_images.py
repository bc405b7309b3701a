"""Image files of at most 6 MB that were made to keep a decoder busy, one for each way to do so.

Most hold a picture of 32 x 32 pixels, or promise one that takes nothing to write: what is large is the work.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from PIL import Image

MAX_BYTES: Final = 6 * 1024 * 1024 - 4096
SIDE: Final = 3460
"""Of a square of 12 million pixels, the endpoint's limit."""
Components = Sequence[tuple[int, int, int]]
GRAY: Final[Components] = ((1, 0x11, 0),)
COLOR: Final[Components] = ((1, 0x11, 0), (2, 0x11, 0), (3, 0x11, 0))
FOUR_INKS: Final[Components] = (*COLOR, (4, 0x11, 0))


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """The image as a file."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def plain(form: str, side: int = 32, mode: str = "RGB", **options: Any) -> bytes:
    """A dark square."""
    return saved(Image.new(mode, (side, side)), form, **options)


def many(unit: bytes) -> bytes:
    """As many as fit."""
    return unit * (MAX_BYTES // len(unit))


# JPEG


def segment(marker: int, content: bytes = b"") -> bytes:
    """A segment of JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_with(part: bytes, before: int | None = None) -> bytes:
    """A small JPEG with *part* after its beginning, or before its first segment of kind *before*."""
    data = plain("JPEG")
    at = 2 if before is None else data.index(bytes([0xFF, before]))
    return data[:at] + part + data[at:]


QUANTIZATION: Final = segment(0xDB, b"\0" + bytes([16] * 64))
# Every code is one bit long, and means zero or the end of the block.
HUFFMAN: Final = b"".join(segment(0xC4, bytes([table, 1]) + bytes(15) + b"\0") for table in (0x00, 0x10))


def frame(marker: int, width: int, height: int, components: Components) -> bytes:
    """A start of frame."""
    return segment(marker, struct.pack(">BHHB", 8, height, width, len(components)) + bytes(sum(components, ())))


def scan(components: Sequence[int], first: int, last: int, bits: int = 0) -> bytes:
    """A start of scan; *components* are their numbers."""
    listed = b"".join(bytes([number, 0]) for number in components)
    return segment(0xDA, bytes([len(components)]) + listed + bytes([first, last, bits]))


def jpeg(marker: int, side: int, components: Components, scans: bytes) -> bytes:
    """A JPEG of a square."""
    return b"\xff\xd8" + QUANTIZATION + frame(marker, side, side, components) + HUFFMAN + scans + b"\xff\xd9"


def progressive(side: int, scans: int, components: Components = GRAY) -> bytes:
    """A progressive JPEG whose scans are empty: the decoder goes through every pixel for each."""
    numbers = [number for number, _, _ in components]
    later = (scan([numbers[index % len(numbers)]], 1, 63) for index in range(scans - 1))
    return jpeg(0xC2, side, components, scan(numbers, 0, 0) + b"".join(later))


def refining(side: int = SIDE, scans: int = 15) -> bytes:
    """A progressive JPEG that refines every coefficient again and again."""
    blocks = ((side + 7) // 8) ** 2
    bits = ("0" + "1" * 14) * (blocks // 32767 + 1)
    run = int(bits + "1" * (-len(bits) % 8), 2).to_bytes((len(bits) + 7) // 8, "big").replace(b"\xff", b"\xff\0")
    runs_only = segment(0xC4, b"\x10\x01" + bytes(15) + b"\xe0")
    parts = [runs_only, scan([1], 0, 0), bytes(blocks // 8), scan([1], 1, 63, 0x0D), run]
    parts += [scan([1], 1, 63, (13 - step) << 4 | (12 - step)) + run for step in range(min(13, scans))]
    return jpeg(0xC2, side, GRAY, b"".join(parts))


def sequential(side: int, components: Components) -> bytes:
    """A JPEG of one scan and one color."""
    blocks = ((side + 7) // 8) ** 2 * len(components)
    return jpeg(0xC0, side, components, scan([number for number, _, _ in components], 0, 63) + bytes(blocks // 4))


def noise(form: str, side: int, mode: str = "RGB", **options: Any) -> bytes:
    """A picture that no coding makes small."""
    shape = (side, side, len(mode)) if len(mode) > 1 else (side, side)
    return saved(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), mode), form, **options
    )


def tables(pieces: int) -> bytes:
    """Quantization tables of 16 bits."""
    return segment(0xDB, (b"\x10" + bytes([0, 1] * 64)) * pieces)


JPEGS: Final[dict[str, Callable[[], bytes]]] = {
    "thousands of empty scans of a large JPEG": lambda: progressive(6900, 33_000),
    "thousands of empty scans of a JPEG within the limit": lambda: progressive(3400, 30_000),
    "thousands of empty scans of three components": lambda: progressive(3400, 3000, COLOR),
    "thousands of scans of a small JPEG": lambda: progressive(120, 40_000, COLOR),
    "refining scans": refining,
    "scans as usual at the limit": lambda: progressive(SIDE, 10, COLOR),
    "a progressive JPEG over the limit": lambda: progressive(6900, 1, COLOR),
    "scans of single components, repeated": lambda: jpeg(
        0xC0, 6900, COLOR, b"".join(scan([1 + number % 3], 0, 63) for number in range(3000))
    ),
    "four inks of 46 million pixels": lambda: sequential(6800, FOUR_INKS),
    "noise of a JPEG": lambda: noise("JPEG", 1900, quality=90),
    "noise of a progressive JPEG": lambda: noise("JPEG", 1900, quality=85, progressive=True),
    "tiny EXIF segments": lambda: jpeg_with(many(segment(0xE1, b"Exif\0\0A"))),
    "comments of a JPEG": lambda: jpeg_with(many(segment(0xFE))),
    "application segments": lambda: jpeg_with(many(segment(0xE5))),
    "profile segments": lambda: jpeg_with(many(segment(0xE2, b"ICC_PROFILE\0\1\1"))),
    "restart markers": lambda: jpeg_with(many(b"\xff\xd0")),
    "fill bytes": lambda: jpeg_with(many(b"\xff")),
    "fill bytes in a scan": lambda: plain("JPEG")[:-2] + many(b"\xff") + b"\0\xff\xd9",
    "escaped bytes between segments": lambda: jpeg_with(many(b"\xff\0"), 0xDA),
    "garbage between segments": lambda: jpeg_with(many(b"\1"), 0xDA),
    "quantization tables": lambda: jpeg_with(many(QUANTIZATION), 0xDA),
    "long quantization tables": lambda: jpeg_with(many(tables(500)), 0xDA),
    "quantization tables at the limit": lambda: jpeg_with(tables(500) * 11, 0xDA),
    "restart intervals": lambda: jpeg_with(many(segment(0xDD, b"\0\0")), 0xDA),
    "empty Huffman tables": lambda: jpeg_with(many(segment(0xC4)), 0xDA),
    "frames of a JPEG": lambda: jpeg_with(many(frame(0xC0, 32, 32, COLOR)), 0xC0),
    "frames of thousands of components": lambda: jpeg_with(many(frame(0xC0, 32, 32, COLOR) + b"\1\x11\0" * 9000), 0xC0),
    "links to other pictures": lambda: jpeg_with(
        segment(0xE2, b"MPF\0II*\0\x08\0\0\0\x88\x13" + struct.pack("<HHII", 0xB002, 7, 60000, 20) * 5000)
    ),
    "thousands of EXIF tags": lambda: jpeg_with(
        many(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x18\x15" + struct.pack("<HHII", 0x8769, 2, 60000, 0) * 5400))
    ),
    "image resources": lambda: jpeg_with(many(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\0\1\0\0\0\0\0\0" * 5000))),
}


# PNG


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    """A chunk of PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(before: bytes = b"", after: bytes = b"") -> bytes:
    """A small PNG with chunks before its pixels, and after them."""
    data = plain("PNG")
    at, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    return data[:at] + before + data[at:end] + after + data[end:]


def png(side: int, color: int, bits: int, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A PNG of a square whose rows are written with the costliest filter."""
    pixel_bits = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    packer = zlib.compressobj(9)
    data = b"".join(
        packer.compress(b"\4" + bytes((width * pixel_bits + 7) // 8)) for width in _rows(side, interlaced=interlaced)
    )
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, color, 0, 0, int(interlaced)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", data + packer.flush()) + chunk(b"IEND")


def _rows(side: int, *, interlaced: bool) -> Iterator[int]:
    passes = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
    for left, top, across, down in passes if interlaced else ((0, 0, 1, 1),):
        for _ in range(top, side, down):
            yield len(range(left, side, across))


@cache
def packed(size: int) -> bytes:
    """That many zeros, compressed."""
    return zlib.compress(bytes(size), 9)


def apng() -> bytes:
    """A PNG of as many frames as fit."""
    control = struct.pack(">IIIIHHBB", 1, 1, 0, 0, 1, 1, 0, 0)
    one = chunk(b"fcTL", bytes(4) + control) + chunk(b"fdAT", bytes(4) + packed(4))
    return png_with(chunk(b"acTL", struct.pack(">II", 99_999, 0)), many(one))


# By EXIF, the row at the top is the column at the left: a decoder must turn every pixel.
TURNED: Final = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\5\0\0\0"
PALETTE: Final = chunk(b"PLTE", bytes(768))

PNGS: Final[dict[str, Callable[[], bytes]]] = {
    "compressed texts": lambda: png_with(
        b"".join(chunk(b"zTXt", b"%d\0\0" % number + packed(900_000)) for number in range(2000))
    ),
    "compressed international texts": lambda: png_with(
        b"".join(chunk(b"iTXt", b"%d\0\1\0\0\0" % number + packed(900_000)) for number in range(2000))
    ),
    "a compressed text of 2 MB": lambda: png_with(chunk(b"zTXt", b"a\0\0" + packed(2_000_000))),
    "a color profile of 2 MB": lambda: png_with(chunk(b"iCCP", b"a\0\0" + packed(2_000_000))),
    "color profiles": lambda: png_with(chunk(b"iCCP", b"a\0\0" + packed(900_000)) * 4000),
    "an XMP packet that grows": lambda: png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed(200_000_000))),
    "EXIF tags of a PNG": lambda: png_with(
        chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x8769, 2, 6_000_000, 0) * 65_535)
    ),
    "EXIF prefixes": lambda: png_with(chunk(b"eXIf", many(b"Exif\0\0"))),
    "texts": lambda: png_with(many(chunk(b"tEXt"))),
    "unknown chunks": lambda: png_with(after=many(chunk(b"abCd"))),
    "palettes": lambda: png_with(many(chunk(b"PLTE"))),
    "transparent colors": lambda: png_with(many(chunk(b"tRNS", bytes(6)))),
    "empty pixel chunks": lambda: png_with(many(chunk(b"IDAT"))),
    "empty pixel chunks at the limit": lambda: png_with(chunk(b"IDAT") * 100_000),
    "frames of a PNG": apng,
    "rows beyond the last": lambda: png_with(after=chunk(b"IDAT", packed(500_000_000))),
    "RGB": lambda: png(SIDE, 2, 8),
    "gray": lambda: png(SIDE, 0, 8),
    "palette with alpha": lambda: png(SIDE, 3, 8, extra=PALETTE + chunk(b"tRNS", bytes(256))),
    "RGB with a transparent color": lambda: png(SIDE, 2, 8, extra=chunk(b"tRNS", bytes(6))),
    "RGBA, interlaced and turned": lambda: png(3090, 6, 8, interlaced=True, extra=chunk(b"eXIf", TURNED)),
    "RGBA of 16 bits, interlaced and turned": lambda: png(2440, 6, 16, interlaced=True, extra=chunk(b"eXIf", TURNED)),
    "gray of 16 bits": lambda: png(2440, 0, 16),
    "RGBA of 16 bits over the limit": lambda: png(SIDE, 6, 16),
    "noise of a PNG": lambda: noise("PNG", 1400),
}


# WebP


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of these chunks."""
    body = b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def extended(flags: int, side: int = 32) -> tuple[bytes, bytes]:
    """The first chunk of an extended WebP."""
    return b"VP8X", struct.pack("<I", flags) + 2 * struct.pack("<I", side - 1)[:3]


def picture_chunk() -> tuple[bytes, bytes]:
    """A small picture's only chunk."""
    data = plain("WEBP", lossless=True)
    return data[12:16], data[20 : 20 + struct.unpack_from("<I", data, 16)[0]]


def webp_frame() -> tuple[bytes, bytes]:
    """A frame of 32 x 32 pixels."""
    return b"ANMF", bytes(6) + struct.pack("<I", 31)[:3] * 2 + b"\1\0\0\0" + riff(picture_chunk())[12:]


def repeated(part: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """As many as fit."""
    return [part] * (MAX_BYTES // (8 + len(part[1]) + len(part[1]) % 2))


WEBPS: Final[dict[str, Callable[[], bytes]]] = {
    "chunks of a WebP": lambda: riff(extended(0), picture_chunk(), *repeated((b"ABCD", b""))),
    "frames of a WebP": lambda: riff(extended(2), (b"ANIM", bytes(6)), *repeated(webp_frame())),
    "a canvas of the maximum size": lambda: riff(extended(2, 2828), (b"ANIM", bytes(6)), webp_frame()),
    "EXIF tags of a WebP": lambda: riff(
        extended(8),
        picture_chunk(),
        (b"EXIF", b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x8769, 2, 6_000_000, 0) * 65_535),
    ),
    "lossless": lambda: plain("WEBP", SIDE, lossless=True),
    "lossless with alpha, turned": lambda: plain("WEBP", 2828, "RGBA", lossless=True, exif=TURNED),
    "lossy, turned": lambda: plain("WEBP", 3090, exif=TURNED),
    "lossy with alpha, turned": lambda: plain("WEBP", 2828, "RGBA", exif=TURNED),
    "lossless with alpha over the limit": lambda: plain("WEBP", SIDE, "RGBA", lossless=True),
    "noise of a lossless WebP": lambda: noise("WEBP", 1150, "RGBA", lossless=True, quality=0, method=0),
    "noise of a lossy WebP": lambda: noise("WEBP", 2600, quality=50, method=0, exif=TURNED),
}


# GIF and BMP


def gif_with(part: bytes, data: bytes | None = None) -> bytes:
    """A small GIF with *part* before its picture."""
    data = data or plain("GIF", mode="P")
    at = gif_picture(data)
    return data[:at] + part + data[at:]


def gif_outgrowing() -> bytes:
    """A GIF that says it is small, and whose picture is not."""
    data = plain("GIF", 7000, "P")
    return b"GIF89a\1\0\1\0\0\0\0" + data[gif_picture(data) :]


def gif_frames(side: int) -> bytes:
    """A GIF of as many frames as fit."""
    one = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0xF7, 0, 0) + bytes(768) + many(one)[:-3000] + b";"


def gif_picture(data: bytes) -> int:
    """Where the picture of a GIF begins."""
    return data.index(b"\x2c", 13 + (3 << (data[10] & 7) + 1))


def gif_of_single_bytes() -> bytes:
    """A GIF whose pixels are in blocks of one byte."""
    data = noise("GIF", 1200, "L")
    at = gif_picture(data) + 11
    pixels, block = b"", at
    while size := data[block]:
        pixels += data[block + 1 : block + 1 + size]
        block += 1 + size
    return data[:at] + b"".join(b"\1" + pixels[index : index + 1] for index in range(len(pixels))) + b"\0;"


def bmp(width: int, height: int, bits: int, compression: int, data: bytes) -> bytes:
    """A BMP."""
    colors = 1 << bits if bits <= 8 else 0
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, colors, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 4 * colors) + head + bytes(4 * colors) + data


OTHERS: Final[dict[str, Callable[[], bytes]]] = {
    "blocks of one byte in a comment": lambda: gif_with(b"\x21\xfe" + many(b"\1A") + b"\0"),
    "comments of a GIF": lambda: gif_with(many(b"\x21\xfe\1A\0")),
    "empty extensions": lambda: gif_with(many(b"\x21\xfe\0")),
    "frame controls": lambda: gif_with(many(b"\x21\xf9\4\0\0\0\0\0")),
    "garbage between blocks": lambda: gif_with(many(b"\1")),
    "blocks of one byte in a picture": gif_of_single_bytes,
    "frames of a GIF": lambda: gif_frames(32),
    "frames of a large GIF": lambda: gif_frames(SIDE),
    "a GIF of the maximum size": lambda: plain("GIF", SIDE, "P", transparency=0, interlace=1),
    "a frame that is larger than its screen": gif_outgrowing,
    "runs of nothing": lambda: bmp(1000, 1000, 8, 1, many(b"\0\0")),
    "runs of nothing at the limit": lambda: bmp(1000, 1000, 8, 1, b"\0\0" * 550_000),
    "moves of nothing": lambda: bmp(1000, 1000, 8, 1, many(b"\0\2\0\0")),
    "runs of one": lambda: bmp(SIDE, SIDE, 8, 1, many(b"\1A")),
    "runs of four bits": lambda: bmp(255 * 6, 1500, 4, 2, (b"\xffA" * 6 + b"\0\0") * 1500),
    "pixels of four bits": lambda: bmp(1500, 1000, 4, 2, (b"\0\xfa" + b"\x12" * 125 + b"\0") * 6000),
    "a BMP of one bit": lambda: bmp(SIDE, SIDE, 1, 0, bytes(436 * SIDE)),
}

FAMILIES: Final = {**JPEGS, **PNGS, **WEBPS, **OTHERS}


@cache
def hostile(name: str) -> bytes:
    """The file of that family."""
    data = FAMILIES[name]()
    assert len(data) <= 6 * 1024 * 1024, name
    return data
