"""The beginning of a connection that a balancer has made: whom it speaks for, in a header of the PROXY protocol."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import structlog

from vrata.policy.client_address import TrustedProxies
from vrata.wire.proxy_protocol import MalformedProxyHeader, parse_proxy_header

_log = structlog.get_logger("vrata.proxy.listener")


class SpeaksFor(Protocol):
    """A connection that can be told whose it is."""

    peer: bytes
    """The address of whoever has opened it, in text."""

    def speak_for(self, client: bytes) -> None:
        """From now on it is that of *client*, an IP address in text."""
        ...


class KernelProtocol(Protocol):
    """What the kernel's transport calls: the connection itself, or TLS that carries it."""

    def connection_made(self, made: asyncio.BaseTransport, /) -> None: ...  # noqa: D102
    def data_received(self, data: bytes) -> None: ...  # noqa: D102
    def eof_received(self) -> bool: ...  # noqa: D102
    def pause_writing(self) -> None: ...  # noqa: D102
    def resume_writing(self) -> None: ...  # noqa: D102
    def connection_lost(self, exc: Exception | None) -> None: ...  # noqa: D102


class ProxyHeaderReader:
    """The protocol of the kernel's transport until the header is read; then *protocol* takes its place.

    To *connection*, which *protocol* is or carries, it is as if the client had not sent anything yet: it counts, and
    its limits of time hold, from the moment it was accepted.
    """

    def __init__(self, connection: SpeaksFor, protocol: KernelProtocol, trusted: TrustedProxies) -> None:
        """*trusted* are the peers that may send a header; nobody else is served."""
        self._connection = connection
        self._protocol = protocol
        self._trusted = trusted
        self._transport = cast(asyncio.Transport, None)
        self._received = b""

    def __repr__(self) -> str:
        return f"<ProxyHeaderReader {len(self._received)} bytes, for {self._connection!r}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._protocol.connection_made(transport)
        if not self._trusted.trusts(self._connection.peer.decode("ascii")):
            self._refuse("the peer is not among proxyProtocol.trustedPeers")

    def data_received(self, data: bytes) -> None:
        """The header, or a part of it; perhaps with what follows it."""
        if self._transport.is_closing():
            return
        received = self._received = self._received + data
        try:
            header = parse_proxy_header(received)
        except MalformedProxyHeader as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        if header.source:
            self._connection.speak_for(header.source.encode("ascii"))
        self._received = b""
        self._transport.set_protocol(cast(asyncio.BaseProtocol, self._protocol))
        if len(received) > header.size:
            self._protocol.data_received(received[header.size :])

    def eof_received(self) -> bool:
        """There will be no header, or not all of it."""
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        """The peer does not keep up."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._protocol.connection_lost(exc)

    def _refuse(self, reason: str) -> None:
        """A peer that does not speak the protocol could not read an answer, either."""
        _log.info("PROXY protocol refused", peer=self._connection.peer.decode(), reason=reason)
        self._transport.abort()
