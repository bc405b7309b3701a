"""Workers share the connections, are replaced when they die or hang, and none is left behind."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from http.client import BadStatusLine

import psutil
import pytest

from serving.running import PING, Server, Start, photo, stop_server
from waiting import eventually

DARK = photo(value=10)


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a fact, or fail."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def is_gone(worker: psutil.Process) -> bool:
    """Tell whether a process has ended, whoever may still have to collect it."""
    return not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def workers_of(server: Server) -> set[int]:
    """The workers' process ids."""
    return {worker.pid for worker in server.workers()}


def test_a_killed_worker_is_replaced_under_load(start: Start) -> None:
    """kill -9 loses at most the requests that the worker held; all others are answered, and a new worker comes."""
    server = start(SCONES_SERVE_WORKERS="2")
    before = workers_of(server)
    clients = 8

    def ask(index: int) -> int:
        if index == 100:
            os.kill(min(before), signal.SIGKILL)
        try:
            return server.invoke(DARK).status
        except (ConnectionError, BadStatusLine):
            return 0

    with ThreadPoolExecutor(clients) as pool:
        statuses = list(pool.map(ask, range(600)))
    assert statuses.count(200) >= 600 - clients
    assert set(statuses) <= {200, 0}
    # A worker that is not one of the first two: the killed one is listed as well until it is collected.
    wait_until(lambda: bool(workers_of(server) - before))
    wait_until(lambda: "code=-9" in server.log.read_text())


def test_counters_outlive_a_worker(start: Start) -> None:
    """The sum over workers never falls, so Prometheus sees no reset."""
    server = start()
    for _ in range(5):
        server.invoke(DARK)
    (worker,) = server.workers()
    worker.kill()
    assert server.invoke(DARK).status == 200
    assert 'scones_photos_total{worker="0"} 6\n' in server.ask("GET", "/metrics").body.decode()


def test_no_worker_outlives_a_killed_supervisor(start: Start) -> None:
    """Even kill -9 of the supervisor leaves no process and no listener."""
    server = start(SCONES_SERVE_WORKERS="2")
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    wait_until(lambda: all(is_gone(worker) for worker in workers) and refuses(server), seconds=1)


def refuses(server: Server) -> bool:
    """Tell whether no process listens any more."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_sigterm_answers_what_is_under_way_and_accepts_no_more(start: Start) -> None:
    """A request that was arriving is finished; new connections are refused; the exit status is 0."""
    server = start(SCONES_SERVE_WORKERS="2")
    head = b"POST /invocations HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(DARK)
    with server.connect() as client, server.connect() as idle:
        client.sendall(head + DARK[:10])
        idle.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGTERM)
        assert idle.recv(1000) == b""
        wait_until(lambda: refuses(server))
        client.sendall(DARK[10:])
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert server.process.wait(timeout=60) == 0


def test_sigterm_does_not_wait_for_ever(start: Start) -> None:
    """A request that does not end within the time to drain is given up."""
    server = start(SCONES_SERVE_DRAIN_SECONDS="0.3")
    with server.connect() as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        time.sleep(0.1)
        begin = time.monotonic()
        assert stop_server(server) == 0
        assert time.monotonic() - begin < 7, "eight seconds are the default"


def test_a_worker_that_hangs_is_replaced(start: Start) -> None:
    """A stopped process shows no sign of life, so a new one takes its place."""
    server = start(SCONES_SERVE_HANG_SECONDS="1")
    (worker,) = server.workers()
    worker.suspend()
    wait_until(lambda: is_gone(worker))
    assert server.invoke(DARK).status == 200
    wait_until(lambda: "hangs" in server.log.read_text())


def test_workers_that_keep_dying_end_the_server(start: Start) -> None:
    """When every new worker dies at once the server gives up with a clear line, so that its host can see it."""
    server = start()
    while server.process.poll() is None:
        for worker in server.workers():
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        time.sleep(0.01)
    assert server.process.returncode == 1
    assert "5 workers in a row died" in server.log.read_text()


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

    def serves() -> bool:
        try:
            return server.ask("GET", "/ping").status == 200
        except ConnectionError:
            return False

    assert eventually(serves)
    assert worker in server.workers()
