"""Fleets: the servers behind an endpoint, and which of two fleets answers while traffic shifts between them."""

import threading
from dataclasses import dataclass, field

from scones_local.sagemaker.server import Answer, Server, ServerDown
from scones_local.wire import Json

TRIES = 2
"""A request that brings its server down must not be carried to every other instance."""


@dataclass(slots=True, eq=False)
class Fleet:
    """The servers of one endpoint configuration, and what it says about their traffic."""

    config_name: str
    variant: Json
    capture: Json
    servers: list[Server]

    def request(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Ask the server with the least to do; where it cannot be reached, one other.

        Raises:
            ServerDown: neither can be reached.
        """
        *others, last = sorted(self.servers, key=lambda server: (server.busy, server.asked))[:TRIES]
        for server in others:
            try:
                return server.request(body, headers)
            except ServerDown:
                continue
        return last.request(body, headers)

    @property
    def busy(self) -> int:
        """How many requests are being answered."""
        return sum(server.busy for server in self.servers)

    def close(self) -> None:
        """End every server, all at once; each may finish what it has begun."""
        enders = [threading.Thread(target=server.close) for server in self.servers]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()


@dataclass(slots=True)
class Deployment:
    """What stands behind an endpoint: the blue fleet, and during an update a green one with a share of the traffic."""

    blue: Fleet
    green: Fleet | None = None
    share: float = 0.0
    _asked: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def request(self, body: bytes, headers: dict[str, str]) -> tuple[Fleet, Answer]:
        """Ask the fleet whose turn it is; one that was retired in between passes the request on.

        Raises:
            ServerDown: the fleet cannot be reached.
        """
        fleet = self.choose()
        try:
            return fleet, fleet.request(body, headers)
        except ServerDown:
            if fleet in self.fleets():
                raise
            return self.blue, self.blue.request(body, headers)

    def choose(self) -> Fleet:
        """The fleet whose turn it is: of any run of n requests, green gets n times its share, give or take one."""
        with self._lock:
            self._asked += 1
            turn = int(self._asked * self.share) > int((self._asked - 1) * self.share)
            return self.green if turn and self.green is not None else self.blue

    def fleets(self) -> list[Fleet]:
        """Both, or the one."""
        return [self.blue] if self.green is None else [self.blue, self.green]

    def shift(self, green: Fleet | None, share: float) -> None:
        """Give *green* this share of the traffic."""
        with self._lock:
            self.green, self.share = green, share

    def finish(self) -> Fleet:
        """Make green the fleet in service; returns the old one, which gets no more traffic."""
        with self._lock:
            old = self.blue
            self.blue, self.green, self.share = self.green or old, None, 0.0
            return old
