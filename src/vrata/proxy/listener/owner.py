"""What the connections of one listener share: its settings, its handler, and the count of what is going on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from vrata.net.deadlines import DeadlineSweeper
from vrata.proxy.listener.request import Http1Request
from vrata.proxy.listener.settings import ListenerSettings


class OwnedConnection(Protocol):
    """A connection as its listener knows it."""

    def drain(self) -> None:
        """Finish what is being answered, then close."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class ConnectionOwner:
    """Shared by all connections of a listener; :attr:`settings` is replaced on a swap."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sweeper: DeadlineSweeper,
        settings: ListenerSettings,
        handle: Callable[[Http1Request, bytes, bool], None],
    ) -> None:
        self.loop = loop
        self.sweeper = sweeper
        self.settings = settings
        self.handle = handle
        self.connections: set[OwnedConnection] = set()
        self.emptied = asyncio.Event()
        self.emptied.set()
        self.in_flight = 0
        self.draining = False
        """Connections that are accepted from now on drain from the start."""

    def opened(self, connection: OwnedConnection) -> None:
        """A connection was accepted."""
        self.connections.add(connection)
        self.emptied.clear()

    def closed(self, connection: OwnedConnection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self.emptied.set()

    def request_began(self) -> None:
        """A request's head was read."""
        self.in_flight += 1

    def request_ended(self) -> None:
        """A request was answered or given up."""
        self.in_flight -= 1
