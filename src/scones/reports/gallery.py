"""Gallery: choose the photos worth seeing, and put them into the page itself."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from scones.reports.story import Answer

MOST = 16
_INLINE_BYTES = 20_000
_INLINE_SIDE_PIXELS = 128
_THUMBNAIL_PIXELS = 160
_PIXELATED_SIDE_PIXELS = 64
_INLINE_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
# One transparent pixel: a photo that cannot be drawn leaves its frame and its words.
_NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo as a data: URI; *pixelated* ones are so small that smoothing would hide what the model saw."""

    uri: str
    pixelated: bool


@dataclass(frozen=True, slots=True)
class Gallery:
    """The surest answers of each class, the ones below the threshold, and the wrong ones, surest first.

    *unsure* and *wrong* may overlap; *hidden* counts what was too much to show.
    """

    surest: tuple[Answer, ...]
    unsure: tuple[Answer, ...]
    wrong: tuple[Answer, ...]
    unsure_hidden: int
    wrong_hidden: int


def choose(answers: Sequence[Answer], classes: Sequence[str], threshold: float) -> Gallery:
    """Choose at most MOST photos for each row."""
    each = max(1, MOST // len(classes))
    sure = sorted((answer for answer in answers if answer.right), key=lambda answer: -answer.confidence)
    unsure = sorted((a for a in answers if a.confidence < threshold), key=lambda answer: answer.confidence)
    wrong = sorted((answer for answer in answers if not answer.right), key=lambda answer: -answer.confidence)
    return Gallery(
        surest=tuple(answer for label in classes for answer in [a for a in sure if a.label == label][:each]),
        unsure=tuple(unsure[:MOST]),
        wrong=tuple(wrong[:MOST]),
        unsure_hidden=max(0, len(unsure) - MOST),
        wrong_hidden=max(0, len(wrong) - MOST),
    )


def picture(photo: bytes) -> Picture:
    """Put an encoded photo into a data: URI; large ones become thumbnails, so the page stays small."""
    try:
        with Image.open(io.BytesIO(photo)) as image:
            side = max(image.size)
            if image.format in _INLINE_TYPES and len(photo) <= _INLINE_BYTES and side <= _INLINE_SIDE_PIXELS:
                return Picture(_uri(_INLINE_TYPES[image.format], photo), side <= _PIXELATED_SIDE_PIXELS)
            return Picture(_uri("image/jpeg", _thumbnail(image)), pixelated=False)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError):
        return Picture(_NOTHING, pixelated=False)


def _thumbnail(image: Image.Image) -> bytes:
    # A JPEG decoder can skip detail that a thumbnail would throw away.
    image.draft("RGB", (2 * _THUMBNAIL_PIXELS, 2 * _THUMBNAIL_PIXELS))
    small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    out = io.BytesIO()
    small.save(out, format="JPEG", quality=85)
    return out.getvalue()


def _uri(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode('ascii')}"
