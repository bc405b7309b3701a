"""Pixels for the model from photos of every kind."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scones.data.decode import decode, png
from scones.data.image_header import UnreadablePhoto


def saved(image: Image.Image, form: str = "png", **options: object) -> bytes:
    """The image as a file."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def noise(width: int, height: int) -> Image.Image:
    """An image that no codec finds easy."""
    rng = np.random.default_rng(7)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_photo_of_the_right_size_keeps_its_pixels() -> None:
    """32 x 32 in, the very same 32 x 32 out."""
    image = noise(32, 32)
    assert np.array_equal(decode(saved(image), 32), np.asarray(image))


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif", "bmp"])
@pytest.mark.parametrize("size", [32, 96])
def test_each_format_decodes_to_the_square(form: str, size: int) -> None:
    """Any format and any shape become uint8 [size, size, 3] of the same colour."""
    pixels = decode(saved(Image.new("RGB", (301, 77), (200, 40, 90)), form), size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - (200, 40, 90)).max() < 12


def test_exif_orientation_is_applied() -> None:
    """A photo that a phone stored lying on its side is turned upright."""
    image = Image.new("RGB", (64, 32), "black")
    image.paste("white", (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode(saved(image, "jpeg", exif=exif, quality=95), 32)
    assert pixels[:14].mean() > 240
    assert pixels[18:].mean() < 15


@pytest.mark.parametrize("form", ["png", "webp"])
def test_transparency_is_composited_on_white(form: str) -> None:
    """What is transparent is white, whatever colour hides below."""
    assert decode(saved(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), form), 32).min() == 255


def test_a_transparent_colour_without_an_alpha_channel_is_white() -> None:
    """PNG's tRNS chunk is honoured, for RGB and for palettes."""
    assert decode(saved(Image.new("RGB", (40, 40), (9, 9, 9)), transparency=(9, 9, 9)), 32).min() == 255
    assert decode(saved(Image.new("P", (40, 40), 0), transparency=0), 32).min() == 255


def test_palette_gray_and_bilevel_photos_become_rgb() -> None:
    """Mode P, L, LA and 1 keep what they show."""
    gray = Image.new("L", (40, 40), 100)
    for image in (gray, gray.convert("LA"), gray.quantize(4)):
        assert np.abs(decode(saved(image), 32).astype(int) - 100).max() <= 2
    assert decode(saved(Image.new("1", (40, 40), 1)), 32).min() == 255


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    """Half of 65,535 is a middle gray."""
    image = Image.fromarray(np.full((40, 40), 32_768, dtype=np.uint16))
    assert decode(saved(image), 32).tolist()[0][0] == [128, 128, 128]


def test_cmyk_becomes_rgb() -> None:
    """Print photos, four inks, decode to their colours."""
    image = Image.new("RGB", (40, 40), (200, 40, 90)).convert("CMYK")
    assert np.abs(decode(saved(image, "jpeg", quality=95), 32).astype(int) - (200, 40, 90)).max() < 12


def test_shrinking_is_antialiased() -> None:
    """A fine chequerboard becomes an even gray instead of a pattern."""
    board = np.indices((512, 512)).sum(axis=0) % 2 * 255
    pixels = decode(saved(Image.fromarray(board.astype(np.uint8))), 32)
    assert np.abs(pixels.astype(int) - 127).max() <= 3


def test_a_bomb_is_refused_before_a_decoder_runs() -> None:
    """30,000 x 30,000 pixels in a hundred bytes."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(UnreadablePhoto, match="too large"):
        decode(data, 32)


def test_a_gif_whose_frame_outgrows_its_screen_is_refused() -> None:
    """The screen promises 1 x 1, the frame 60,000 x 60,000."""
    gif = bytearray(saved(Image.new("P", (1, 1)), "gif"))
    frame = gif.index(b"\x2c")
    gif[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(UnreadablePhoto):
        decode(bytes(gif), 32)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif", "bmp"])
def test_a_photo_cut_short_is_refused(form: str) -> None:
    """Half a file is no photo."""
    data = saved(noise(200, 200), form)
    with pytest.raises(UnreadablePhoto, match="damaged or truncated"):
        decode(data[: len(data) // 2], 32)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None)
@given(form=st.sampled_from(["png", "jpeg", "webp", "gif", "bmp"]), data=st.data())
def test_damaged_bytes_decode_or_are_unreadable(form: str, data: st.DataObject) -> None:
    """Whatever is overwritten, the only error is UnreadablePhoto."""
    photo = bytearray(saved(noise(24, 24), form))
    for _ in range(data.draw(st.integers(1, 5))):
        photo[data.draw(st.integers(0, len(photo) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(photo), 32)
    except UnreadablePhoto:
        return
    assert pixels.shape == (32, 32, 3)


def test_png_loses_nothing() -> None:
    """PNG gives back each pixel, of a photo that lies otherwise in memory too."""
    photo = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    assert (decode(png(photo), 20) == photo).all()
    assert (decode(png(photo[::-1]), 20) == photo[::-1]).all()
