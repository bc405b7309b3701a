"""Coverage-guided fuzzing finds no input that breaks the path from the wire to the pixels."""

from contextlib import suppress

import pytest
from PIL import Image

from scones.data.image_header import UnreadablePhoto, read_header
from scones.serving.image_input import BadPhotos, read_photos
from scones.serving.options import Limits
from serving.fuzzing import fuzz
from serving.running import photo
from serving.wires import Client, count_answers, post

SECONDS = 15
PHOTOS = [
    *(photo(form, size=(9, 7)) for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP")),
    photo("WEBP", lossless=True),
    photo("WEBP", "RGBA"),
    photo("JPEG", progressive=True, exif=Image.Exif()),
]


def hand_over(data: bytes) -> None:
    """Give the bytes to a connection, cut at every `|`; answers must be whole, and nothing may be held in the end."""
    client = Client()
    for part in data.split(b"|"):
        client.send(part)
    for finish in client.app.waiting:
        finish()
    count_answers(client.wire.sent)
    client.connection.connection_lost(None)
    assert client.others.body_bytes == 0


@pytest.mark.slow
def test_no_bytes_break_a_connection() -> None:
    """Fuzzed HTTP gets well-formed answers or silence."""
    seeds = [
        post(b"abc") + b"|" + post(b"abc", b"/later"),
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n|3\r\nabc\r\n0\r\nA: b\r\n\r\n",
        b"GET /none HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        post(b"x" * 1200, extra=b"X-Amzn-SageMaker-Custom-Attributes: a\r\n"),
    ]
    assert fuzz(hand_over, seeds, module="serving/connection", seconds=SECONDS).tried > 1000


def look(data: bytes) -> None:
    """Read a header; a size within the limits, or the one error, must come."""
    with suppress(UnreadablePhoto):
        header = read_header(data)
        assert header.width * header.height > 0


@pytest.mark.slow
def test_no_bytes_break_the_header_reader() -> None:
    """Fuzzed photos have a header or are unreadable; nothing else is raised."""
    campaign = fuzz(look, PHOTOS, module="photos/header", seconds=SECONDS)
    assert campaign.tried > 1000
    assert campaign.kept > 0


def decode_all(data: bytes) -> None:
    """Read photos as the server does; pixels or the one error must come."""
    with suppress(BadPhotos):
        (pixels,), _ = read_photos(b"image/png", data, 8, Limits(pixels=1_000_000))
        assert pixels.shape == (8, 8, 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_bytes_break_the_decoder() -> None:
    """Fuzzed photos are decoded or refused; no other exception comes through from the codecs."""
    assert fuzz(decode_all, PHOTOS, module="PIL/", seconds=SECONDS).tried > 300
