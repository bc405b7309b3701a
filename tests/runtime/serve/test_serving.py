"""The running server: SageMaker's contract, every kind of good photo, and every kind of bad input."""

import base64
import io
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.serve.running import Server, Start, photo

DARK, BRIGHT = photo(value=10), photo(value=250)


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes."""
    received = b""
    while data := client.recv(65536):
        received += data
    return received


def request(body: bytes, *extra: str) -> bytes:
    """Write an invocation as it goes over the wire."""
    head = ["POST /invocations HTTP/1.1", "Content-Type: application/x-image", f"Content-Length: {len(body)}", *extra]
    return "\r\n".join([*head, "", ""]).encode() + body


# SageMaker's contract.


def test_ping_is_answered(server: Server) -> None:
    """A loaded and warm model answers 200."""
    assert server.ask("GET", "/ping").status == 200


@pytest.mark.parametrize(
    "kind",
    ["application/x-image", "image/png", "image/jpeg", "image/webp", "application/octet-stream", "IMAGE/PNG; a=b"],
)
def test_a_raw_photo_gets_a_list_of_probabilities(server: Server, kind: str) -> None:
    """As SageMaker's built-in classifier answers: a JSON list in the order of the classes."""
    answer = server.invoke(BRIGHT, kind)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    bicycle, motorcycle = answer.json()
    assert motorcycle > 0.9
    assert bicycle + motorcycle == pytest.approx(1)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_every_format_is_decoded(server: Server, form: str) -> None:
    """The photo's own bytes say what it is; the answers agree."""
    assert server.invoke(photo(form, size=(640, 480), value=10)).json()[0] > 0.9


def test_json_takes_one_photo_or_many(server: Server) -> None:
    """One photo gets one list, many get a list of lists in their order."""
    dark, bright = base64.b64encode(DARK).decode(), base64.b64encode(BRIGHT).decode()
    one = server.invoke(json.dumps({"photo": dark}).encode(), "application/json").json()
    many = server.invoke(json.dumps({"photos": [dark, bright]}).encode(), "application/json; charset=utf-8").json()
    assert many[0] == one
    assert many[0][0] > 0.9
    assert many[1][1] > 0.9
    assert server.invoke(json.dumps([bright]).encode(), "application/json").json() == [many[1]]


def test_json_lines_hold_a_prediction_each(server: Server) -> None:
    """The built-in classifier's batch format, one line a photo."""
    photos = json.dumps({"photos": [base64.b64encode(DARK).decode()] * 2}).encode()
    answer = server.invoke(photos, "application/json", Accept="application/jsonlines")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert answer.headers["Content-Type"] == "application/jsonlines"
    assert [list(line) for line in lines] == [["prediction"], ["prediction"]]


def test_verbose_answers_name_the_label(server: Server) -> None:
    """Label, confidence, probabilities, classes and the model's version."""
    found = server.invoke(BRIGHT, Accept="application/json;verbose=true").json()
    assert (found["label"], found["classes"]) == ("motorcycle", ["bicycle", "motorcycle"])
    assert found["confidence"] == max(found["probabilities"])
    assert len(found["model_version"]) == 12


def test_custom_attributes_are_echoed(server: Server) -> None:
    """SageMaker hands them on only if the container returns them."""
    answer = server.invoke(DARK, X_Amzn_SageMaker_Custom_Attributes="order=17")
    assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == "order=17"
    assert server.invoke(DARK, X_Amzn_SageMaker_Custom_Attributes="x" * 1025).status == 400


def test_metrics_count_the_answers(start: Start) -> None:
    """Prometheus sees photos and answers by status."""
    server = start()
    server.invoke(DARK)
    server.invoke(b"no photo")
    text = server.ask("GET", "/metrics").body.decode()
    assert 'scones_photos_total{worker="0"} 1\n' in text
    assert 'scones_answers_total{worker="0",status="200"} 1\n' in text
    assert 'scones_answers_total{worker="0",status="400"} 1\n' in text


# Requests that are wrong in themselves.


@pytest.mark.parametrize(
    ("method", "path", "kind", "status"),
    [
        ("GET", "/", "", 404),
        ("POST", "/invocations/more", "image/png", 404),
        ("GET", "/invocations", "", 405),
        ("POST", "/ping", "", 405),
        ("DELETE", "/invocations", "", 405),
        ("POST", "/invocations", "text/csv", 415),
        ("POST", "/invocations", "image/tiff", 415),
        ("POST", "/invocations", "multipart/form-data; boundary=x", 415),
    ],
)
def test_wrong_requests_have_their_status(server: Server, method: str, path: str, kind: str, status: int) -> None:
    """Path, method and content type are judged before the body, and the refusal says why in JSON."""
    answer = server.ask(method, path, DARK if method == "POST" else None, Content_Type=kind)
    assert answer.status == status
    assert set(answer.json()) == {"error", "reason"}


def test_the_whole_url_may_be_the_target(server: Server) -> None:
    """Proxies send it so, and queries are ignored."""
    assert server.ask("GET", f"http://127.0.0.1:{server.port}/ping?deep=1").status == 200


# Bodies that are no good photo.


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
    start = time.monotonic()
    answers = [server.invoke(bomb) for _ in range(5)]
    assert [(answer.status, answer.json()["error"]) for answer in answers] == [(413, "photo_too_large")] * 5
    assert time.monotonic() - start < 2
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


# Photos that are unusual and good.


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


# Clients that behave badly.


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """A hundred requests in one go, good and bad, get their answers in the order asked."""
    with server.connect() as client:
        client.sendall((request(DARK) + request(b"bad") + request(BRIGHT)) * 33 + request(DARK, "Connection: close"))
        received = read_all(client)
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 400, 200] * 33 + [200]


def test_dribbled_bytes_are_put_together(server: Server) -> None:
    """A photo that comes byte by byte, but fast enough, is answered."""
    small = photo("WEBP")
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(small, "Connection: close"):
            client.send(bytes([byte]))
        assert read_all(client).startswith(b"HTTP/1.1 200")


def test_a_half_closed_client_is_answered(server: Server) -> None:
    """A client that closes its sending half still gets its answer."""
    with server.connect() as client:
        client.sendall(request(DARK))
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 200")


def test_a_request_cut_short_gets_400(server: Server) -> None:
    """Half a request followed by the end of the stream is answered, not left hanging."""
    with server.connect() as client:
        client.sendall(request(DARK)[:-10])
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 400")


def test_expect_100_continue_is_honoured(server: Server) -> None:
    """The body is asked for, unless the request is refused already."""
    head, body = request(DARK, "Expect: 100-continue", "Connection: close").split(b"\r\n\r\n", 1)
    with server.connect() as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert read_all(client).startswith(b"HTTP/1.1 200")


def test_a_slow_client_gets_408(start: Start) -> None:
    """Headers that do not end in time are cut with a reason; so is a body."""
    server = start(SCONES_SERVE_HEAD_SECONDS="0.2", SCONES_SERVE_BODY_SECONDS="0.2")
    for beginning in (b"POST /invocations HTTP/1.1\r\nX-Slow:", request(DARK)[:-10]):
        with server.connect() as client:
            client.sendall(beginning)
            assert read_all(client).startswith(b"HTTP/1.1 408")


def test_200_slow_clients_do_not_stop_good_ones(start: Start) -> None:
    """While 200 slow-loris clients drip their headers, every good request is answered; then the slow are cut."""
    server = start(SCONES_SERVE_HEAD_SECONDS="2")
    with ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(200)]
        for client in slow:
            client.sendall(b"POST /invocations HTTP/1.1\r\nX-Slow: ")
        for index in range(60):
            slow[index].sendall(b"a")
            assert server.invoke(DARK).status == 200
        assert read_all(slow[-1]).startswith(b"HTTP/1.1 408")


def test_a_client_that_reads_nothing_costs_bounded_memory(server: Server) -> None:
    """Endless pings by a client that never reads stop being read; others are served."""
    before = server.peak_bytes()
    with server.connect() as client:
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.sendall(b"GET /ping HTTP/1.1\r\n\r\n" * 10_000_000)
        assert server.invoke(DARK).status == 200
    assert server.peak_bytes() - before < 32_000_000


def test_a_full_queue_sheds_load(start: Start) -> None:
    """Photos beyond the queue's limit are refused with 503 at once; the others are answered."""
    server = start(SCONES_SERVE_QUEUE="4")
    with server.connect() as client:
        client.sendall(request(DARK) * 30 + request(DARK, "Connection: close"))
        statuses = [int(part[:3]) for part in read_all(client).split(b"HTTP/1.1 ")[1:]]
    assert len(statuses) == 31
    assert set(statuses) == {200, 503}
    assert server.invoke(DARK).status == 200


def test_too_many_connections_are_refused(start: Start) -> None:
    """A connection over the limit hears 503; when others leave there is room again."""
    server = start(SCONES_SERVE_CONNECTIONS="5")
    with ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(server.connect())
            client.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        with server.connect() as late:
            assert late.recv(1000).startswith(b"HTTP/1.1 503")
    time.sleep(0.2)
    assert server.ask("GET", "/ping").status == 200


def test_clients_at_once_all_get_their_own_answer(start: Start) -> None:
    """Photos batched together do not mix: dark ones are bicycles, bright ones motorcycles."""
    server = start(SCONES_SERVE_WORKERS="2")

    def ask(index: int) -> bool:
        probabilities = server.invoke(DARK if index % 2 else BRIGHT).json()
        return bool(probabilities[index % 2 == 0] > 0.9)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(400)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from([BRIGHT, photo("JPEG"), photo("WEBP"), animated("PNG")]), st.data())
def test_damaged_photos_never_break_the_server(server: Server, junk: bytes, good: bytes, data: st.DataObject) -> None:
    """A good photo with a stretch of it overwritten is answered with 200, 400 or 413, and nothing else."""
    at = data.draw(st.integers(0, len(good)))
    answer = server.invoke(good[:at] + junk + good[at + len(junk) :])
    assert answer.status in (200, 400, 413)
