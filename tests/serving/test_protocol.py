"""A connection parses requests, responds in order, and refuses what is too big, too slow or not HTTP."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.running import PING, Server, Start, photo, read_all, request, start_server, statuses, stop_server
from waiting import eventually

DARK, BRIGHT = photo(value=10), photo(value=250)
CHUNKED = b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def narrow(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with small limits."""
    log = tmp_path_factory.mktemp("narrow") / "serve.log"
    limits = {"BODY_BYTES": "1000", "HEAD_BYTES": "500", "LINGER_SECONDS": "0.5"}
    running = start_server(base, log, **{f"SCONES_SERVE_{name}": value for name, value in limits.items()})
    yield running
    assert stop_server(running) == 0
    assert "Traceback" not in log.read_text()


def post(body: bytes, path: bytes = b"/invocations", extra: bytes = b"") -> bytes:
    """Write a request."""
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path, extra, len(body), body)


def chunks(body: bytes, size: int = 7) -> bytes:
    """Write a body in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def send_on(client: socket.socket, data: bytes) -> None:
    """Send the same again and again, until the server ends it."""
    while True:
        client.sendall(data)
        time.sleep(0.002)


def test_responses_keep_the_order_of_pipelined_requests(narrow: Server) -> None:
    """A ping, which is quick, waits for the photo sent before it."""
    received = narrow.send(post(DARK) + PING + post(BRIGHT))
    assert statuses(received) == [200, 200, 200]
    assert received.index(b"[0.99") < received.index(b"{}") < received.index(b"[0.000")


def test_thousands_of_pipelined_requests_all_get_their_response(narrow: Server) -> None:
    """However many come in one go, none is dropped, and not all of them are in memory at once."""
    before = narrow.peak_bytes()
    with narrow.connect() as client:
        client.sendall(PING * 20_000)
        client.shutdown(socket.SHUT_WR)
        assert statuses(read_all(client)) == [200] * 20_000
    assert narrow.peak_bytes() - before < 16_000_000


def test_chunked_bodies_are_joined(narrow: Server) -> None:
    """Chunks make one body, and trailers are not taken for headers."""
    body = chunks(DARK).removesuffix(b"\r\n") + b"Accept: application/jsonlines\r\n\r\n"
    for parts in ([CHUNKED + b"\r\n" + body], [CHUNKED + b"\r\n", body[:20], body[20:]]):
        received = narrow.send(*parts)
        assert statuses(received) == [200]
        assert b"\r\n\r\n[0.99" in received


def test_a_refused_body_is_not_told_to_continue(narrow: Server) -> None:
    """A request refused by its head gets its refusal at once, and the connection ends."""
    with narrow.connect() as client:
        client.sendall(b"POST /none HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert statuses(read_all(client)) == [404]


@pytest.mark.parametrize("parts", [1, 2])
def test_a_refused_request_leaves_the_connection_usable(narrow: Server, parts: int) -> None:
    """The body of a refused request is dropped, whenever it comes, and the next request gets its response."""
    head, body = post(b"x" * 900, b"/none")[:-900], b"x" * 900
    received = narrow.send(head + body + PING) if parts == 1 else narrow.send(head, body, PING)
    assert statuses(received) == [404, 200]


def test_a_body_over_the_limit_is_refused_by_its_announced_length(narrow: Server) -> None:
    """413 comes before the body does; the connection then lingers, for a while, until the client has read it."""
    with narrow.connect() as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
        time.sleep(0.1)
        client.sendall(b"x" * 1001)
        assert statuses(read_all(client)) == [413]
        assert narrow.connections() == 2
        assert eventually(lambda: narrow.connections() == 1)


def test_a_chunked_body_over_the_limit_is_refused(narrow: Server) -> None:
    """A body of unknown length is refused once it exceeds the limit."""
    pieces = [b"64\r\n" + b"x" * 100 + b"\r\n"] * 11
    assert statuses(narrow.send(CHUNKED + b"\r\n", *pieces)) == [413]
    assert statuses(narrow.send(CHUNKED + b"\r\n" + b"".join(pieces))) == [413]


def test_framing_without_content_is_refused(narrow: Server) -> None:
    """Chunk extensions are no way round the limits."""
    assert statuses(narrow.send(CHUNKED + b"\r\n1;", *[b"x" * 100] * 30)) == [413]


def test_the_body_of_a_refused_request_is_limited_too(narrow: Server) -> None:
    """The response has been sent; what follows without end is not read for ever."""
    with narrow.connect() as client:
        client.sendall(b"POST /none HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            send_on(client, b"64\r\n" + b"x" * 100 + b"\r\n")


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n"])
def test_endless_heads_are_refused(narrow: Server, start: bytes) -> None:
    """A request line, a header or headers without end get 431 and take bounded memory."""
    piece = b"a: b\r\n" * 20 if start.endswith(b"1.1\r\n") else b"a" * 100
    assert statuses(narrow.send(start, *[piece] * 10)) == [431]


def test_bodies_that_arrive_at_once_share_a_limit(start: Start) -> None:
    """Many clients with large unfinished bodies cannot fill the memory; those that end make room."""
    server = start(SCONES_SERVE_BODIES_BYTES="1500")
    head = b"POST /invocations HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(2):
        with server.connect() as first, server.connect() as second:
            first.sendall(head + b"x" * 900)
            time.sleep(0.1)
            second.sendall(head + b"x" * 900)
            assert statuses(read_all(second)) == [503]
            first.sendall(b"x" * 100)
            assert first.recv(1000).startswith(b"HTTP/1.1 400"), "it is no photo"


def test_a_dribbled_body_is_cut(start: Start) -> None:
    """Every further byte does not buy further time."""
    server = start(SCONES_SERVE_BODY_SECONDS="0.5")
    with server.connect() as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
        client.setblocking(False)
        begin = time.monotonic()
        received = b""
        while not received and time.monotonic() - begin < 5:
            client.send(b"x")
            time.sleep(0.1)
            try:
                received = client.recv(1000)
            except BlockingIOError:
                continue
        assert statuses(received) == [408]
        assert b"connection: close" in received


@pytest.mark.parametrize("before", [b"", PING])
def test_an_idle_connection_is_closed_silently(start: Start, before: bytes) -> None:
    """Whether it asked for something before or not."""
    server = start(SCONES_SERVE_IDLE_SECONDS="0.3")
    with server.connect() as client:
        client.sendall(before)
        assert statuses(read_all(client)) == [200] * bool(before)


def test_a_request_under_way_has_no_deadline(start: Start) -> None:
    """While the response is ours to give, the client is not called slow."""
    server = start(**{f"SCONES_SERVE_{name}_SECONDS": "0.1" for name in ("HEAD", "BODY", "IDLE")})
    slow = request(photo("WEBP", size=(3000, 3900), lossless=True), "Connection: close")
    with server.connect() as first, server.connect() as second:
        first.sendall(slow)
        second.sendall(slow)
        assert [statuses(read_all(client)) for client in (first, second)] == [[200], [200]]


def test_every_pending_response_is_sent_before_the_end(narrow: Server) -> None:
    """Several requests of a client that has finished sending all get their responses; only the last one closes."""
    received = narrow.send(post(DARK) * 3)
    assert statuses(received) == [200, 200, 200]
    assert received.count(b"connection: close") <= 1


def test_a_head_cut_short_by_the_client_is_refused(narrow: Server) -> None:
    """Half a head is no request, and those before it have their responses."""
    assert statuses(narrow.send(b"GET /ping HTT")) == [400]
    assert statuses(narrow.send(post(DARK) + b"GET /ping HTT")) == [200, 400]


def test_clients_that_leave_do_no_harm(narrow: Server) -> None:
    """Responses to connections that are gone, or reset, are dropped."""
    for _ in range(20):
        with narrow.connect() as client:
            client.sendall(post(DARK) * 5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: narrow.connections() == 1)


def test_connections_that_are_reset_leave_nothing_in_memory(narrow: Server) -> None:
    """Not even for the time that an idle connection would have been kept."""
    (worker,) = narrow.workers()

    def reset(count: int) -> int:
        for _ in range(count):
            with narrow.connect() as client:
                client.sendall(PING)
                assert client.recv(8) == b"HTTP/1.1"
        return int(worker.memory_info().rss)

    before = reset(300)
    assert reset(600) - before < 2_000_000


def test_a_client_that_does_not_read_is_closed_in_the_end(start: Start) -> None:
    """Responses that pile up end the reading, and then the connection."""
    server = start(SCONES_SERVE_IDLE_SECONDS="1")
    with server.connect() as client:
        client.settimeout(0.5)
        with pytest.raises((TimeoutError, ConnectionError)):
            send_on(client, PING * 1000)
        assert eventually(lambda: server.connections() == 1, seconds=10)


def test_an_upgrade_is_ignored(narrow: Server) -> None:
    """A client that offers HTTP/2 gets its response in HTTP/1.1, and the connection ends."""
    for version in (b"h2c", b"websocket"):
        with narrow.connect() as client:
            client.sendall(b"GET /ping HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % version + PING)
            assert statuses(read_all(client)) == [200]


def test_http_1_0_connections_end_unless_kept(narrow: Server) -> None:
    """The old version closes by default, and names it when the connection stays."""
    with narrow.connect() as client:
        client.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
        assert statuses(read_all(client)) == [200]
    with narrow.connect() as client:
        for _ in range(2):
            client.sendall(b"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"connection: keep-alive" in client.recv(1000)


@pytest.mark.parametrize("good", [PING[:-2], post(DARK, extra=b"Accept: */*\r\n").removesuffix(b"\r\n\r\n" + DARK)])
def test_nothing_follows_the_last_request(narrow: Server, good: bytes) -> None:
    """What comes after `Connection: close` is not even refused, and the response is sent before the end."""
    head = good.removesuffix(b"\r\n") + b"\r\nConnection: close\r\n\r\n"
    last = head + (DARK if good.startswith(b"POST") else b"")
    assert statuses(narrow.send(last + b"nonsense" + PING)) == [200]


def test_head_requests_get_no_body(narrow: Server) -> None:
    """A body after HEAD would be taken for the next response."""
    for path, status in ((b"/none", b"404"), (b"/ping", b"405")):
        received = narrow.send(b"HEAD %b HTTP/1.1\r\n\r\n" % path)
        assert received.startswith(b"HTTP/1.1 " + status)
        assert received.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -5",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: five",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Na me: x",
        b"X: \x00",
    ],
)
def test_ambiguous_requests_are_refused(narrow: Server, head: bytes) -> None:
    """Where two servers could disagree on a body's end, there is none."""
    assert statuses(narrow.send(b"POST /invocations HTTP/1.1\r\n" + head + b"\r\n\r\n0\r\n\r\n")) == [400]


def test_a_body_that_turns_to_nonsense_is_refused(narrow: Server) -> None:
    """Chunks that are none are the client's mistake, after the responses before them."""
    assert statuses(narrow.send(PING + CHUNKED + b"\r\n3\r\nabc\r\n", b"nonsense\r\n")) == [200, 400]


def test_custom_attributes_come_back(narrow: Server) -> None:
    """Also with a refusal."""
    extra = b"X-Amzn-SageMaker-Custom-Attributes: trace=1\r\n"
    for whole, status in (
        (post(DARK, extra=extra), 200),
        (post(b"", b"/none", extra), 404),
        (post(b"x" * 1001, extra=extra), 413),
        (b"POST / HTTP/1.1\r\n" + extra + b"A: b\r\nNa me: x\r\n\r\n", 400),
        (CHUNKED + extra + b"\r\nnonsense", 400),
    ):
        received = narrow.send(whole)
        assert statuses(received) == [status]
        assert b"\r\nx-amzn-sagemaker-custom-attributes: trace=1\r\n" in received


def test_sigterm_finishes_what_is_arriving(start: Start) -> None:
    """A head that has begun to arrive is a request under way; an idle connection is closed."""
    server = start()
    with ExitStack() as stack:
        head, pipelined, idle = (stack.enter_context(server.connect()) for _ in range(3))
        head.sendall(PING[:10])
        pipelined.sendall(post(DARK) * 3 + PING[:10])
        received = b""
        while received.count(b"HTTP/1.1 200") < 3:
            received += pipelined.recv(1000)
        (worker,) = server.workers()
        worker.terminate()
        assert read_all(idle) == b""
        for client in (head, pipelined):
            client.sendall(PING[10:])
            last = read_all(client)
            assert statuses(last) == [200]
            assert b"connection: close" in last


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


@pytest.mark.slow
def test_200_slow_clients_do_not_stop_good_ones(start: Start) -> None:
    """While 200 slow-loris clients drip their headers, every good request is answered; then the slow are cut."""
    server = start(SCONES_SERVE_HEAD_SECONDS="10")
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
    (worker,) = server.workers()
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(31)]
        for client in clients:
            client.sendall(PING)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        # What comes while the worker is stopped is there at once when it goes on.
        worker.suspend()
        for client in clients:
            client.sendall(request(DARK, "Connection: close"))
        worker.resume()
        answers = [read_all(client) for client in clients]
    assert {answer[9:12] for answer in answers} == {b"200", b"503"}
    assert all(b"retry-after: 1" in answer for answer in answers if answer[9:12] == b"503")
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
    assert eventually(lambda: server.ask("GET", "/ping").status == 200)


PIECES = st.sampled_from(
    [
        PING,
        post(b"abc"),
        post(DARK),
        post(b"x" * 1200),
        b"POST / HTTP/1.1\r\n",
        b"POST /invocations HTTP/1.1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 7\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Upgrade: x\r\nConnection: upgrade\r\n",
        b"X-Amzn-SageMaker-Custom-Attributes: a\r\n b\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES | st.binary(max_size=40), max_size=12), st.integers(1, 5))
def test_any_bytes_get_well_formed_responses_or_none(narrow: Server, pieces: list[bytes], count: int) -> None:
    """Whatever comes and however it is cut: no exception, whole responses only, and the connection ends."""
    stream = b"".join(pieces)
    size = len(stream) // count + 1
    with narrow.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(stream), size):
            client.sendall(stream[at : at + size])
            time.sleep(0.001)
        client.shutdown(socket.SHUT_WR)
        statuses(read_all(client))
    assert eventually(lambda: narrow.connections() == 1)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([DARK, BRIGHT, b"", b"none"]), min_size=1, max_size=5), st.integers(1, 5), st.booleans()
)
def test_every_good_request_gets_one_response(narrow: Server, bodies: list[bytes], count: int, chunked: bool) -> None:
    """Pipelined requests, cut anywhere, arrive whole and in order."""
    stream = b"".join(CHUNKED + b"\r\n" + chunks(body) if chunked else post(body) for body in bodies)
    size = len(stream) // count + 1
    received = narrow.send(*[stream[at : at + size] for at in range(0, len(stream), size)], pause_seconds=0.001)
    assert statuses(received) == [200 if body in (DARK, BRIGHT) else 400 for body in bodies]
    found = [part[:3] == b"[0." and part[3:5] == b"99" for part in received.split(b"\r\n\r\n") if part[:1] == b"["]
    assert found == [body == DARK for body in bodies if body in (DARK, BRIGHT)]
