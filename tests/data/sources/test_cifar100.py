"""Downloads from a real HTTP server, with the accidents that real ones have."""

import fcntl
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scones.data.sources.cifar100 import Archive, DownloadError, download

CONTENT = hashlib.shake_256(b"photos").digest(3_000_000)


@dataclass
class Web:
    """A server's content and its moods."""

    content: bytes = CONTENT
    url: str = ""
    cuts: int = 0
    """So many of the next answers end after a third of what they promise."""
    ranges: bool = True
    status: int = 200
    asked: list[str | None] = field(default_factory=list)
    """The Range header of every request."""


@pytest.fixture
def web() -> Iterator[Web]:
    """A server on 127.0.0.1, on a free port."""
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.asked.append(asked)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if start >= len(state.content):
                self.send_error(416)
                return
            rest = state.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if state.cuts:
                state.cuts -= 1
                rest = rest[: len(rest) // 3]
            self.wfile.write(rest)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/a.tar.gz"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def quiet(_done: int, _total: int, _what: str) -> None:
    """A progress that is not shown."""


def archive(web: Web, content: bytes = CONTENT) -> Archive:
    """What is expected at the server."""
    return Archive(web.url, hashlib.md5(content, usedforsecurity=False).hexdigest(), "a.tar.gz")


def test_a_file_is_downloaded_once(web: Web, tmp_path: Path) -> None:
    """The second time the cache answers, without a request."""
    path = download(archive(web), tmp_path / "new" / "cache", quiet)
    assert path.read_bytes() == CONTENT
    assert download(archive(web), tmp_path / "new" / "cache", quiet) == path
    assert web.asked == [None]
    assert [p.name for p in path.parent.iterdir()] == ["a.tar.gz"]


def test_progress_ends_with_all_of_it(web: Web, tmp_path: Path) -> None:
    """Bytes done and bytes in all, rising."""
    heard: list[tuple[int, int]] = []
    download(archive(web), tmp_path, lambda done, total, _what: heard.append((done, total)))
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert heard == sorted(heard)
    assert len(heard) > 5


def test_a_cut_connection_is_taken_up_where_it_broke(web: Web, tmp_path: Path) -> None:
    """Two cuts in one download: the next requests ask for the rest only."""
    web.cuts = 2
    assert download(archive(web), tmp_path, quiet).read_bytes() == CONTENT
    assert web.asked[0] is None
    assert web.asked[1] == f"bytes={len(CONTENT) // 3}-"
    assert len(web.asked) == 3


def test_an_interrupted_download_is_resumed_the_next_time(web: Web, tmp_path: Path) -> None:
    """What an earlier run left is kept."""
    (tmp_path / "a.tar.gz.part").write_bytes(CONTENT[:1_000_000])
    assert download(archive(web), tmp_path, quiet).read_bytes() == CONTENT
    assert web.asked == ["bytes=1000000-"]


def test_a_server_that_knows_no_ranges_starts_over(web: Web, tmp_path: Path) -> None:
    """The beginning is not written twice."""
    web.ranges = False
    (tmp_path / "a.tar.gz.part").write_bytes(CONTENT[:1_000_000])
    assert download(archive(web), tmp_path, quiet).read_bytes() == CONTENT


def test_a_whole_part_needs_no_more_bytes(web: Web, tmp_path: Path) -> None:
    """Killed between the last byte and the checksum: the server has nothing to add."""
    (tmp_path / "a.tar.gz.part").write_bytes(CONTENT)
    assert download(archive(web), tmp_path, quiet).read_bytes() == CONTENT


def test_cuts_without_end_are_given_up(web: Web, tmp_path: Path) -> None:
    """What came so far stays for the next time."""
    web.cuts = 100
    with pytest.raises(DownloadError, match="cannot be reached: the connection was cut"):
        download(archive(web), tmp_path, quiet)
    assert (tmp_path / "a.tar.gz.part").stat().st_size > len(CONTENT) // 2
    assert not (tmp_path / "a.tar.gz").exists()


def test_a_wrong_checksum_leaves_nothing_behind(web: Web, tmp_path: Path) -> None:
    """Foreign content is deleted and never gets the archive's name."""
    web.content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=r"has the MD5 checksum .* it was deleted: try again"):
        download(archive(web), tmp_path, quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cache_is_downloaded_again(web: Web, tmp_path: Path) -> None:
    """The checksum is verified at each use."""
    (tmp_path / "a.tar.gz").write_bytes(CONTENT[:-1])
    assert download(archive(web), tmp_path, quiet).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_is_told(web: Web, tmp_path: Path, status: int) -> None:
    """The server's own answer is in the message."""
    web.status = status
    with pytest.raises(DownloadError, match=f"answers {status}"):
        download(archive(web), tmp_path, quiet)


def test_an_unreachable_server_is_given_up_quickly(tmp_path: Path) -> None:
    """Nothing listens there, which shows at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"cannot be reached: .*refused"):
        download(Archive(f"http://127.0.0.1:{port}/a", "0" * 32, "a"), tmp_path, quiet)
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_a_silent_server_is_given_up_after_seconds(tmp_path: Path) -> None:
    """It takes the connection and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(DownloadError, match="cannot be reached"):
            download(Archive(f"http://127.0.0.1:{silent.getsockname()[1]}/a", "0" * 32, "a"), tmp_path, quiet)
        assert time.monotonic() - started < 30


def test_a_cache_that_cannot_be_written_is_named(web: Web, tmp_path: Path) -> None:
    """A file lies where the folder should be."""
    (tmp_path / "cache").write_text("")
    with pytest.raises(DownloadError, match=r"cannot be kept in .*cache"):
        download(archive(web), tmp_path / "cache", quiet)


def test_two_downloads_at_once_do_not_mix(web: Web, tmp_path: Path) -> None:
    """The second is told to wait."""
    with (tmp_path / "a.tar.gz.part").open("ab") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="by another process"):
            download(archive(web), tmp_path, quiet)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a", "cifar"])
def test_only_the_web_is_asked(tmp_path: Path, url: str) -> None:
    """A setting cannot make it read files."""
    with pytest.raises(DownloadError, match="is not a URL"):
        download(Archive(url, "0" * 32, "a"), tmp_path, quiet)
