"""Coverage-guided fuzzing finds no input that breaks the path from the wire to the pixels."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop
from PIL import Image
from uvicorn.server import ServerState

from scones.data.image_header import UnreadablePhoto, read_header
from scones.model.inference import Model
from scones.model.model_file import read_model_file
from scones.serving.app import App
from scones.serving.image_input import read_photos
from scones.serving.metrics import share_counters
from scones.serving.options import Limits
from scones.serving.protocol import LimitedProtocol
from scones.serving.responses import Refusal
from scones.serving.server import configure
from serving.fuzzing import fuzz
from serving.running import photo, request, statuses

SECONDS = 15
PHOTOS = [
    *(photo(form, size=(9, 7)) for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP")),
    photo("WEBP", lossless=True),
    photo("WEBP", "RGBA"),
    photo("JPEG", progressive=True, exif=Image.Exif()),
]


class OneThread:
    """The app behind its protocol, in the fuzzer's own thread, which sees the lines that run."""

    def __init__(self, model: Model) -> None:
        self.app = App(model, share_counters(1), 0, Limits(body_bytes=1000, head_bytes=500))
        self.errors: list[object] = []
        self._config = configure(self.app, workers=1)
        self._config.load()
        self._state = ServerState()
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._runner.get_loop().set_exception_handler(lambda _, context: self.errors.append(context))
        self._inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._runner.run(self._begin())

    def exchange(self, data: bytes) -> None:
        """Send the bytes, cut at every `|`; responses must be whole, and nothing may be held in the end."""
        self._runner.run(asyncio.wait_for(self._exchange(data.split(b"|")), 10))
        assert not self.errors
        assert not self.app.connections
        assert self.app.arriving_bytes == 0

    def close(self) -> None:
        """End the app."""
        self._runner.run(self._end())
        self._runner.close()

    async def _begin(self) -> None:
        started = asyncio.Event()
        self._ended = asyncio.Event()

        async def send(_: object) -> None:
            (self._ended if started.is_set() else started).set()

        await self._inbox.put({"type": "lifespan.startup"})
        self._life = asyncio.create_task(self.app({"type": "lifespan"}, self._inbox.get, send))
        await started.wait()

    async def _end(self) -> None:
        await self._inbox.put({"type": "lifespan.shutdown"})
        await self._ended.wait()

    async def _exchange(self, parts: list[bytes]) -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: LimitedProtocol(self._config, self._state, {}, loop), theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        # The server may have ended the connection already, for which uvloop has an error of its own.
        with suppress(ConnectionError, RuntimeError):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0)
            writer.write_eof()
        received = bytearray()
        with suppress(ConnectionError):
            # A client that goes on after its last request may be reset.
            while data := await reader.read(65536):
                received += data
            statuses(bytes(received))
        writer.close()
        while self.app.connections:
            await asyncio.sleep(0)


@pytest.fixture
def one_thread(base: Path) -> Iterator[OneThread]:
    """The app with the tiny model."""
    app = OneThread(Model(read_model_file(base / "model")))
    yield app
    app.close()


@pytest.mark.slow
def test_no_bytes_break_a_connection(one_thread: OneThread) -> None:
    """Fuzzed HTTP gets well-formed responses or silence."""
    small = photo("WEBP")
    seeds = [
        request(small) + b"|" + request(b"abc") + b"GET /ping HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n|3\r\nabc\r\n0\r\nA: b\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n|3\r\nabc\r\n0\r\n\r\n",
        b"GET /none HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        request(b"x" * 1200, "X-Amzn-SageMaker-Custom-Attributes: a"),
        request(b"x" * 900, "Expect: 100-continue", "Connection: close"),
    ]
    campaign = fuzz(one_thread.exchange, seeds, module="serving/protocol", seconds=SECONDS)
    assert campaign.tried > 1000
    assert campaign.kept > 0


def read(data: bytes) -> None:
    """Read a header; a size within the limits, or the one error, must come."""
    with suppress(UnreadablePhoto):
        header = read_header(data)
        assert header.width * header.height > 0


@pytest.mark.slow
def test_no_bytes_break_the_header_reader() -> None:
    """Fuzzed photos have a header or are unreadable; nothing else is raised."""
    campaign = fuzz(read, PHOTOS, module="data/image_header", seconds=SECONDS)
    assert campaign.tried > 1000
    assert campaign.kept > 0


def decode_all(data: bytes) -> None:
    """Read photos as the server does; pixels or the one error must come."""
    with suppress(Refusal):
        (pixels,), _ = read_photos(b"image/png", data, 8, Limits(pixels=1_000_000))
        assert pixels.shape == (8, 8, 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_bytes_break_the_decoder() -> None:
    """Fuzzed photos are decoded or refused; no other exception comes through from the codecs."""
    assert fuzz(decode_all, PHOTOS, module="PIL/", seconds=SECONDS).tried > 300
