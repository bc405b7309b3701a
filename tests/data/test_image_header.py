"""What the first bytes of a photo tell, and how cheaply bad ones are refused."""

import io
import struct
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scones.data.image_header import MAX_PIXELS, MAX_SIDE_PIXELS, UnreadablePhoto, read_header


def encoded(form: str, width: int, height: int, **options: object) -> bytes:
    """A plain image as a file."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(stream, form, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that ends after its header."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("png", {}),
        ("jpeg", {}),
        ("jpeg", {"progressive": True}),
        ("jpeg", {"exif": b"Exif\0\0" + bytes(5000)}),
        ("webp", {}),
        ("webp", {"lossless": True}),
        ("webp", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
        ("gif", {}),
        ("bmp", {}),
    ],
)
def test_each_format_tells_its_size(form: str, options: dict[str, object]) -> None:
    """Format, content type and size are read from what Pillow writes."""
    header = read_header(encoded(form, 37, 21, **options))
    assert (header.format, header.content_type, header.width, header.height) == (form, f"image/{form}", 37, 21)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif", "bmp"])
def test_a_photo_cut_within_its_header_is_refused(form: str) -> None:
    """However short the rest is, the answer is UnreadablePhoto or the true size, never another error."""
    data = encoded(form, 37, 21)
    for length in range(min(len(data), 700)):
        try:
            header = read_header(data[:length])
        except UnreadablePhoto:
            continue
        assert (header.width, header.height) == (37, 21)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (MAX_SIDE_PIXELS + 1, 1), (8_001, 8_000), (0, 5)])
def test_a_size_outside_the_limits_is_refused_from_the_header_alone(width: int, height: int) -> None:
    """A bomb needs no pixels to be refused."""
    with pytest.raises(UnreadablePhoto, match=r"too large|no pixels"):
        read_header(png_header(width, height))


def test_a_large_phone_photo_is_within_the_limits() -> None:
    """50 million pixels, as phones make them, are accepted."""
    assert MAX_PIXELS > 8160 * 6144
    assert read_header(png_header(MAX_SIDE_PIXELS, 1)).width == MAX_SIDE_PIXELS
    assert read_header(png_header(8160, 6144)).width == 8160


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg/>", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", bytes(100)])
def test_what_is_no_photo_is_named_so(data: bytes) -> None:
    """Text, documents and sounds are refused with a reason that can be shown."""
    with pytest.raises(UnreadablePhoto) as caught:
        read_header(data)
    assert caught.value.reason == ("is not a PNG, JPEG, WebP, GIF or BMP image" if data else "is empty")


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif", "bmp"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (300, 1), (1, 300)])
def test_a_photo_of_a_single_row_or_column_has_a_size(form: str, width: int, height: int) -> None:
    """It is small, but a photo; sizes beyond 255 take two bytes."""
    header = read_header(encoded(form, width, height))
    assert (header.width, header.height) == (width, height)


def test_a_bmp_of_os_2_and_one_from_top_to_bottom_have_a_size() -> None:
    """The one has a shorter header, the other a negative height."""
    short = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 37, 21, 1, 24)
    tall = b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 37, -21, 1, 24) + bytes(24)
    for data in (short, tall):
        header = read_header(data + bytes(64))
        assert (header.format, header.width, header.height) == ("bmp", 37, 21)


@given(
    magic=st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF0000WEBP", b"GIF89a", b"BM", b""]),
    rest=st.binary(max_size=200),
)
def test_any_bytes_give_a_header_or_unreadable_photo(magic: bytes, rest: bytes) -> None:
    """No input ends in another error, and no accepted size is over the limits."""
    try:
        header = read_header(magic + rest)
    except UnreadablePhoto:
        return
    assert 0 < header.width * header.height <= MAX_PIXELS


def test_the_module_needs_only_the_standard_library() -> None:
    """Lambdas can import it: neither Pillow nor NumPy is loaded."""
    code = "import sys, scones.data.image_header; print(bool({'PIL', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
