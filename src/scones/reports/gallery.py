"""Gallery: choose photos to show, and embed them in the page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PHOTOS = 16
_INLINE_BYTES = 20_000
_INLINE_SIDE_PIXELS = 128
_THUMBNAIL_PIXELS = 160
_PIXELATED_SIDE_PIXELS = 64
_INLINE_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
# One transparent pixel: a photo that cannot be drawn leaves its frame and its words.
_NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo as a data: URI; *pixelated* photos are so small that smoothing would hide the model's input."""

    uri: str
    pixelated: bool


@dataclass(frozen=True, slots=True)
class PhotoCard:
    """One photo, as encoded bytes, with its true class and the prediction for it."""

    photo: bytes
    name: str
    truth: str
    label: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the prediction is the true class."""
        return self.label == self.truth


@dataclass(frozen=True, slots=True)
class Gallery:
    """The most confident right predictions of each class, those below the threshold, and the wrong ones.

    Wrong predictions start with the most confident. *unsure* and *wrong* may overlap; *unsure_hidden* and
    *wrong_hidden* count the photos that are not shown.
    """

    surest: tuple[PhotoCard, ...]
    unsure: tuple[PhotoCard, ...]
    wrong: tuple[PhotoCard, ...]
    unsure_hidden: int
    wrong_hidden: int


def choose_photos(cards: Sequence[PhotoCard], classes: Sequence[str], threshold: float) -> Gallery:
    """Choose at most MAX_PHOTOS photos for each row."""
    each = max(1, MAX_PHOTOS // len(classes))
    sure = sorted((card for card in cards if card.right), key=lambda card: -card.confidence)
    unsure = sorted((a for a in cards if a.confidence < threshold), key=lambda card: card.confidence)
    wrong = sorted((card for card in cards if not card.right), key=lambda card: -card.confidence)
    return Gallery(
        surest=tuple(card for label in classes for card in [a for a in sure if a.label == label][:each]),
        unsure=tuple(unsure[:MAX_PHOTOS]),
        wrong=tuple(wrong[:MAX_PHOTOS]),
        unsure_hidden=max(0, len(unsure) - MAX_PHOTOS),
        wrong_hidden=max(0, len(wrong) - MAX_PHOTOS),
    )


def picture(photo: bytes) -> Picture:
    """Turn an encoded photo into a data: URI; large photos become thumbnails to keep the page small."""
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
