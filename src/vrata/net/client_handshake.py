"""The client's side of a TLS handshake: from a connected socket to a protocol that speaks over it in the clear."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from vrata.net.deadlines import NEVER
from vrata.net.tls_material import reason_of
from vrata.net.tls_transport import SecuredProtocol, TlsTransport
from vrata.net.upstream_tls import TlsSessions, UpstreamTls

ProtocolT = TypeVar("ProtocolT")


class HandshakeFailed(Exception):  # noqa: N818 - named after what it reports
    """There is no connection that could be trusted; the text is OpenSSL's reason, for the log."""


async def shake_hands(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    factory: Callable[[str], ProtocolT],
    tls: UpstreamTls,
    sessions: TlsSessions | None,
    timeout: float,
) -> ProtocolT:
    """Shake hands on *sock* within *timeout* seconds, and return the protocol that *factory* made of what ALPN gave.

    It has to be a :class:`~vrata.net.tls_transport.SecuredProtocol`. A session of *sessions* is resumed, and what the
    server offers for the next time goes there. Raises :class:`HandshakeFailed`. *sock* is closed when this fails.
    """
    handshake = _Handshake(loop, factory, tls)
    try:
        transport = TlsTransport(loop, tls.context, handshake, server_name=tls.server_name, sessions=sessions)
        await loop.create_connection(lambda: cast(asyncio.BaseProtocol, transport), sock=sock)
    except (OSError, ValueError) as error:  # ValueError: no server can have that name
        sock.close()
        raise HandshakeFailed(reason_of(error)) from None
    except BaseException:
        sock.close()
        raise
    try:
        async with asyncio.timeout(None if timeout == NEVER else timeout):
            return await handshake.outcome
    except HandshakeFailed:
        transport.close()  # the server is told why
        raise
    except TimeoutError:
        transport.abort()
        raise HandshakeFailed(f"not completed within {timeout} s") from None
    except BaseException:
        transport.abort()
        raise


class _Handshake(Generic[ProtocolT]):
    """What the transport carries until the server is known."""

    def __init__(self, loop: asyncio.AbstractEventLoop, factory: Callable[[str], ProtocolT], tls: UpstreamTls) -> None:
        self._factory = factory
        self._tls = tls
        self._transport = cast(TlsTransport, None)
        self.outcome: asyncio.Future[ProtocolT] = loop.create_future()

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        self._transport = cast(TlsTransport, made)

    def handshake_completed(self, session: ssl.SSLObject) -> None:
        reason = self._tls.refusal(session)
        if reason:
            self._fail(reason)
        if self.outcome.done():
            # Of the handshake's last words nothing is sent yet, so the server sees that it did not come about.
            self._transport.abort()
            return
        protocol = self._factory(session.selected_alpn_protocol() or "")
        self._transport.carry(cast(SecuredProtocol, protocol))
        cast(SecuredProtocol, protocol).connection_made(cast(asyncio.BaseTransport, self._transport))
        self.outcome.set_result(protocol)

    def handshake_failed(self, reason: str, plain_http: bool) -> bytes:
        self._fail(reason)
        return b""

    def data_received(self, data: bytes) -> None:
        raise AssertionError("content before the end of the handshake")

    def eof_received(self) -> bool:
        return False

    def input_cut(self, reason: str) -> None:
        raise AssertionError("cut before the end of the handshake")

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(reason_of(exc) if exc is not None else "closed by the upstream")

    def _fail(self, reason: str) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(HandshakeFailed(reason))
