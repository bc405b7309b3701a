"""Decode image files to upright RGB pixels, encode pixels as PNG, and simulate a dirty lens at dusk."""

import io
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from scones.data.image_header import Header, UnreadablePhoto, read_header

_TURNS: Final[Mapping[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on damaged bytes; the reason names any other exception.
_DAMAGE: Final = (OSError, SyntaxError, ValueError, EOFError)
UPRIGHT: Final = 1
"""The orientation, in EXIF's numbers from 1 to 8, of a photo that is not turned."""


def decode(data: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Decode the photo in *data* to uint8 [size, size, 3], RGB.

    The orientation is applied, alpha is composited on white, of an animation the first frame counts. The photo is
    squashed to a square with antialiasing; one that has the size already keeps its pixels. The header and its limits
    are checked, and metadata are dropped, before any decoder runs.

    Raises:
        UnreadablePhoto: not an image, damaged, truncated or too large.
    """
    return decode_parts(read_header(data), size)


def decode_parts(header: Header, size: int) -> npt.NDArray[np.uint8]:
    """Decode the photo of which *header* was read; see `decode`."""
    with opened(header) as image:
        if header.format == "jpeg":
            # JPEG can decode straight to a half, a quarter or an eighth; twice the size still leaves room to antialias.
            image.draft(None, (2 * size, 2 * size))
        rgb = _rgb(upright(image, header))
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)
        # Through Pillow's array interface this would take twice as long.
        return np.frombuffer(rgb.tobytes(), np.uint8).reshape(size, size, 3)


@contextmanager
def opened(header: Header) -> Iterator[Image.Image]:
    """Open a photo's first frame; any exception, of the decoder or of the block, says that it is unreadable."""
    try:
        # The header names the one decoder that may run; Pillow has dozens.
        with Image.open(io.BytesIO(header.first_frame), formats=(header.format,)) as image:
            _require_size(image, header)
            yield image
    except UnreadablePhoto:
        raise
    except Exception as error:
        kind = "" if isinstance(error, _DAMAGE) else f", {type(error).__name__}"
        raise UnreadablePhoto(f"is damaged or truncated ({header.format}{kind})") from error


def _require_size(image: Image.Image, header: Header) -> None:
    # What was allowed for the size that was read must not be spent on another one.
    if image.size != (header.width, header.height):
        raise UnreadablePhoto(f"states two sizes ({header.format})")


def upright(image: Image.Image, header: Header) -> Image.Image:
    """The *image*, turned as its metadata say."""
    turn = _TURNS.get(orientation(header))
    image.load()
    return image if turn is None else image.transpose(turn)


def orientation(header: Header) -> int:
    """The orientation from 1 to 8 by EXIF, or by XMP if EXIF has none; 1 if neither can be read.

    Only this tag is read: other tags may hold anything.
    """
    if not header.exif and not header.xmp:
        return UPRIGHT
    try:
        found = _exif_orientation(header.exif)
    except (struct.error, IndexError):
        found = None
    if found is None and (match := _XMP_ORIENTATION.search(header.xmp)):
        found = int(match[1])
    return UPRIGHT if found is None or found not in _TURNS else found


def _exif_orientation(exif: bytes) -> int | None:
    if found := _EXIF_PREFIX.match(exif):
        exif = exif[found.end() :]
    order = _BYTE_ORDERS.get(exif[:2])
    if order is None:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    (entries,) = struct.unpack_from(f"{order}H", exif, start)
    entry = struct.Struct(f"{order}HHI4s")
    for number in range(entries):
        tag, kind, _, value = entry.unpack_from(exif, start + 2 + entry.size * number)
        if tag == _ORIENTATION and kind in _EXIF_WHOLE:
            return int(struct.unpack_from(f"{order}{_EXIF_WHOLE[kind]}", value)[0])
        if tag == _ORIENTATION and kind in _EXIF_RATIONAL:
            above, below = struct.unpack_from(f"{order}II", exif, struct.unpack(f"{order}I", value)[0])
            return int(above // below) if below and above % below == 0 else None
    return None


_EXIF_PREFIX: Final = re.compile(rb"(?:Exif\0\0)*")
_ORIENTATION: Final = 0x0112
_BYTE_ORDERS: Final = {b"II": "<", b"MM": ">"}
# The TIFF types of whole numbers, and of fractions: cameras write SHORT, but not all software does.
_EXIF_WHOLE: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_EXIF_RATIONAL: Final = {5, 10}
_XMP_ORIENTATION: Final = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])\s*(?:<|[\"'])")


def resize(photos: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale photos, uint8 [N, H, W, 3], to [N, size, size, 3], as `decode` does."""
    if not len(photos) or photos.shape[1:3] == (size, size):
        return photos
    scaled = (Image.fromarray(photo).resize((size, size), Image.Resampling.BICUBIC) for photo in photos)
    return np.stack([np.asarray(photo) for photo in scaled])


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # Pillow clips 16-bit gray at 255 when it converts; scaling keeps the picture.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
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
        UnreadablePhoto: the bytes are not an image.
    """
    with opened(read_header(photo)) as whole:
        image = whole.convert("RGB")
    image = ImageEnhance.Brightness(image).enhance(brightness)
    image = image.filter(ImageFilter.GaussianBlur(max(image.size) * blur_share))
    return png(np.asarray(image))
