"""Every kind of body that is no good photo has its status; unusual photos are answered."""

import base64
import io
import json
import socket
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from serving.running import Server, photo

DARK, BRIGHT = photo(value=10), photo(value=250)


def png(width: int, height: int, *, data: bytes = b"", colour: int = 2, bits: int = 8, interlace: int = 0) -> bytes:
    """Write a PNG by hand, of any size that fits its header."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


NOISE = np.random.default_rng(0).bytes(5000)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "empty_body"),
        (NOISE, "unreadable_photo"),
        (b"<html>no photo</html>", "unreadable_photo"),
        (BRIGHT[:20], "unreadable_photo"),
        (BRIGHT[:-30], "unreadable_photo"),
        (photo("JPEG", size=(300, 300))[:400], "unreadable_photo"),
        (photo("WEBP", size=(300, 300))[:40], "unreadable_photo"),
        (b"\x89PNG\r\n\x1a\n" + NOISE, "unreadable_photo"),
        (b"\xff\xd8\xff" + NOISE, "unreadable_photo"),
        (png(0, 10), "unreadable_photo"),
        (png(32, 32, data=NOISE), "unreadable_photo"),
        (png(32, 32, data=zlib.compress(bytes(40))), "unreadable_photo"),
    ],
)
def test_bodies_that_are_no_photo_get_400(server: Server, body: bytes, error: str) -> None:
    """Empty, garbage, truncated and damaged bodies are the client's mistake, and it is told."""
    answer = server.invoke(body)
    assert (answer.status, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"{", 400, "bad_json"),
        (b"\xff\xfe", 400, "bad_json"),
        (b"[" * 100_000, 400, "bad_json"),
        (b"17", 400, "bad_json"),
        (b'{"image": "x"}', 400, "bad_json"),
        (b'{"photos": [7]}', 400, "bad_json"),
        (b'{"photos": []}', 400, "no_photos"),
        (b'{"photo": "?"}', 400, "bad_base64"),
        (b'{"photo": "caf\xc3\xa9"}', 400, "bad_base64"),
        (b'{"photo": ""}', 400, "unreadable_photo"),
        (b'{"photo": "AAAA"}', 400, "unreadable_photo"),
        (json.dumps(["AAAA"] * 65).encode(), 413, "too_many_photos"),
    ],
)
def test_bad_json_has_its_status(server: Server, body: bytes, status: int, error: str) -> None:
    """JSON that holds no photo, or too many, is refused with the reason."""
    answer = server.invoke(body, "application/json")
    assert (answer.status, answer.json()["error"]) == (status, error)


def test_a_bad_photo_among_good_ones_is_named(server: Server) -> None:
    """The whole request is refused, and the reason counts from 0."""
    photos = [base64.b64encode(body).decode() for body in (DARK, NOISE)]
    answer = server.invoke(json.dumps(photos).encode(), "application/json")
    assert answer.status == 400
    assert "photo 1 " in answer.json()["reason"]


def test_a_body_of_20_mb_gets_413(server: Server) -> None:
    """Its announced length is enough; what the client still sends is dropped, and it can read the answer."""
    answer = server.invoke(bytes(20_000_000))
    assert (answer.status, answer.json()["error"]) == (413, "body_too_large")


def test_a_chunked_body_of_20_mb_gets_413(server: Server) -> None:
    """A body of unknown length is cut at the limit."""
    pieces: Iterator[bytes] = iter([bytes(1_000_000)] * 20)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("side", [13_000, pytest.param(30_000, marks=pytest.mark.slow)])
def test_png_bombs_get_413_with_memory_flat(server: Server, side: int) -> None:
    """A tiny file that promises a huge photo is refused by its header, before any decoder runs."""
    rows = zlib.compressobj(1)
    empty = bytes(1 + side)
    bomb = png(side, side, colour=0, data=b"".join(rows.compress(empty) for _ in range(side)) + rows.flush())
    assert len(bomb) < 6_000_000
    before = server.peak_bytes()
    answers = [server.invoke(bomb) for _ in range(5)]
    assert [(answer.status, answer.json()["error"]) for answer in answers] == [(413, "photo_too_large")] * 5
    assert server.peak_bytes() - before < 16_000_000


def test_many_large_photos_in_one_request_get_413(server: Server) -> None:
    """The limit on pixels is for a request's photos together."""
    photos = [base64.b64encode(photo(size=(3000, 3000))).decode()] * 2
    answer = server.invoke(json.dumps(photos).encode(), "application/json")
    assert (answer.status, answer.json()["error"]) == (413, "photo_too_large")
    assert "photo 1 " in answer.json()["reason"]


def test_a_large_jpeg_is_cheaper_than_a_large_png(server: Server) -> None:
    """A phone's 24 megapixels are answered as JPEG, which decodes at a reduced scale, and refused as PNG."""
    before = server.peak_bytes()
    assert server.invoke(photo("JPEG", size=(6000, 4000))).status == 200
    assert server.peak_bytes() - before < 32_000_000
    assert server.invoke(photo("PNG", size=(6000, 4000))).status == 413


def sixteen_bits() -> bytes:
    """Encode a gray photo of 16 bits a pixel."""
    stream = io.BytesIO()
    Image.fromarray(np.full((32, 32), 60 * 256, np.uint16)).save(stream, "PNG")
    return stream.getvalue()


def animated(form: str) -> bytes:
    """Encode three frames, the first of them dark."""
    frames = [Image.new("RGB", (32, 32), (value,) * 3) for value in (10, 128, 250)]
    stream = io.BytesIO()
    frames[0].save(stream, form, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def interlaced() -> bytes:
    """Encode an interlaced PNG, which Pillow cannot write: seven passes over 8 x 8 gray pixels."""
    passes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))
    rows = b"".join((b"\0" + bytes([10] * width)) * height for width, height in passes)
    return png(8, 8, colour=0, interlace=1, data=zlib.compress(rows))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(photo("JPEG", "CMYK", value=10), id="cmyk"),
        pytest.param(photo("PNG", "P", value=10), id="palette"),
        pytest.param(photo("PNG", "L", value=10), id="gray"),
        pytest.param(photo("PNG", "1", value=10), id="black and white"),
        pytest.param(photo("PNG", "RGBA", value=10), id="alpha"),
        pytest.param(sixteen_bits(), id="16 bits"),
        pytest.param(animated("PNG"), id="animated png"),
        pytest.param(animated("WEBP"), id="animated webp"),
        pytest.param(interlaced(), id="interlaced png"),
        pytest.param(photo("JPEG", progressive=True, size=(100, 60), value=10), id="progressive jpeg"),
        pytest.param(photo(size=(1, 5000), value=10), id="a line"),
    ],
)
def test_unusual_photos_are_answered(server: Server, body: bytes) -> None:
    """All of these are dark photos, whatever their encoding; of an animation the first frame counts."""
    answer = server.invoke(body)
    assert answer.status == 200, answer.body
    assert answer.json()[0] > 0.9


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from([BRIGHT, photo("JPEG"), photo("WEBP"), animated("PNG")]), st.data())
def test_damaged_photos_never_break_the_server(server: Server, junk: bytes, good: bytes, data: st.DataObject) -> None:
    """A good photo with a stretch of it overwritten is answered with 200, 400 or 413, and nothing else."""
    at = data.draw(st.integers(0, len(good)))
    answer = server.invoke(good[:at] + junk + good[at + len(junk) :])
    assert answer.status in (200, 400, 413)
