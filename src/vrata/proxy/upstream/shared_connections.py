"""The connections of one endpoint's pool that carry several exchanges at once, and the dials that may become such.

A stream is taken from a connection that has room for it, and the one that got room last is filled first, so that the
others can run empty and be closed. While a connection is being dialled, requests join that dial: of a burst that finds
no connection each would else open one of its own, and all but one of them would be of no use a moment later. No more
join than the last connection had room for, nor than one connection may serve by ``maxRequestsPerConnection``; those
whom it has no room for in the end look again as if they had just come, as often as the connection serves others
instead of them.
"""

from __future__ import annotations

from vrata.proxy.upstream.http2_connection import MAX_STREAMS, Http2Connection
from vrata.proxy.upstream.http2_stream import Http2Stream
from vrata.proxy.upstream.waiting import Dial, Waiting

EXPECTED_AT_FIRST = 100
"""Streams that a connection is expected to have room for before any has said so: the least that RFC 9113 §6.5.2
recommends to allow."""


class SharedConnections:
    """See the module's head."""

    def __init__(self) -> None:
        self._offered: list[Http2Connection] = []
        """Those with room."""
        self._dials: dict[Dial, None] = {}
        self._expected = EXPECTED_AT_FIRST
        """Streams that the next connection is expected to have room for; 1 where the last one spoke HTTP/1."""
        self.max_requests = 0
        """Requests over one connection; 0 = any number."""
        self.has_tunnels: bool | None = None
        """Whether the last connection took requests for tunnels (RFC 8441); None while nothing is known."""
        self.beside = 0
        """Exchanges that have a stream beside another one's, or hope for a dial beside another one."""

    def __repr__(self) -> str:
        return f"<SharedConnections {len(self._offered)} with room, {len(self._dials)} being dialled>"

    # -- connections --------------------------------------------------------------------------------------------------

    def find(self, is_tunnel: bool) -> Http2Connection | None:
        """A connection with room, for an upgrade to WebSocket where *is_tunnel*; None when there is none."""
        offered = self._offered
        at = len(offered)
        while at:
            at -= 1
            connection = offered[at]
            if not is_tunnel or connection.has_tunnels:
                return connection
        return None

    def open(self, connection: Http2Connection) -> Http2Stream:
        """A stream of *connection*, which has room."""
        if connection.streams:
            self.beside += 1
        stream = connection.open()
        if not connection.has_room:
            self.withdraw(connection)
        return stream

    def offer(self, connection: Http2Connection) -> None:
        """*connection* may have room."""
        if not connection.is_offered and connection.has_room:
            connection.is_offered = True
            self._offered.append(connection)

    def withdraw(self, connection: Http2Connection) -> None:
        """*connection* has no room."""
        if connection.is_offered:
            connection.is_offered = False
            self._offered.remove(connection)

    def ended(self, connection: Http2Connection) -> None:
        """A stream of *connection* is over."""
        if connection.streams:
            self.beside -= 1

    # -- dials --------------------------------------------------------------------------------------------------------

    def dialling(self, dial: Dial) -> None:
        """*dial* has begun, and others may join it."""
        self._dials[dial] = None

    def room_of(self, dial: Dial) -> int:
        """How many more *dial* is hoped to serve."""
        if dial not in self._dials:
            return 0
        most = self._expected
        if 0 < self.max_requests < most:
            most = self.max_requests
        return most - len(dial.hopeful)

    def join(self, waiting: Waiting) -> bool:
        """Have *waiting* hope for the connection that was dialled last; false when that is not hoped to have room.

        Those that were dialled before it have been full, and a burst is not to search all of them for each request.
        """
        if waiting.is_tunnel and self.has_tunnels is False:
            return False
        dial = next(reversed(self._dials), None)
        if dial is None or self.room_of(dial) <= 0:
            return False
        self.hope(dial, waiting)
        return True

    def hope(self, dial: Dial, waiting: Waiting) -> None:
        """*waiting* hopes for *dial*."""
        if dial.hopeful:
            self.beside += 1
        dial.hopeful[waiting] = None
        waiting.dial = dial

    def leave(self, waiting: Waiting) -> None:
        """*waiting* hopes no more. The dial goes on: what it opens can serve others."""
        dial, waiting.dial = waiting.dial, None
        if dial is not None and waiting in dial.hopeful:
            del dial.hopeful[waiting]
            if dial.hopeful:
                self.beside -= 1

    def dialled(self, dial: Dial) -> list[Waiting]:
        """*dial* is over. Returns those who hoped for it, in their order."""
        self._dials.pop(dial, None)
        hopeful = list(dial.hopeful)
        dial.hopeful.clear()
        for waiting in hopeful:
            waiting.dial = None
        if len(hopeful) > 1:
            self.beside -= len(hopeful) - 1
        return hopeful

    def forget(self) -> None:
        """Connections will be made in another way: nobody joins what is being dialled now, and nothing is known."""
        self._dials.clear()
        self._expected = EXPECTED_AT_FIRST
        self.has_tunnels = None

    def learn(self, connection: Http2Connection | None) -> None:
        """A connection has come about; None: although HTTP/2 was offered, it speaks HTTP/1."""
        if connection is None:
            self._expected = 1
            self.has_tunnels = None
        else:
            self._expected = max(1, min(connection.limit, MAX_STREAMS))
            self.has_tunnels = connection.has_tunnels
