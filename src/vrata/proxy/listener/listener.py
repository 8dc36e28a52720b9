"""One listening address of a worker: accepts, hands settings to its connections, drains."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

import structlog

from vrata.net.deadlines import DeadlineSweeper
from vrata.net.tls_transport import TlsTransport
from vrata.policy.client_address import TrustedProxies
from vrata.policy.shared_numbers import SharedNumber
from vrata.proxy.listener.connection import DownstreamConnection
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.proxy_header_reader import ProxyHeaderReader
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.listener.secure_connection import SecureConnection
from vrata.proxy.listener.settings import ListenerSettings

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""
ACCEPTED_AT_ONCE = 16
"""Connections accepted in one turn of the loop."""

_log = structlog.get_logger("vrata.proxy.listener")


class Listener:
    """Serves one listening socket, which somebody else has bound (the supervisor, for all workers)."""

    def __init__(
        self,
        sock: socket.socket,
        settings: ListenerSettings,
        sweeper: DeadlineSweeper,
        handle: Callable[[DownstreamRequest, bytes, bool], None],
        number: Callable[[str], SharedNumber],
    ) -> None:
        """*number* gives the number of a name that all workers share."""
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._server: asyncio.Server | None = None
        self._owner = ConnectionOwner(self._loop, sweeper, settings, handle)
        self._number = number
        self._limit(settings)

    def __repr__(self) -> str:
        state = "accepting" if self._server is not None else "closed"
        return f"<Listener {self._owner.settings.address} {state}, {self.connections} connections>"

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._owner.connections)

    @property
    def in_flight(self) -> int:
        """Requests being answered."""
        return self._owner.in_flight

    def count(self) -> None:
        """Bring the connections' part of the meters up to date."""
        meters = self._owner.settings.meters
        if meters is not None:
            meters.accepted += self._owner.accepted
            meters.connected = self.connections
            meters.tls_failures += self._owner.handshake_failures
        self._owner.accepted = self._owner.handshake_failures = 0

    def configure(self, settings: ListenerSettings) -> None:
        """New settings, in force from each connection's next request on; TLS, HTTP/2 and the PROXY protocol, from the
        next connection on.

        Connections that came in on other terms of these, or without what is asked for now, end after their request.
        """
        self.count()
        before, self._owner.settings = self._owner.settings, settings
        self._limit(settings)
        if _terms(before) != _terms(settings):
            for connection in list(self._owner.connections):
                connection.drain()

    def _limit(self, settings: ListenerSettings) -> None:
        """Let in as many clients as *settings* say; those that are in may stay."""
        admission = self._owner.admission
        if not settings.max_connections:
            admission.unlimit()
        else:
            admission.limit(settings.max_connections, lambda: self._number(f"clients {settings.address}"))

    async def open(self) -> None:
        """Begin to accept."""
        # The server closes the socket it was given; ours stays open for what is still queued when we stop.
        duplicate = self._socket.dup()
        try:
            # To asyncio's own loop the backlog is also how often it tries to accept at a time, and it goes on trying
            # when it has run out of descriptors.
            backlog = ACCEPTED_AT_ONCE if isinstance(self._loop, asyncio.BaseEventLoop) else BACKLOG
            server = await self._loop.create_server(
                self._connection, sock=duplicate, backlog=backlog, start_serving=False
            )
        except BaseException:
            duplicate.close()
            raise
        try:
            await server.start_serving()
            self._socket.listen(BACKLOG)
        except BaseException:
            server.close()
            raise
        self._server = server

    async def close(self) -> None:
        """Accept what the kernel has queued, then nothing more; open connections begin to drain."""
        server, self._server = self._server, None
        if server is None:
            return
        self._owner.draining = True
        try:
            # asyncio's own loop loses a connection whose server is closed in the turns between its being accepted and
            # made known to us, so first it has to stop accepting; uvloop knows no such reader.
            for sock in server.sockets:
                self._loop.remove_reader(sock.fileno())
            for _ in range(3):
                await asyncio.sleep(0)
            server.close()
            await self._accept_queued()
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            server.close()
            self._socket.close()
            for connection in list(self._owner.connections):
                connection.drain()

    async def drained(self, timeout: float) -> bool:
        """Wait until the last connection has ended, at most *timeout* seconds; then cut the rest.

        True when nothing had to be cut.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._owner.emptied.wait()
        cut = list(self._owner.connections)
        for connection in cut:
            connection.abort()
        self._owner.admission.unlimit()
        if cut:
            _log.warning("drain deadline passed", listener=self._owner.settings.name, connections_cut=len(cut))
        return not cut

    async def _accept_queued(self) -> None:
        """Connections that clients believe to be open but nobody has accepted would be reset by the close."""
        self._socket.setblocking(False)
        while True:
            try:
                client, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("accepting queued connections failed", reason=str(error))
                return
            try:
                await self._loop.connect_accepted_socket(self._connection, client)
            except OSError:
                client.close()

    def _connection(self) -> asyncio.BaseProtocol:
        # Both event loops ask of a protocol that it has the methods, not that it inherits them.
        settings = self._owner.settings
        tls = settings.tls
        connection: DownstreamConnection
        protocol: DownstreamConnection | TlsTransport
        if tls is None:
            connection = protocol = DownstreamConnection(self._owner)
        else:
            connection = SecureConnection(self._owner)
            protocol = TlsTransport(self._loop, tls.context, connection)
        if settings.proxy_protocol is not None:
            return cast(asyncio.BaseProtocol, ProxyHeaderReader(connection, protocol, settings.proxy_protocol))
        return cast(asyncio.BaseProtocol, protocol)


def _terms(settings: ListenerSettings) -> tuple[tuple[str, ...] | None, TrustedProxies | None, bool]:
    return settings.tls.terms if settings.tls is not None else None, settings.proxy_protocol, settings.http2
