"""Clients that behave badly are cut or refused, and never keep the good ones from being served."""

import socket
from contextlib import ExitStack

import pytest

from serving.running import Server, Start, photo, read_all, request
from waiting import eventually

DARK, BRIGHT = photo(value=10), photo(value=250)


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
    assert eventually(lambda: server.ask("GET", "/ping").status == 200)
