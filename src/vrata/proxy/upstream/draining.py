"""Connections of HTTP/2 that are to make room for others although they are in use, those of one pool.

As many as their pool owes take no further streams and end with those they have, first those whose oldest stream is the
youngest; but the last one that takes streams does so only if all that it has began less than :data:`LASTING` ago, and
takes them again when they have not ended after as long, for they will last.

That does nobody harm: the upstream is told of nothing, so what is not owed any more serves on as before.
"""

from __future__ import annotations

from typing import Final

from vrata.proxy.upstream.http2_connection import Http2Connection

LASTING: Final = 1.0
"""Seconds after which a stream is expected to last, and its connection not to end soon."""
OVERDUE: Final = 5.0
"""Seconds after which one that drains is not counted on any more, so that another one follows."""


class Draining:
    """See the module's head. Times are seconds of the loop's clock."""

    def __init__(self) -> None:
        self._since: dict[Http2Connection, float] = {}

    def __repr__(self) -> str:
        return f"<Draining {len(self._since)}>"

    def __len__(self) -> int:
        return len(self._since)

    def counted_on(self, now: float) -> int:
        """How many are expected to end soon."""
        return sum(1 for since in self._since.values() if now - since < OVERDUE)

    def forget(self, connection: Http2Connection) -> None:
        """*connection* has ended its streams."""
        if self._since.pop(connection, None) is not None:
            connection.is_draining = False

    def settle(self, owed: int, connections: list[Http2Connection], now: float) -> None:
        """Have as many of *connections*, which are all of the pool's, drain as are *owed*; one more at each call."""
        counted_on = self.counted_on(now)
        if counted_on < owed:
            self._begin(connections, now)
        while self._since and (owed <= 0 or counted_on > owed):
            self._take_back()
            counted_on -= 1
        if self._since and not any(each.takes_streams for each in connections):
            latest = next(reversed(self._since))
            if now - self._since[latest] >= LASTING:
                self._take_back()

    def _begin(self, connections: list[Http2Connection], now: float) -> None:
        serving = [each for each in connections if each.takes_streams]
        busy = [each for each in reversed(serving) if each.streams]
        if not busy:
            return
        youngest = max(busy, key=_oldest_stream)  # uvloop's clock ticks in milliseconds: of equals the last made
        if len(serving) > 1 or now - youngest.oldest_stream < LASTING:
            self._since[youngest] = now
            youngest.drain()

    def _take_back(self) -> None:
        """Have the one that drains since the shortest time serve on."""
        connection, _ = self._since.popitem()
        connection.serve_on()


def _oldest_stream(connection: Http2Connection) -> float:
    return connection.oldest_stream
