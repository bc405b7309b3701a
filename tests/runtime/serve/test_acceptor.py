"""Connections are spread over the workers, and a lack of descriptors passes."""

import re
import time
from contextlib import ExitStack

import psutil
import pytest

from runtime.serve.running import Server, Start

PING = b"GET /ping HTTP/1.1\r\n\r\n"


def connections(server: Server) -> list[int]:
    """How many connections each worker has, one of them ours."""
    text = server.ask("GET", "/metrics").body.decode()
    return [int(count) for count in re.findall(r'scones_connections{worker="\d+"} (\d+)', text)]


@pytest.mark.parametrize("clients", [2, 8, 40])
def test_every_worker_gets_its_part(start: Start, clients: int) -> None:
    """However few clients keep their connections, no worker takes them all."""
    server = start(SCONES_SERVE_WORKERS="2")
    with ExitStack() as stack:
        for _ in range(clients):
            client = stack.enter_context(server.connect())
            client.sendall(PING)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        counts = connections(server)
    assert sum(counts) == clients + 1
    assert min(counts) >= clients // 4 + 1


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
