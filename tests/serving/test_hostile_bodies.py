"""Bodies made to keep a worker busy: each costs little, and none delays the answers to others."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

import psutil
import pytest

from hostile_images import FAMILIES, MAX_BYTES, hostile, plain
from serving.running import Server, Start, photo, read_all, request, statuses

MAX_CPU_SECONDS: Final = 2.0
"""Four times the goal of half a second, for machines that are slow or have much else to do."""
DARK = photo(value=10)


def cpu_seconds(server: Server) -> float:
    """What the server's only worker has used."""
    (worker,) = server.workers()
    times = psutil.Process(worker.pid).cpu_times()
    return times.user + times.system


@pytest.mark.parametrize("family", FAMILIES)
def test_no_image_costs_a_worker_much_work(server: Server, family: str) -> None:
    """It is answered or refused, never a failure of the server, and within bounded CPU time."""
    body, before = hostile(family), cpu_seconds(server)
    answer = server.invoke(body)
    assert answer.status in (200, 400, 413), answer.body
    assert cpu_seconds(server) - before < MAX_CPU_SECONDS


def listed(part: bytes, begin: bytes = b"[", end: bytes = b"]") -> bytes:
    """As many values as fit."""
    return begin + (part + b",") * (MAX_BYTES // (len(part) + 1) - 2) + part + end


BODIES: Final[dict[str, Callable[[], bytes]]] = {
    "empty lists": lambda: listed(b"[]"),
    "empty texts": lambda: listed(b'""'),
    "empty lists below an unknown name": lambda: listed(b"[]", b'{"a":[', b"]}"),
    "lists in lists": lambda: b"[" * MAX_BYTES,
    "objects in objects": lambda: b'{"a":' * (MAX_BYTES // 5),
    "lists in lists below an unknown name": lambda: b'{"a":' + b"[" * (MAX_BYTES - 10),
    "a huge number": lambda: b"9" * MAX_BYTES,
    "a long fraction": lambda: b'{"a":0.' + b"9" * (MAX_BYTES - 10) + b"}",
    "a huge exponent": lambda: b'{"a":1e' + b"9" * (MAX_BYTES - 10) + b"}",
    "long numbers": lambda: listed(b"9" * 4000, b'{"a":[', b"]}"),
    "a long name": lambda: b'{"' + b"k" * (MAX_BYTES - 10) + b'":1}',
    "many names": lambda: b"{" + b",".join(b'"%x":0' % number for number in range(500_000)) + b"}",
    "one name, repeated": lambda: listed(b'"photo":""', b"{", b"}"),
    "escaped letters": lambda: b'"' + b"\\u0041" * (MAX_BYTES // 6 - 2) + b'"',
    "escaped pairs": lambda: b'"' + b"\\ud83d\\ude00" * (MAX_BYTES // 12 - 2) + b'"',
    "blanks": lambda: b" " * (MAX_BYTES - 2) + b'""',
    "one text": lambda: b'"' + b"A" * (MAX_BYTES - 4) + b'"',
    "one text in UTF-16": lambda: ('"' + "A" * (MAX_BYTES // 2 - 4) + '"').encode("utf-16"),
    "one text in UTF-32": lambda: ('"' + "A" * (MAX_BYTES // 4 - 4) + '"').encode("utf-32"),
    "a text that is not base64": lambda: b'"' + b"A" * (MAX_BYTES - 4) + b'?"',
    "a text that is not UTF-8": lambda: b'"' + b"\xff" * (MAX_BYTES - 2) + b'"',
    "padding": lambda: b'"' + b"=" * (MAX_BYTES - 2) + b'"',
    "64 images of the most work together": lambda: encoded([plain("WEBP", 350, lossless=True)] * 64),
    "64 images of many scans": lambda: encoded([hostile("thousands of scans of a small JPEG")[:60_000]] * 64),
    "64 images of many parts": lambda: encoded([hostile("empty pixel chunks at the limit")[:70_000]] * 64),
}


def encoded(photos: list[bytes]) -> bytes:
    """A list of photos in JSON."""
    return json.dumps([base64.b64encode(each).decode() for each in photos]).encode()


@pytest.mark.parametrize("body", BODIES)
def test_no_json_costs_a_worker_much_work(server: Server, body: str) -> None:
    """However deep, long or repeated its values are."""
    data, before = BODIES[body](), cpu_seconds(server)
    assert len(data) <= 6 * 1024 * 1024
    assert server.invoke(data, "application/json").status in (200, 400, 413)
    assert cpu_seconds(server) - before < MAX_CPU_SECONDS


@pytest.mark.parametrize(
    ("rest", "count"),
    [
        pytest.param(b"1\r\nx\r\n", 2_000_000, id="chunks of one byte"),
        pytest.param(b"4;" + b"e" * 40 + b"\r\nxxxx\r\n", 200_000, id="chunk extensions"),
        pytest.param(b"0" * 30 + b"1\r\nx\r\n", 300_000, id="chunk sizes with zeros"),
        pytest.param(b"1\r\nx\r\n0\r\n" + b"a:\r\n" * 2_000_000, 1, id="trailers"),
    ],
)
def test_no_framing_costs_a_worker_much_work(server: Server, rest: bytes, count: int) -> None:
    """A body in pieces that are smaller than what announces them is refused before it is whole."""
    before = cpu_seconds(server)
    head = b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connect() as client:
        try:
            client.sendall(head + rest * count)
            received = client.recv(4096)
        except ConnectionError:
            received = b""
    assert received.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400")) or received == b""
    assert cpu_seconds(server) - before < MAX_CPU_SECONDS


@pytest.mark.parametrize("size", [16, 100, 1460, 8192])
def test_chunks_of_a_usual_size_are_accepted(server: Server, size: int) -> None:
    """Streaming clients send a network packet, a buffer or, for small bodies, a few bytes at a time."""
    body = DARK if size == 16 else plain("BMP", 500)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    assert statuses(server.send(b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + framed)) == [200]


def test_slow_images_delay_no_other_answer(start: Start) -> None:
    """While one worker decodes images of the most work, it goes on answering pings and ordinary photos."""
    server = start()
    slow = hostile("RGBA, interlaced and turned")
    large = photo("JPEG", size=(1200, 900))
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(server.invoke, slow) for _ in range(6)]
        answered = 0
        while not all(each.done() for each in waiting):
            assert server.ask("GET", "/ping").status == 200
            assert server.invoke(DARK).status == 200
            assert server.invoke(large).status == 200
            answered += 1
    assert [each.result().status for each in waiting] == [200] * 6
    # If the answers waited for the images, one round would come after each.
    assert answered > 12


def test_slow_images_beyond_some_seconds_of_work_are_refused(start: Start) -> None:
    """Those that cannot be decoded soon get 503 at once, and can be sent again."""
    server = start(SCONES_SERVE_PIXELS="3000000")
    slow = request(plain("WEBP", 1400, lossless=True), "Connection: close")
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(40)]
        for client in clients:
            client.sendall(slow)
        found = Counter(status for client in clients for status in statuses(read_all(client)))
    assert set(found) == {200, 503}
    assert found[200] >= 16
    assert server.invoke(DARK).status == 200
