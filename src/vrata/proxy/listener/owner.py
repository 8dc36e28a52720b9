"""What the connections of one listener share: its settings, its handler, and the count of what is going on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from vrata.net.deadlines import DeadlineSweeper
from vrata.proxy.listener.admission import Admission
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.listener.settings import ListenerSettings

MAX_DISMISSED = 64
"""Connections over the listener's bounds that linger at once; any more are closed without it."""


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
        handle: Callable[[DownstreamRequest, bytes, bool], None],
    ) -> None:
        self.loop = loop
        self.sweeper = sweeper
        self.settings = settings
        self.handle = handle
        self.connections: set[OwnedConnection] = set()
        self.emptied = asyncio.Event()
        self.emptied.set()
        self.in_flight = 0
        self.accepted = 0
        """Connections that were not counted yet."""
        self.handshake_failures = 0
        self.admission = Admission(settings.name)
        self.dismissed = 0
        """Connections that were not let in and are not closed yet."""
        self.draining = False
        """Connections that are accepted from now on drain from the start."""

    def opened(self, connection: OwnedConnection, descriptor: int) -> bool:
        """A connection with that *descriptor* was accepted; false when there is no room for it."""
        if not self.admission.admit(descriptor, self.loop.time()):
            self.dismissed += 1
            return False
        self.accepted += 1
        self.connections.add(connection)
        self.emptied.clear()
        return True

    def succeeded(self, connection: OwnedConnection, successor: OwnedConnection) -> None:
        """From now on *successor* stands for what was *connection*: the client goes on in another version of HTTP."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.connections.add(successor)

    def may_linger(self, descriptor: int) -> bool:
        """Whether a connection for which there is no room may take a moment to close, holding *descriptor*."""
        return self.dismissed <= MAX_DISMISSED and self.admission.has_descriptors(descriptor)

    def closed(self, connection: OwnedConnection) -> None:
        """A connection is gone."""
        if connection not in self.connections:
            self.dismissed -= 1
            return
        self.connections.remove(connection)
        self.admission.leave()
        if not self.connections:
            self.emptied.set()

    def handshake_failed(self) -> None:
        """A client and we did not come to terms about TLS."""
        self.handshake_failures += 1

    def request_began(self) -> None:
        """A request's head was read."""
        self.in_flight += 1

    def request_ended(self) -> None:
        """A request was answered or given up."""
        self.in_flight -= 1
