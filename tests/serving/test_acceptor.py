"""Connections are spread over the workers, and a lack of descriptors passes."""

import re
import time
from contextlib import ExitStack
from functools import partial

import psutil
import pytest

from serving.running import Server, Start
from waiting import eventually

PING = b"GET /ping HTTP/1.1\r\n\r\n"


def connections(server: Server) -> list[int]:
    """How many connections each worker has, one of them ours."""
    text = server.ask("GET", "/metrics").body.decode()
    return [int(count) for count in re.findall(r'scones_connections{worker="\d+"} (\d+)', text)]


def shares(server: Server, clients: int) -> list[int]:
    """How so many clients that keep their connections, and one that asks, are spread over the workers."""
    with ExitStack() as stack:
        for _ in range(clients):
            client = stack.enter_context(server.connect())
            client.sendall(PING)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        return connections(server)


def test_every_worker_gets_its_part(start: Start) -> None:
    """However few clients keep their connections, no worker takes them all.

    One that the machine gives no time to cannot take its part, and those of the round before leave when they may: so it
    is asked until it holds. Without turns one worker would take all for ever.
    """
    server = start(SCONES_SERVE_WORKERS="2")

    def is_spread(clients: int) -> bool:
        counts = shares(server, clients)
        return sum(counts) == clients + 1 and min(counts) >= clients // 4 + 1

    assert all(eventually(partial(is_spread, clients)) for clients in (2, 8, 40))


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="limits of another process need Linux")
def test_out_of_descriptors_is_no_end(start: Start) -> None:
    """A worker that can open no more neither dies nor spins, and serves on when clients have left."""
    server = start()
    (worker,) = server.workers()
    worker.rlimit(psutil.RLIMIT_NOFILE, (40, 40))
    with ExitStack() as stack:
        for _ in range(80):
            stack.enter_context(server.connect()).sendall(PING)
        time.sleep(0.5)
        busy = sum(worker.cpu_times()[:2])
        time.sleep(0.5)
        assert sum(worker.cpu_times()[:2]) - busy < 0.2
    assert server.ask("GET", "/ping").status == 200
    assert worker in server.workers()
