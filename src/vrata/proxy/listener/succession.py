"""How a connection that has begun with HTTP/1, or with TLS, goes on in HTTP/2."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from vrata.proxy.listener import http2_upgrade
from vrata.proxy.listener.hop import NO_HOP, address_of
from vrata.proxy.listener.http2_connection import Http2Connection
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.time_limits import TimedConnection
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import RequestHead
from vrata.wire.http2.session import PREFACE


class SucceededConnection(TimedConnection):
    """A connection whose place one of HTTP/2 may take."""

    def __init__(self, owner: ConnectionOwner) -> None:
        super().__init__(owner)
        self.hop = NO_HOP
        self._peer_port = 0
        """0 while it is not known."""
        self._speaks_clear = True
        self._buffer = b""
        """What was read of the next request."""

    @property
    def is_http2(self) -> bool:
        """Another one takes its place for that."""
        return False

    def _meet(self, transport: asyncio.Transport) -> None:
        """Learn who the peer of *transport* is."""
        peername: Any = transport.get_extra_info("peername")
        self.peer = address_of(peername[0]) if peername else b"unknown"
        self._peer_port = peername[1] if peername else 0

    def _begins_http2(self, data: bytes) -> bool:
        """Whether *data*, the first of the connection, are those of HTTP/2, or may become so (RFC 9113 §3.3)."""
        if not self._speaks_clear:
            return False  # RFC 9113 §3.2: with TLS it would have been agreed on
        if data.startswith(PREFACE):
            successor = Http2Connection(self._owner, self._transport, self.hop, self._settings)
            self._give_way(successor, self._head_deadline)
            successor.data_received(data)
        elif PREFACE.startswith(data):
            self._buffer = data
            self.deadline = self._head_deadline
        else:
            return False
        return True

    def _upgraded(self, head: RequestHead, text: bytes, now: float) -> bool:
        """Go on in HTTP/2 if *head*, whose *text* it is, asks for that, and answer there.

        Raises :class:`MalformedMessage`.
        """
        if not self._speaks_clear or self.draining or b"h2c" not in text.lower():
            return False
        settings = http2_upgrade.settings_of(head)
        if settings is None:
            return False
        try:
            successor = Http2Connection(self._owner, self._transport, self.hop, self._settings, settings)
        except ValueError:
            raise MalformedMessage(400, "malformed HTTP2-Settings") from None
        self._transport.write(http2_upgrade.SWITCHING)
        self._give_way(successor, now + self._settings.timeouts.client_header)
        successor.serve_upgraded(head)
        return True

    def _give_way(self, successor: Http2Connection, deadline: float) -> None:
        """The connection is *successor*'s from now on; *deadline* is that of its client's settings."""
        self._closed = True
        self._owner.sweeper.forget(self)
        self._owner.succeeded(self, successor)
        self._carry(successor)
        successor.begin(deadline)
        if self.draining:
            successor.drain()

    def _carry(self, successor: Http2Connection) -> None:
        self._transport.set_protocol(cast(asyncio.BaseProtocol, successor))
