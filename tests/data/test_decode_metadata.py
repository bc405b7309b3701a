"""Metadata turn a photo, and do nothing else to it: whatever they hold, the pixels are read."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from hostile_images import FAMILIES, chunk, hostile, packed, saved, segment
from scones.data.decode import decode, opened
from scones.data.image_header import UnreadablePhoto, read_header
from scones.data.metadata import without_metadata
from scones.data.validation import validate_image

TURNS: Final[dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
"""By EXIF's numbers: how what is stored becomes what is seen."""
TYPES: Final = {"SHORT": 3, "LONG": 4, "BYTE": 1, "RATIONAL": 5}
SIDE: Final = 16
SOFTWARE, ORIENTATION = 0x0131, 0x0112


def stored() -> NDArray[np.uint8]:
    """Pixels of which no turn gives the same; blocks of 8 x 8, which JPEG keeps as they are."""
    quarters = np.array([[20, 90], [160, 230]], np.uint8)
    return np.repeat(np.kron(quarters, np.ones((8, 8), np.uint8))[:, :, None], 3, axis=2)


def exif(*tags: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """A TIFF structure of these tags: number, type, count, and the value's bytes."""
    at = 10 + 12 * len(tags) + 4
    entries, values = b"", b""
    for number, kind, count, value in tags:
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(f"{order}I", at + len(values))
        values += value if len(value) > 4 else b""
        entries += struct.pack(f"{order}HHI", number, kind, count) + inline
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(tags))
    return start + entries + bytes(4) + values


def orientation_tag(value: int, kind: str = "SHORT", order: str = "<") -> tuple[int, int, int, bytes]:
    """The tag of the orientation, in one of TIFF's types."""
    numbers = {"SHORT": f"{order}H", "LONG": f"{order}I", "BYTE": "B", "RATIONAL": f"{order}II"}[kind]
    return ORIENTATION, TYPES[kind], 1, struct.pack(numbers, *((value, 1) if kind == "RATIONAL" else (value,)))


def with_exif(form: str, content: bytes) -> bytes:
    """The photo with this EXIF."""
    image = Image.fromarray(stored())
    if form == "webp":
        return saved(image, "webp", lossless=True, exif=content)
    data = saved(image, form, **({"quality": 100, "subsampling": 0} if form == "jpeg" else {}))
    if form == "jpeg":
        return data[:2] + segment(0xE1, b"Exif\0\0" + content) + data[2:]
    return data[:33] + chunk(b"eXIf", content) + data[33:]


def seen(data: bytes) -> NDArray[np.uint8]:
    """What `decode` gives."""
    return decode(data, SIDE)


def is_like(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> bool:
    """Equal, but for what JPEG loses."""
    return bool(np.abs(found.astype(int) - wanted).max() <= 3)


@pytest.mark.parametrize("value", TURNS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("kind", TYPES)
def test_all_eight_orientations_are_applied(form: str, order: str, kind: str, value: int) -> None:
    """In both byte orders, and in each type that a number can have; staging turns the photo the same way."""
    data = with_exif(form, exif(orientation_tag(value, kind, order), order=order))
    wanted = TURNS[value](stored())
    assert is_like(seen(data), wanted)
    clean = without_metadata(data)
    assert is_like(seen(clean), wanted)
    assert read_header(clean).exif == b""


XMP: Final = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
AS_ELEMENT: Final = b"<x:xmpmeta><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>"


def imagemagick() -> bytes:
    """EXIF as ImageMagick writes it into a text of PNG."""
    content = b"Exif\0\0" + exif(orientation_tag(6))
    text = b"\nexif\n%8d\n" % len(content) + content.hex().encode() + b"\n"
    return chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))


def in_png(part: bytes) -> bytes:
    """The photo with this chunk."""
    data = saved(Image.fromarray(stored()), "png")
    return data[:33] + part + data[33:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(Image.fromarray(stored()), "jpeg", quality=100, subsampling=0, xmp=XMP), id="XMP in JPEG"),
        pytest.param(saved(Image.fromarray(stored()), "webp", lossless=True, xmp=XMP), id="XMP in WebP"),
        pytest.param(saved(Image.fromarray(stored()), "webp", lossless=True, xmp=AS_ELEMENT), id="XMP's element"),
        pytest.param(in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)), id="XMP in PNG"),
        pytest.param(
            in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))), id="compressed XMP in PNG"
        ),
        pytest.param(in_png(imagemagick()), id="ImageMagick's text in PNG"),
        pytest.param(with_exif("jpeg", b"Exif\0\0" + exif(orientation_tag(6))), id="doubled prefix"),
    ],
)
def test_an_orientation_outside_exif_is_applied(data: bytes) -> None:
    """XMP counts where EXIF has no orientation."""
    assert is_like(seen(data), TURNS[6](stored()))


ODD_TAGS: Final = {
    "a text as RATIONAL": (SOFTWARE, 5, 1, struct.pack("<II", 1, 2)),
    "a text as SHORT": (SOFTWARE, 3, 1, b"\1\0"),
    "a text as UNDEFINED": (SOFTWARE, 7, 3, b"abc"),
    "a text as DOUBLE": (SOFTWARE, 12, 1, struct.pack("<d", 1.5)),
    "a text of an unknown type": (SOFTWARE, 99, 1, b"\1\0\0\0"),
    "a text beyond the end": (SOFTWARE, 2, 1_000_000, b"\xff\xff\xff\x7f"),
    "a text of no letters": (SOFTWARE, 2, 0, b""),
    "a date as LONG": (0x0132, 4, 1, b"\1\0\0\0"),
    "a resolution of zero": (0x011A, 5, 1, bytes(8)),
    "a resolution as text": (0x011A, 2, 8, b"seventy\0"),
    "a place that is no list": (0x8825, 2, 4, b"abc\0"),
    "a place beyond the end": (0x8825, 4, 1, b"\xff\xff\xff\x7f"),
    "a list of tags that contains itself": (0x8769, 4, 1, b"\x08\0\0\0"),
    "a maker's note": (0x927C, 7, 40, b"\xff" * 40),
    "a negative fraction": (SOFTWARE, 10, 1, struct.pack("<ii", -1, 0)),
}


@pytest.mark.parametrize("tag", ODD_TAGS)
@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("value", [1, 6])
def test_no_other_tag_matters(form: str, tag: str, value: int) -> None:
    """Cameras and editors write tags of wrong types; upright or not, the photo is decoded, staged and noted."""
    data = with_exif(form, exif(ODD_TAGS[tag], orientation_tag(value)))
    wanted = TURNS[value](stored())
    assert is_like(seen(data), wanted)
    assert is_like(seen(validate_image(data).data), wanted)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"II",
        b"II*\0\xff\xff\xff\xff",
        b"XX*\0\x08\0\0\0",
        exif(orientation_tag(6))[:20],
        exif((ORIENTATION, 2, 2, b"6\0")),
        exif(orientation_tag(0)),
        exif(orientation_tag(9)),
        exif((ORIENTATION, 5, 1, struct.pack("<II", 6, 0))),
        exif((ORIENTATION, 5, 1, struct.pack("<II", 7, 2))),
    ],
)
@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_an_orientation_that_cannot_be_read_turns_nothing(form: str, content: bytes) -> None:
    """Truncated EXIF, another type than a number, or a number beyond the eight."""
    assert is_like(seen(with_exif(form, content)), stored())


def broken(part: bytes) -> bytes:
    """A chunk with a wrong checksum."""
    return part[:-1] + bytes([part[-1] ^ 1])


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(broken(chunk(b"tEXt", b"Author\0me")), id="wrong checksum of a text"),
        pytest.param(broken(chunk(b"eXIf", exif(orientation_tag(1)))), id="wrong checksum of EXIF"),
        pytest.param(chunk(b"zTXt", b"a\0\0" + packed(2_000_000)), id="2 MB of text"),
        pytest.param(chunk(b"iCCP", b"a\0\0" + packed(2_000_000)), id="2 MB of color profile"),
        pytest.param(chunk(b"iTXt", b"a\0\1\0\0\0" + packed(2_000_000)), id="2 MB of international text"),
        pytest.param(chunk(b"zTXt", b"a\0\0garbage"), id="a text that is not compressed"),
        pytest.param(chunk(b"zTXt", b"a\0\7"), id="an unknown compression"),
        pytest.param(chunk(b"iCCP", b"a"), id="a short color profile"),
        pytest.param(chunk(b"pHYs", b"abc"), id="a short density"),
        pytest.param(chunk(b"gAMA", b""), id="no gamma"),
        pytest.param(chunk(b"cHRM", b"a"), id="short chromaticities"),
        pytest.param(chunk(b"sRGB", b""), id="no intent"),
        pytest.param(chunk(b"tIME", b"a"), id="a short time"),
        pytest.param(chunk(b"acTL", b"a"), id="a short animation control"),
        pytest.param(chunk(b"fcTL", b"a"), id="a short frame control"),
        pytest.param(chunk(b"a1~\xff", b"a"), id="a name of no letters"),
        pytest.param(chunk(b"tEXt", b"\xff" * 100), id="a text without a name"),
    ],
)
def test_no_chunk_beside_the_pixels_matters(part: bytes) -> None:
    """Of a PNG, before the pixels and after them."""
    plain = saved(Image.fromarray(stored()), "png")
    for data in (in_png(part), plain[:-12] + part + plain[-12:]):
        assert (seen(data) == stored()).all()
        assert validate_image(data).data == plain


def test_any_exception_while_decoding_says_that_the_photo_is_unreadable() -> None:
    """Also one that no decoder was known to raise; its type is part of the reason."""
    header = read_header(saved(Image.fromarray(stored()), "png"))
    for kind in (AttributeError, AssertionError, RuntimeError, RecursionError, MemoryError, ZeroDivisionError):
        with pytest.raises(UnreadablePhoto, match=f"damaged or truncated .png, {kind.__name__}"), opened(header):
            raise kind


@pytest.mark.parametrize("family", FAMILIES)
def test_no_file_can_make_staging_decode_for_long(family: str) -> None:
    """A file is refused, or its work is within the limit for one photo, whatever its size in bytes."""
    try:
        header = read_header(hostile(family))
    except UnreadablePhoto:
        return
    assert header.decoding_pixels <= 64_000_000
    assert len(header.first_frame) <= len(hostile(family)) + 30


TAG: Final = st.tuples(
    st.integers(0, 0xFFFF).filter(lambda number: number != ORIENTATION),
    st.integers(0, 14),
    st.integers(0, 0xFFFF_FFFF),
    st.binary(max_size=40),
)
CHUNK_NAMES: Final = [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"pHYs", b"gAMA", b"tIME", b"sPLT", b"abCd", b"hIST"]


@settings(max_examples=300)
@given(tags=st.lists(TAG, max_size=5), form=st.sampled_from(["jpeg", "png", "webp"]), value=st.integers(1, 8))
def test_photos_with_any_tags_are_read(tags: list[tuple[int, int, int, bytes]], form: str, value: int) -> None:
    """Whatever EXIF holds, the photo is seen as its orientation says."""
    data = with_exif(form, exif(*tags, orientation_tag(value)))
    assert is_like(seen(data), TURNS[value](stored()))
    assert is_like(seen(without_metadata(data)), TURNS[value](stored()))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(CHUNK_NAMES), st.binary(max_size=60), st.booleans()), max_size=6))
def test_photos_with_any_chunks_are_read(parts: list[tuple[bytes, bytes, bool]]) -> None:
    """Whatever a PNG's descriptions hold, and whether their checksums are right or not."""
    made = b"".join(chunk(kind, content) if sound else broken(chunk(kind, content)) for kind, content, sound in parts)
    assert (seen(in_png(made)) == stored()).all()


MARKERS: Final = [*range(0xE1, 0xEE), 0xEF, 0xFE]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(MARKERS), st.binary(max_size=60)), max_size=6), st.binary(max_size=3))
def test_photos_with_any_segments_are_read(parts: list[tuple[int, bytes]], filling: bytes) -> None:
    """Whatever a JPEG's descriptions hold, with fill bytes and restart markers between them."""
    plain = saved(Image.fromarray(stored()), "jpeg", quality=100, subsampling=0)
    between = b"".join(b"\xff" + bytes([0xD0 + byte % 8]) for byte in filling) + b"\xff" * len(filling)
    made = b"".join(segment(marker, b"\0" + content) + between for marker, content in parts)
    scan = plain.index(b"\xff\xda")
    for data in (plain[:2] + made + plain[2:], plain[:scan] + made + plain[scan:]):
        assert (seen(data) == seen(plain)).all()
        assert without_metadata(data) == without_metadata(plain)


@settings(max_examples=300)
@given(form=st.sampled_from(["png", "jpeg", "webp", "gif", "bmp"]), data=st.data())
def test_damaged_photos_are_staged_or_left_out(form: str, data: st.DataObject) -> None:
    """Stretches of a sound photo are overwritten, cut, doubled or moved: nothing but UnreadablePhoto is raised."""
    whole = saved(Image.fromarray(stored()), form)
    for _ in range(data.draw(st.integers(1, 4))):
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
        part = whole[start:end]
        change = data.draw(st.sampled_from(["overwrite", "cut", "double", "move"]))
        new = {"overwrite": data.draw(st.binary(max_size=20)), "cut": b"", "double": part * 2, "move": b""}[change]
        whole = whole[:start] + new + whole[end:] + (part if change == "move" else b"")
    try:
        report = validate_image(whole)
    except UnreadablePhoto:
        return
    with Image.open(io.BytesIO(report.data)) as image:
        assert image.size[0] * image.size[1] > 0
    assert seen(report.data).shape == (SIDE, SIDE, 3)
