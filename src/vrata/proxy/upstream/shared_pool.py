"""The pool of one endpoint as its connections of HTTP/2 see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vrata.net.deadlines import DeadlineSweeper
    from vrata.proxy.upstream.http2_connection import Http2Connection


class SharedPool(Protocol):
    """What a connection needs of the pool that it belongs to."""

    sweeper: DeadlineSweeper

    @property
    def max_requests(self) -> int:
        """Requests over one connection; 0 = any number."""
        ...

    def stream_ended(self, connection: Http2Connection) -> None:
        """One stream less is open."""
        ...

    def has_room(self, connection: Http2Connection) -> None:
        """The upstream may have allowed more streams."""
        ...

    def withdraw(self, connection: Http2Connection) -> None:
        """The connection takes no further streams."""
        ...

    def lost(self, connection: Http2Connection) -> None:
        """The connection is gone."""
        ...
