"""A console that serves in a thread, and a client that sends exactly what a test says."""

import http.client
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from scones.cli.render import render
from scones.console.app import Console
from scones.console.server import ConsoleServer
from scones.domain.errors import MissingPrerequisite
from scones.pipeline import Pipeline


def no_environment() -> Pipeline:
    """What connecting raises where nothing was created."""
    raise MissingPrerequisite("up", "nowhere")


@contextmanager
def serving(console: Console, *, read_only: bool = False) -> Iterator[ConsoleServer]:
    """Serve *console* on a free port until the block ends."""
    server = ConsoleServer(console, port=0, read_only=read_only)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.stop()
    thread.join(20)
    assert not thread.is_alive()


def console_of(flow: Pipeline) -> Console:
    """A console of a connected environment."""
    return Console(lambda: flow, render, flow.settings.env)


@dataclass(frozen=True)
class Reply:
    """An answer: its status, headers with names in lower case, and text."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class Visitor:
    """A client of a console with one session; it sends the headers that a browser would, and those of the test."""

    server: ConsoleServer
    cookie: str = ""
    csrf: str = ""
    origin: str = field(init=False)

    def __post_init__(self) -> None:
        """Address the console by its own name."""
        self.origin = f"http://127.0.0.1:{self.server.port}"

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str | None] | None = None
    ) -> Reply:
        """Send one request; a header of None is left out."""
        usual: dict[str, str | None] = {"Cookie": self.cookie or None}
        if method == "POST":
            usual |= {"Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded"}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            given = {name: value for name, value in (usual | dict(headers or {})).items() if value is not None}
            connection.request(method, path, body, given)
            reply = connection.getresponse()
            text = reply.read().decode("utf-8", "replace")
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, text)
        finally:
            connection.close()

    def get(self, path: str, **headers: str | None) -> Reply:
        """Load a page."""
        return self.send("GET", path, headers=headers)

    def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str | None) -> Reply:
        """Send a form with this session's token."""
        return self.send("POST", path, urlencode({"csrf": self.csrf, **(form or {})}).encode(), headers)

    def sign_in(self, url: str = "") -> Reply:
        """Use a one-time link, by default a new one."""
        parts = urlsplit(url or self.server.url)
        reply = self.get(f"{parts.path}?{parts.query}", Cookie=None)
        if "set-cookie" in reply.headers:
            self.cookie = reply.headers["set-cookie"].partition(";")[0]
            found = re.search(r'name="csrf" value="(\w+)"', self.get("/").text + self.get("/courier").text)
            self.csrf = found.group(1) if found else ""
        return reply
