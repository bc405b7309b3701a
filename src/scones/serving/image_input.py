"""Image input: the photos in a request's body, checked by their headers and decoded to pixels."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL import Image

from scones.data.decode import decode, decode_parts
from scones.data.image_header import Header, TooLarge, UnreadablePhoto, read_header
from scones.domain.wire import JSON, RAW_TYPES, InvalidRequest, media_type, photo_name, read_request
from scones.model.inference import Pixels
from scones.serving.options import Limits
from scones.serving.responses import Refusal


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
    try:
        photos, many = read_request(content_type, body, limits.photos)
    except InvalidRequest as error:
        raise Refusal(error.status, error.error, error.reason) from error
    return _headers(photos, limits, many=many), many


def _headers(blobs: Sequence[bytes], limits: Limits, *, many: bool) -> list[Header]:
    # All are judged by their headers before the first is decoded.
    headers: list[Header] = []
    pixels = 0
    for index, data in enumerate(blobs):
        with _naming(photo_name(index, many=many)):
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
        with _naming(photo_name(index, many=many)):
            photos.append(decode_parts(header, size))
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
