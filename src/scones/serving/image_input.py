"""Image input: the photos in a request's body, checked by their headers and decoded to pixels."""

import base64
import binascii
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from PIL import Image

from scones.data.decode import decode
from scones.data.image_header import Header, TooLarge, UnreadablePhoto, read_header
from scones.model.inference import Pixels
from scones.serving.options import Limits
from scones.serving.responses import JSON, Refusal, media_type

RAW_TYPES: Final = frozenset(
    (b"application/x-image", b"image/png", b"image/jpeg", b"image/webp", b"application/octet-stream", b"")
)
"""Content types whose body is one photo; what kind of photo, its own first bytes say."""


def is_supported(content_type: bytes) -> bool:
    """Tell whether a body of this content type can hold photos."""
    kind = media_type(content_type)
    return kind in RAW_TYPES or kind == JSON


def read_photos(content_type: bytes, body: bytes, size: int, limits: Limits) -> tuple[list[Pixels], bool]:
    """Decode the photos in *body* to uint8 [size, size, 3] each; the flag says that it is a list of them.

    Raises:
        Refusal: no photo, an unreadable one, one that is too large, or too many.
    """
    if not body:
        raise Refusal(400, "empty_body", "the body is empty; send one photo")
    if media_type(content_type) != JSON:
        return _decode([("the photo", body)], size, limits), False
    texts, many = _parse(body)
    if not texts:
        raise Refusal(400, "no_photos", "the list of photos is empty")
    if len(texts) > limits.photos:
        raise Refusal(413, "too_many_photos", f"{len(texts)} photos in one request; the limit is {limits.photos}")
    names = [f"photo {index}" if many else "the photo" for index in range(len(texts))]
    return _decode([(name, _unbase64(text, name)) for name, text in zip(names, texts, strict=True)], size, limits), many


def _decode(blobs: Sequence[tuple[str, bytes]], size: int, limits: Limits) -> list[Pixels]:
    # All are judged by their headers before the first is decoded.
    pixels = 0
    for name, data in blobs:
        with _naming(name):
            header = read_header(data)
            pixels += header.decoding_pixels
            _check_pixels(header, pixels, limits)
    photos = []
    for name, data in blobs:
        with _naming(name):
            photos.append(decode(data, size))
    return photos


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except TooLarge as error:
        raise Refusal(413, "photo_too_large", f"{name} {error.reason}") from error
    except UnreadablePhoto as error:
        raise Refusal(400, "unreadable_photo", f"{name} {error.reason}") from error


def _check_pixels(header: Header, total: int, limits: Limits) -> None:
    # The decoder has a limit too, but one photo at it would hold up everybody else for a second.
    if total > limits.pixels:
        size = f"{header.width:,} x {header.height:,} pixels"
        raise TooLarge(f"is too large ({size}; the limit is {limits.pixels:,} in a request)")


def warm_decoders() -> None:
    """Decode a dot in each format, so that no client waits while a decoder loads."""
    for form in ("PNG", "JPEG", "WEBP"):
        stream = io.BytesIO()
        Image.new("RGB", (1, 1)).save(stream, form)
        decode(stream.getvalue(), 1)


def _parse(body: bytes) -> tuple[Sequence[object], bool]:
    """Find the base64 texts in `"..."`, `["...", ...]`, `{"photo": "..."}` or `{"photos": [...]}`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad_json", "the body is no JSON") from error
    if isinstance(value, dict):
        value = value.get("photos", value.get("photo"))
    if isinstance(value, str):
        return [value], False
    if isinstance(value, list):
        return value, True
    raise Refusal(400, "bad_json", 'the JSON must be {"photo": "<base64>"} or {"photos": ["<base64>", ...]}')


def _unbase64(text: object, name: str) -> bytes:
    if not isinstance(text, str):
        raise Refusal(400, "bad_json", f"{name} is no text in base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, "bad_base64", f"{name} is not in base64") from error
