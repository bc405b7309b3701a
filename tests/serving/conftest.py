"""Servers of the tiny model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.running import Server, Start, find_port, start_server, stop_server
from tiny_model import write_tiny_model_file


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SageMaker's base folder with the tiny model in it."""
    folder = tmp_path_factory.mktemp("opt-ml")
    write_tiny_model_file(folder / "model")
    return folder


@pytest.fixture
def free_port() -> int:
    """A port that no process listens on."""
    return find_port()


@pytest.fixture
def start(base: Path, tmp_path: Path) -> Iterator[Start]:
    """Start servers of one's own, with further variables; all are stopped after the test."""
    started: list[Server] = []

    def begin(**variables: str) -> Server:
        started.append(start_server(base, tmp_path / f"serve-{len(started)}.log", **variables))
        return started[-1]

    yield begin
    for server in started:
        if server.process.poll() is None:
            stop_server(server)


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Share one server of one worker among a file's tests."""
    log = tmp_path_factory.mktemp("serve") / "serve.log"
    running = start_server(base, log, SCONES_SERVE_LINGER_SECONDS="1")
    yield running
    assert running.process.poll() is None, log.read_text()
    assert stop_server(running) == 0
    assert "Traceback" not in log.read_text()
