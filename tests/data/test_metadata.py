"""What a photo tells beyond its pixels is dropped."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from scones.data.decode import decode
from scones.data.image_header import UnreadablePhoto, read_header
from scones.data.metadata import without_metadata

SECRET = b"Rue du Secret 7"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + SECRET + b"</x:xmpmeta>"
GPS = 0x8825


def picture(mode: str = "RGB") -> Image.Image:
    """A photo that is not the same in any of its eight orientations."""
    ramp = np.add.outer(np.arange(20) * 3, np.arange(30) * 5).astype(np.uint8)
    return Image.fromarray(np.stack([ramp, ramp // 2, 255 - ramp], axis=-1)).convert(mode)


def exif(orientation: int = 1) -> Image.Exif:
    """EXIF with the place where the photo was taken."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = SECRET.decode()
    tags[GPS] = {1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)}
    return tags


def saved(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """The photo as a file."""
    stream = io.BytesIO()
    (image or picture()).save(stream, form, **options)
    return stream.getvalue()


def telling_png() -> bytes:
    """EXIF, XMP, a text and bytes after the end."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", SECRET.decode(), zip=False)
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return saved("png", exif=exif(), pnginfo=text) + SECRET


def telling_jpeg() -> bytes:
    """EXIF, XMP, a comment, a photographer's segment, and a second picture after the end."""
    data = saved("jpeg", exif=exif(), xmp=XMP, comment=SECRET, icc_profile=SECRET * 20)
    iptc = b"\xff\xed" + (2 + len(SECRET)).to_bytes(2, "big") + SECRET
    return data[:2] + iptc + data[2:] + saved("jpeg", exif=exif())


def previewing_jpeg() -> bytes:
    """A small picture in JFIF's own segment, five pixels of it."""
    data = saved("jpeg")
    assert data[2:11] == b"\xff\xe0\x00\x10JFIF\x00"
    return data[:4] + (16 + 15).to_bytes(2, "big") + data[6:18] + b"\x05\x01" + SECRET + data[20:]


def telling_gif() -> bytes:
    """A comment, and an application's block."""
    block = b"\x21\xff\x0bXMP DataXMP" + bytes([len(SECRET)]) + SECRET + b"\x00"
    data = saved("gif", comment=SECRET)
    return data[:-1] + block + b"\x3b"


TELLING: dict[str, Callable[[], bytes]] = {
    "png": telling_png,
    "jpeg": telling_jpeg,
    "webp": lambda: saved("webp", exif=exif(), xmp=XMP, icc_profile=SECRET * 20),
    "lossless webp": lambda: saved("webp", lossless=True, exif=exif(), xmp=XMP),
    "jpeg with a preview": previewing_jpeg,
    "progressive jpeg": lambda: saved("jpeg", progressive=True, exif=exif(), xmp=XMP),
    "gif": telling_gif,
}


@pytest.mark.parametrize("kind", TELLING)
def test_no_place_and_no_name_remain(kind: str) -> None:
    """Of EXIF, XMP, comments and trailers nothing is left, and no pixel has changed."""
    data = TELLING[kind]()
    assert SECRET in data
    clean = without_metadata(data)
    assert SECRET not in clean
    with Image.open(io.BytesIO(clean)) as image:
        assert dict(image.getexif()) == {}
        assert not {"exif", "xmp", "comment", "icc_profile", "Author"} & set(image.info)
    assert np.array_equal(decode(clean, 24), decode(data, 24))


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif", "bmp"])
def test_a_photo_that_tells_nothing_keeps_its_bytes(form: str) -> None:
    """So the same photos stay the same version."""
    data = without_metadata(saved(form))
    assert without_metadata(data) == data
    if form in {"png", "webp", "bmp"}:
        assert data == saved(form)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixel_survives(mode: str) -> None:
    """Palettes, alpha, sixteen bits and printers' colours stay as they are."""
    image = _deep() if mode == "I;16" else picture(mode)
    form = "jpeg" if mode == "CMYK" else "png"
    for tags in (exif(), exif(8)):
        data = saved(form, image, exif=tags)
        clean = without_metadata(data)
        assert SECRET not in clean
        difference = decode(clean, 24).astype(int) - decode(data, 24)
        assert np.abs(difference).max() <= (6 if form == "jpeg" and tags[0x0112] != 1 else 0)


def _deep() -> Image.Image:
    """A gray photo of sixteen bits."""
    return Image.fromarray((np.asarray(picture("L")).astype(np.uint16) << 8) + 7)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_a_photo_that_lies_on_its_side_is_turned(form: str, orientation: int) -> None:
    """What is stored is upright, says nothing of orientation, and is the same each time."""
    data = saved(form, exif=exif(orientation))
    clean = without_metadata(data)
    assert clean == without_metadata(data)
    assert SECRET not in clean
    with Image.open(io.BytesIO(clean)) as image:
        assert (image.size == (20, 30)) == (orientation >= 5)
        assert dict(image.getexif()) == {}
    assert np.abs(decode(clean, 24).astype(int) - decode(data, 24)).max() <= (0 if form == "png" else 24)


def test_an_animation_still_moves() -> None:
    """Its frames are pixels, not metadata."""
    frames = [picture(), picture().rotate(180)]
    for form in ("gif", "png", "webp"):
        clean = without_metadata(saved(form, frames[0], save_all=True, append_images=frames[1:], duration=100))
        with Image.open(io.BytesIO(clean)) as image:
            assert getattr(image, "n_frames", 1) == 2


def test_a_file_whose_parts_do_not_add_up_is_encoded_again() -> None:
    """Decoders forgive what a careful reader cannot follow."""
    data = telling_gif()[:-1]
    clean = without_metadata(data)
    assert SECRET not in clean
    assert np.array_equal(decode(clean, 24), decode(data, 24))


# Pillow warns of damaged EXIF, and goes on without it.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(TELLING)), data=st.data())
def test_damaged_bytes_are_cleaned_or_unreadable(kind: str, data: st.DataObject) -> None:
    """No damage raises anything unforeseen, and what comes out is a photo by its header."""
    whole = bytearray(TELLING[kind]())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        clean = without_metadata(bytes(whole))
    except UnreadablePhoto:
        return
    read_header(clean)
