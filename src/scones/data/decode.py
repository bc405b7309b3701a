"""Decode image files to RGB pixels, encode pixels as PNG, and simulate a dirty lens at dusk."""

import io
import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from scones.data.image_header import Header, UnreadablePhoto, check_size, read_header

DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow and its codecs are known to raise on damaged bytes."""


def decode(data: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Decode the photo in *data* to uint8 [size, size, 3], RGB.

    EXIF orientation is applied, alpha is composited on white, of an animation the first frame counts. The photo is
    squashed to a square with antialiasing; one that has the size already keeps its pixels. The header and its limits
    are checked before any decoder runs.

    Raises:
        UnreadablePhoto: not an image, damaged, truncated or too large.
    """
    header = read_header(data)
    try:
        # The header names the one decoder that may run; Pillow has dozens.
        with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
            return _pixels(image, header, size)
    except DAMAGE as error:
        raise UnreadablePhoto(f"is damaged or truncated ({header.format})") from error


def _pixels(image: Image.Image, header: Header, size: int) -> npt.NDArray[np.uint8]:
    # A file's inner parts may promise other sizes than its first bytes (a GIF's frames do).
    check_size(*image.size)
    if header.format == "jpeg":
        # JPEG can decode straight to a half, a quarter or an eighth; twice the size still leaves room to antialias.
        image.draft(None, (2 * size, 2 * size))
    image.load()
    # In place, a photo that is upright already is not copied.
    ImageOps.exif_transpose(image, in_place=True)
    rgb = _rgb(image)
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)
    # Through Pillow's array interface this would take twice as long.
    return np.frombuffer(rgb.tobytes(), np.uint8).reshape(size, size, 3)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # Pillow clips 16-bit gray at 255 when it converts; scaling keeps the picture.
        return Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def png(photo: NDArray[np.uint8]) -> bytes:
    """Encode one photo, uint8 [H, W, 3], without loss."""
    out = io.BytesIO()
    # Quick to write: these are small, and looked at once.
    Image.fromarray(np.ascontiguousarray(photo)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def darken_and_blur(photo: bytes, *, brightness: float = 0.55, blur_share: float = 1 / 32) -> bytes:
    """Darken *photo* to *brightness* of its light and blur it; returns PNG bytes.

    *blur_share* is the radius as a share of the longer side, so that large photos are damaged as much as small ones.

    Raises:
        PIL.UnidentifiedImageError: the bytes are not an image.
    """
    with Image.open(io.BytesIO(photo)) as opened:
        image = opened.convert("RGB")
    image = ImageEnhance.Brightness(image).enhance(brightness)
    image = image.filter(ImageFilter.GaussianBlur(max(image.size) * blur_share))
    return png(np.asarray(image))
