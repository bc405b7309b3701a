"""The console as a server on this machine: its address, its one-time link, and how it ends."""

import socket

import anyio.to_thread
import uvicorn
from starlette.routing import Route

from scones.console import actions, decision_pages, pages, review_pages
from scones.console.app import Console, create_app
from scones.console.security import SIGN_IN, ConsoleError, Guard, Role

HOST = "127.0.0.1"
PORT = 8765
_LISTENING = 128
_MAX_CONNECTIONS, _THREADS = 200, 8
_END_SECONDS = 2


class _Server(uvicorn.Server):
    """Ends the streams of running jobs before it waits for its connections to end."""

    console: Console

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start answering, with few threads: each keeps memory of its own."""
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop answering."""
        self.console.jobs.stopping.set()
        await super().shutdown(sockets)


class ConsoleServer:
    """A console that listens; `serve` answers until `stop`, or Ctrl-C."""

    def __init__(self, console: Console, *, host: str = HOST, port: int | None = None, read_only: bool = False) -> None:
        """Listen on *port*, by default on 8765, or if that is taken on any free one.

        Raises:
            ConsoleError: the port that was asked for is taken, or this machine has no such address.
        """
        self._socket = _listen(host, port)
        self.host, self.port = host, self._socket.getsockname()[1]
        self.console = console
        shown = f"[{host}]" if ":" in host else host
        names = {f"{name}:{self.port}" for name in (shown, *(("localhost",) if host == HOST else ()))}
        guard = Guard(
            create_app(console, all_routes()),
            console.sessions,
            names,
            f"scones-console-{self.port}",
            read_only=read_only,
        )
        config = uvicorn.Config(
            guard,
            http="h11",
            loop="asyncio",
            lifespan="off",
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_END_SECONDS,
        )
        self._server = _Server(config)
        self._server.console = self.console

    @property
    def url(self) -> str:
        """A new address that opens the console once."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}{SIGN_IN}?token={self.console.sessions.new_link(Role.OPERATOR)}"

    def serve(self) -> None:
        """Answer requests until Ctrl-C or `stop`; the streams of running jobs end, too."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Stop answering, from another thread."""
        self._server.should_exit = True


def all_routes() -> list[Route]:
    """The routes of all pages and actions."""
    return [*pages.routes(), *decision_pages.routes(), *review_pages.routes(), *actions.routes()]


def _listen(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in (port,) if port is not None else (PORT, 0):
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, candidate))
            opened.listen(_LISTENING)
        except OSError as error:
            opened.close()
            if port is None and candidate:
                continue
            raise ConsoleError(_why_not(host, candidate, error)) from error
        return opened
    raise ConsoleError(f"no port of {host} is free")


def _why_not(host: str, port: int, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"cannot listen on {host}, port {port}: {reason}; choose another with --port, or leave it out for a free one"
