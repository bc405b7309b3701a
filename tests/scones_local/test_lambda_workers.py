"""The Runtime API as a worker may speak it: whole, in pieces, chunked, and cut off."""

import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scones_local.lambda_workers import RuntimeApi, WorkerGone, WorkerRequest, WorkerSilent, event_reply

PATH = "/2018-06-01/runtime/invocation/1/response"


@pytest.fixture(scope="module")
def api() -> Iterator[RuntimeApi]:
    """A Runtime API without a call yet."""
    made = RuntimeApi()
    yield made
    made.close()


def worker(api: RuntimeApi) -> socket.socket:
    """A connection to *api*, as a worker makes it."""
    host, port = api.address.split(":")
    return socket.create_connection((host, int(port)))


def received(api: RuntimeApi) -> WorkerRequest:
    """The next request, waited for."""
    while (posted := api.receive(time.time() + 30)) is None:
        pass
    return posted


@settings(deadline=None, max_examples=60)
@given(body=st.binary(max_size=300), cuts=st.lists(st.integers(1, 200), max_size=4), chunk=st.integers(0, 60))
def test_a_body_arrives_whole_however_it_is_sent(api: RuntimeApi, body: bytes, cuts: list[int], chunk: int) -> None:
    """A length, or chunks of any size (0 means a length), and any pieces on the wire give the same body."""
    if chunk:
        parts = [body[i : i + chunk] for i in range(0, len(body), chunk)]
        sent = (
            b"Transfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts)
            + b"0\r\n\r\n"
        )
    else:
        sent = b"Content-Length: %d\r\n\r\n" % len(body) + body
    sent = f"POST {PATH} HTTP/1.1\r\nHost: {api.address}\r\n".encode() + sent
    with worker(api) as connection:
        begin = 0
        for cut in sorted({min(c, len(sent) - 1) for c in cuts}):
            connection.sendall(sent[begin:cut])
            api.receive(time.time() + 30)
            begin = cut
        connection.sendall(sent[begin:])
        posted = received(api)
    with pytest.raises(WorkerGone):
        received(api)
    assert (posted.kind, posted.body) == ("response", body)


def test_a_silent_worker_is_noticed(api: RuntimeApi) -> None:
    """Past the deadline nothing is waited for."""
    with pytest.raises(WorkerSilent):
        api.receive(time.time() - 1)


def test_an_event_carries_what_the_runtime_needs() -> None:
    """The reply to `next` names the request, the deadline in milliseconds and the function."""
    head, _, body = event_reply("r-1", b"{}", 1.5, "arn:f").partition(b"\r\n\r\n")
    assert body == b"{}"
    assert b"Lambda-Runtime-Aws-Request-Id: r-1" in head
    assert b"Lambda-Runtime-Deadline-Ms: 1500" in head
    assert b"Lambda-Runtime-Invoked-Function-Arn: arn:f" in head
