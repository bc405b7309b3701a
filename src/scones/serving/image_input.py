"""Image input: the photos in a request's body, checked by their headers and decoded to pixels."""

import base64
import binascii
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
from PIL import Image

from scones.data.decode import decode, decode_parts
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
    headers, many = read_headers(content_type, body, limits)
    return decode_photos(headers, size, many=many), many


def read_headers(content_type: bytes, body: bytes, limits: Limits) -> tuple[list[Header], bool]:
    """Read the headers of the photos in *body*, which all are within the limits; see `read_photos`."""
    if not body:
        raise Refusal(400, "empty_body", "the body is empty; send one photo")
    if media_type(content_type) != JSON:
        return _headers([body], limits, many=False), False
    texts, many = _parse(body)
    if not texts:
        raise Refusal(400, "no_photos", "the list of photos is empty")
    if len(texts) > limits.photos:
        raise Refusal(413, "too_many_photos", f"{len(texts)} photos in one request; the limit is {limits.photos}")
    blobs = [_unbase64(text, _name(index, many=many)) for index, text in enumerate(texts)]
    return _headers(blobs, limits, many=many), many


def _headers(blobs: Sequence[bytes], limits: Limits, *, many: bool) -> list[Header]:
    # All are judged by their headers before the first is decoded.
    headers: list[Header] = []
    pixels = 0
    for index, data in enumerate(blobs):
        with _naming(_name(index, many=many)):
            header = read_header(data)
            pixels += header.decoding_pixels
            _check_pixels(header, pixels, limits)
        headers.append(header)
    return headers


def decode_photos(headers: Sequence[Header], size: int, *, many: bool) -> list[Pixels]:
    """Decode the photos of which the headers were read to uint8 [size, size, 3] each.

    Raises:
        Refusal: one of them is unreadable.
    """
    photos = []
    for index, header in enumerate(headers):
        with _naming(_name(index, many=many)):
            photos.append(decode_parts(header, size))
    return photos


def _name(index: int, *, many: bool) -> str:
    return f"photo {index}" if many else "the photo"


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except TooLarge as error:
        raise Refusal(413, "photo_too_large", f"{name} {error.reason}") from error
    except UnreadablePhoto as error:
        raise Refusal(400, "unreadable_photo", f"{name} {error.reason}") from error


def _check_pixels(header: Header, total: int, limits: Limits) -> None:
    # The decoder has a limit too, but one photo at it would take seconds of a core.
    if total > limits.pixels:
        size = f"{header.width:,} x {header.height:,} pixels, {header.decoding_pixels:,} to decode"
        raise TooLarge(f"is too large ({size}; the limit is {limits.pixels:,} in a request)")


def warm_decoders() -> None:
    """Decode a dot in each format, so that no client waits while a decoder loads."""
    for form in ("PNG", "JPEG", "WEBP"):
        stream = io.BytesIO()
        Image.new("RGB", (1, 1)).save(stream, form)
        decode(stream.getvalue(), 1)


class _Photos(msgspec.Struct):
    photo: msgspec.Raw = msgspec.Raw(b"null")
    photos: msgspec.Raw = msgspec.Raw()


_Texts = str | list[str]
_BODY: Final = msgspec.json.Decoder(_Texts | _Photos)
_TEXTS: Final = msgspec.json.Decoder(_Texts)


def _parse(body: bytes) -> tuple[Sequence[str], bool]:
    """Find the base64 texts in `"..."`, `["...", ...]`, `{"photo": "..."}` or `{"photos": [...]}`.

    Anything else ends the parsing where it begins: values of other types are never built.
    """
    try:
        encoding = json.detect_encoding(body)
        value = _BODY.decode(body if encoding == "utf-8" else body.decode(encoding))
        if isinstance(value, _Photos):
            value = _TEXTS.decode(value.photos if bytes(value.photos) else value.photo)
    except msgspec.ValidationError as error:
        wanted = '{"photo": "<base64>"} or {"photos": ["<base64>", ...]}'
        raise Refusal(400, "bad_json", f"the JSON must be {wanted} ({error})") from error
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad_json", "the body is no JSON") from error
    return (value, True) if isinstance(value, list) else ([value], False)


def _unbase64(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, "bad_base64", f"{name} is not in base64") from error
