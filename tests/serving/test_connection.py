"""A connection parses requests, answers in order, and refuses what is too big, too slow or not HTTP."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scones.serving.connection import Others
from serving.wires import LIMITS, PING, Client, count_answers, post


def test_a_request_may_come_one_byte_at_a_time() -> None:
    """However the bytes are cut, the request is the same."""
    client = Client()
    for byte in post(b"photo", extra=b"Content-Type: image/png\r\nAccept: */*\r\n"):
        client.send(bytes([byte]))
    (request,) = client.app.requests
    assert (request.method, request.path, request.body) == (b"POST", b"/", b"photo")
    assert (request.content_type, request.accept) == (b"image/png", b"*/*")
    assert client.statuses() == [200]
    assert not client.wire.closed


def test_answers_keep_the_order_of_pipelined_requests() -> None:
    """A quick answer waits for the slow one asked for before it."""
    client = Client().send(post(b"slow", b"/later") + post(b"quick") + post(b"late", b"/later"))
    assert client.wire.sent == b""
    client.app.finish(1)
    assert client.wire.sent == b""
    client.app.finish(0)
    assert re.findall(rb"slow|quick|late", client.wire.sent) == [b"slow", b"quick", b"late"]


def test_chunked_bodies_are_joined() -> None:
    """Chunks make one body, and trailers are not taken for headers."""
    chunks = b"3\r\nabc\r\n4;name=value\r\ndefg\r\n2\r\nhi\r\n0\r\nAccept: trailer\r\n\r\n"
    client = Client().send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert client.app.requests[0].body == b"abcdefghi"
    assert client.app.requests[0].accept == b""


def test_a_body_that_waits_is_told_to_continue() -> None:
    """Expect: 100-continue is answered before the body comes."""
    client = Client().send(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert client.statuses() == [100]
    client.send(b"photo")
    assert client.statuses() == [100, 200]


def test_a_refused_body_is_not_told_to_continue() -> None:
    """A request refused by its head gets its refusal at once, and the connection ends."""
    client = Client().send(b"POST /none HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert client.statuses() == [404]
    assert client.wire.ended


def test_a_refused_request_leaves_the_connection_usable() -> None:
    """The body of a refused request is dropped, and the next request is answered."""
    client = Client().send(post(b"x" * 900, b"/none")).send(PING)
    assert client.statuses() == [404, 200]


def test_a_body_over_the_limit_is_refused_by_its_announced_length() -> None:
    """413 comes before the body does; the connection then lingers until the client has read it."""
    client = Client().send(b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
    assert client.statuses() == [413]
    assert client.wire.ended
    client.send(b"x" * 1001)
    assert client.statuses() == [413]
    client.now += LIMITS.linger_seconds + 1
    assert client.connection.deadline < client.now


def test_a_chunked_body_over_the_limit_is_refused() -> None:
    """A body of unknown length is refused once it exceeds the limit."""
    client = Client().send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(11):
        client.send(b"64\r\n" + b"x" * 100 + b"\r\n")
    assert client.statuses() == [413]


def test_framing_without_content_is_refused() -> None:
    """Chunk extensions are no way round the limits."""
    client = Client().send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    for _ in range(30):
        client.send(b"x" * 100)
    assert client.statuses() == [413]


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n"])
def test_endless_heads_are_refused(start: bytes) -> None:
    """A request line, a header or headers without end get 431 and take bounded memory."""
    client = Client().send(start)
    for _ in range(10):
        client.send(b"a: b\r\n" * 20 if start.endswith(b"1.1\r\n") else b"a" * 100)
    assert client.statuses() == [431]


def test_bodies_that_arrive_at_once_share_a_limit() -> None:
    """Many clients with large unfinished bodies cannot fill the memory; those that end make room."""
    others = Others()
    head = b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    first, second = Client(others=others).send(head + b"x" * 900), Client(others=others).send(head + b"x" * 900)
    assert (first.statuses(), second.statuses()) == ([], [503])
    first.send(b"x" * 100)
    assert first.statuses() == [200]
    assert others.body_bytes == 0


def test_one_connection_too_many_is_told_so() -> None:
    """The client over the limit hears 503 instead of waiting for nothing."""
    others = Others()
    clients = [Client(others=others) for _ in range(4)]
    assert [client.statuses() for client in clients] == [[], [], [], [503]]
    clients[0].connection.connection_lost(None)
    clients[3].connection.connection_lost(None)
    assert Client(others=others).statuses() == []


def test_a_slow_head_is_cut() -> None:
    """A request that does not arrive in time gets 408."""
    client = Client().send(b"GET / HTTP/1.1\r\nX:")
    assert client.connection.deadline == LIMITS.head_seconds
    client.connection.expire()
    assert client.statuses() == [408]


def test_a_dribbled_body_is_cut() -> None:
    """Every further byte does not buy further time."""
    client = Client().send(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
    for _ in range(10):
        client.now += 1
        client.send(b"x")
    assert client.connection.deadline == LIMITS.body_seconds


def test_an_idle_connection_is_closed_silently() -> None:
    """Nobody asked anything, so nobody is answered."""
    client = Client().send(PING)
    sent = client.wire.sent
    client.connection.expire()
    assert client.wire.closed
    assert client.wire.sent == sent


def test_a_request_under_way_has_no_deadline() -> None:
    """While the answer is ours to give, the client is not called slow."""
    client = Client().send(post(b"x", b"/later"))
    assert client.connection.deadline == float("inf")


def test_a_half_closed_client_gets_its_answer() -> None:
    """A client that has only finished sending is answered, then closed without lingering."""
    client = Client().send(post(b"x", b"/later"))
    assert client.connection.eof_received()
    assert not client.wire.closed
    client.app.finish(0)
    assert client.statuses() == [200]
    assert client.wire.closed


@pytest.mark.parametrize("end", ["half-close", "drain"])
def test_every_pending_answer_is_sent_before_the_end(end: str) -> None:
    """Several requests under way are all answered; only the last answer closes."""
    client = Client().send(post(b"1", b"/later") + post(b"2", b"/later") + post(b"3", b"/later"))
    if end == "drain":
        client.connection.drain()
    else:
        assert client.connection.eof_received()
    for index in (0, 1, 2):
        assert not client.wire.closed
        client.app.finish(index)
    assert client.statuses() == [200, 200, 200]
    assert client.wire.sent.count(b"Connection: close") == 1
    assert client.wire.closed


def test_a_request_cut_short_by_the_client_is_refused() -> None:
    """Half a body is no photo."""
    client = Client().send(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
    assert not client.connection.eof_received()
    assert client.statuses() == [400]


def test_an_answer_after_the_client_left_is_dropped() -> None:
    """Nothing is written to a connection that is gone."""
    client = Client().send(post(b"x", b"/later"))
    client.wire.closed = True
    client.connection.connection_lost(None)
    client.app.finish(0)
    assert client.wire.sent == b""
    assert not client.others.connections


def test_a_client_that_does_not_read_is_not_listened_to() -> None:
    """Answers that pile up stop the reading, and in the end the connection."""
    client = Client()
    client.connection.pause_writing()
    assert client.wire.paused
    client.connection.resume_writing()
    assert not client.wire.paused
    client.connection.pause_writing()
    client.connection.expire()
    assert client.wire.aborted


def test_an_upgrade_is_ignored() -> None:
    """A client that offers HTTP/2 gets its answer in HTTP/1.1, and the connection ends."""
    client = Client().send(b"GET /ping HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + PING)
    assert client.statuses() == [200]
    assert client.wire.closed


def test_http_1_0_connections_end_unless_kept() -> None:
    """The old version closes by default and is told when the connection stays."""
    client = Client().send(b"GET /ping HTTP/1.0\r\n\r\n")
    assert client.wire.closed
    kept = Client().send(b"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"Connection: keep-alive" in kept.wire.sent
    assert not kept.wire.closed


@pytest.mark.parametrize("path", [b"/", b"/later"])
def test_nothing_follows_the_last_request(path: bytes) -> None:
    """What comes after `Connection: close` is not even refused, and the answer is sent before the end."""
    client = Client().send(post(b"x", path, b"Connection: close\r\n") + b"nonsense" + PING).send(PING)
    for finish in client.app.waiting:
        finish()
    assert client.statuses() == [200]
    assert client.wire.closed


def test_head_requests_get_no_body() -> None:
    """A body after HEAD would be taken for the next answer."""
    client = Client().send(b"HEAD /none HTTP/1.1\r\n\r\n")
    assert client.wire.sent.endswith(b"\r\n\r\n")


def test_draining_closes_idle_connections_and_finishes_busy_ones() -> None:
    """At the end of the server's life no request under way is lost."""
    idle, busy, receiving = Client(), Client().send(post(b"x", b"/later")), Client().send(post(b"abc")[:-1])
    for client in (idle, busy, receiving):
        client.connection.drain()
    assert (idle.wire.closed, busy.wire.closed, receiving.wire.closed) == (True, False, False)
    busy.app.finish(0)
    receiving.send(b"c")
    for client in (busy, receiving):
        assert client.statuses() == [200]
        assert b"Connection: close" in client.wire.sent
        assert client.wire.closed


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
def test_ambiguous_requests_are_refused(head: bytes) -> None:
    """Where two servers could disagree on a body's end, there is none."""
    client = Client().send(b"POST / HTTP/1.1\r\n" + head + b"\r\n\r\n0\r\n\r\n")
    assert client.statuses() == [400]
    assert client.wire.ended


def test_custom_attributes_come_back() -> None:
    """Also with a refusal."""
    for path in (b"/", b"/none"):
        client = Client().send(post(b"", path, b"X-Amzn-SageMaker-Custom-Attributes: trace=1\r\n"))
        assert b"\r\nX-Amzn-SageMaker-Custom-Attributes: trace=1\r\n" in client.wire.sent


PIECES = st.sampled_from(
    [
        PING,
        post(b"abc"),
        post(b"abc", b"/later"),
        post(b"x" * 1200),
        b"POST / HTTP/1.1\r\n",
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


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=40), max_size=12), st.integers(1, 60), st.booleans())
def test_any_bytes_get_well_formed_answers_or_none(pieces: list[bytes], cut: int, leave: bool) -> None:
    """Whatever comes and however it is cut: no exception, whole answers only, and nothing held afterwards."""
    client = Client()
    stream = b"".join(pieces)
    for at in range(0, len(stream), cut):
        client.send(stream[at : at + cut])
    if leave and not client.wire.closed:
        client.connection.eof_received()
    for finish in client.app.waiting:
        finish()
    assert count_answers(client.wire.sent) <= len(client.app.requests) + len(client.app.refusals)
    client.wire.closed = True
    client.connection.connection_lost(None)
    assert client.others.body_bytes == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.integers(1, 80), st.booleans())
def test_every_good_request_is_answered_once(bodies: list[bytes], cut: int, chunked: bool) -> None:
    """Pipelined requests, cut anywhere, arrive whole and in order."""
    client = Client(replace(LIMITS, body_bytes=100_000))
    stream = b"".join(chunk(body) if chunked else post(body) for body in bodies)
    for at in range(0, len(stream), cut):
        client.send(stream[at : at + cut])
    assert [request.body for request in client.app.requests] == bodies
    assert count_answers(client.wire.sent) == len(bodies)
    assert not client.app.refusals


def chunk(body: bytes) -> bytes:
    """Send *body* in chunks of seven bytes."""
    parts = [body[at : at + 7] for at in range(0, len(body), 7)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
