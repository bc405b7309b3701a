"""Accepting connections from a socket that the workers share, so that each gets its part."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

# Long enough for an idle worker to come first, short enough for no client to notice.
_STEP_BACK_SECONDS: Final = 0.001
_OUT_OF_DESCRIPTORS_SECONDS: Final = 0.1


class Acceptor:
    """Accepts one connection a tick; a worker that has more than another lets that one come first.

    Left to themselves, idle workers are woken in always the same order, and the first would take every connection;
    a client that keeps a few connections for ever, as SageMaker does, would then use one core.
    """

    def __init__(
        self, listening: socket.socket, connect: Callable[[], asyncio.Protocol], is_ahead: Callable[[], bool]
    ) -> None:
        self._listening = listening
        self._connect = connect
        self._is_ahead = is_ahead
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _listen(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._on_client)

    def _on_client(self) -> None:
        if self._is_ahead():
            self._pause(_STEP_BACK_SECONDS, self._take_and_listen)
        else:
            self._take()

    def _take_and_listen(self) -> None:
        if self._listening.fileno() >= 0:
            self._listen()
            self._take()

    def _take(self) -> None:
        try:
            client, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            # Another worker was faster, or the client has left.
            return
        except OSError:
            # Out of descriptors; the socket stays readable, and asking again at once would only burn time.
            self._pause(_OUT_OF_DESCRIPTORS_SECONDS, self._listen)
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._hand_over(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listening)
        self._loop.call_later(seconds, then)

    async def _hand_over(self, client: socket.socket) -> None:
        with suppress(OSError):
            await self._loop.connect_accepted_socket(self._connect, client)
