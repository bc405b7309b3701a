"""A worker: one event loop on the shared listening socket, until SIGTERM or the supervisor's death."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial

import uvloop

from scones.model.inference import Model
from scones.serving.acceptor import Acceptor
from scones.serving.application import Application
from scones.serving.batching import Batcher
from scones.serving.connection import Connection, Others
from scones.serving.counters import Counters
from scones.serving.metrics import render
from scones.serving.options import Limits

_SWEEP_SECONDS = 0.25


class Worker:
    """Serves with *model*, and counts in its row of *counters*."""

    def __init__(self, number: int, model: Model, counters: Counters, limits: Limits) -> None:
        self._model = model
        self._row = counters.row(number)
        self._rows = counters.rows()
        self._limits = limits
        self._others = Others(partial(self._row.set, "connections"))

    def run(self, listening: socket.socket, lifeline: int) -> None:
        """Serve until SIGTERM; then requests under way are answered, and it returns.

        *lifeline* is a pipe that the supervisor holds open as long as it lives; all workers share *listening*.
        """
        self._row.set("connections", 0)
        self._model.warm(self._limits.batch)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(listening, lifeline))

    async def _serve(self, listening: socket.socket, lifeline: int) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        # An orphan would hold the port; there is nothing to clean up, so it goes at once.
        loop.add_reader(lifeline, os._exit, 0)
        application = self._application(loop)
        connect = partial(Connection, application, self._limits, self._others, loop.time)
        acceptor = Acceptor(listening, connect, self._is_ahead)
        sweeping = loop.create_task(self._sweep(loop.time))
        await stop.wait()
        acceptor.close()
        await self._drain(loop.time)
        sweeping.cancel()

    def _is_ahead(self) -> bool:
        """Tell whether this worker has more connections than another: any more if few, an eighth more if many."""
        mine = len(self._others.connections)
        return mine - mine // 8 > min(row.get("connections") for row in self._rows)

    def _application(self, loop: asyncio.AbstractEventLoop) -> Application:
        batcher = Batcher(
            self._model.answer, loop.call_soon, self._observe, batch=self._limits.batch, queue=self._limits.queue
        )
        return Application(self._model, batcher, self._row, self._limits, partial(render, self._rows))

    def _observe(self, seconds: float, photos: int) -> None:
        self._row.add("batches")
        self._row.add("photos", photos)
        self._row.add("model_seconds", seconds)

    async def _sweep(self, clock: Callable[[], float]) -> None:
        """Cut clients whose time is up; one timer for all is cheaper than one each."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = clock()
            for connection in [each for each in self._others.connections if each.deadline < now]:
                connection.expire()
            self._row.set("heartbeat", time.monotonic())

    async def _drain(self, clock: Callable[[], float]) -> None:
        for connection in list(self._others.connections):
            connection.drain()
        end = clock() + self._limits.drain_seconds
        while self._others.connections and clock() < end:
            await asyncio.sleep(0.02)
