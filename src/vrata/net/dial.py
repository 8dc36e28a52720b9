"""Connections to endpoints: both address families, TLS, limits of time, one error type."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from enum import Enum, unique
from typing import TypeVar, cast

import aiohappyeyeballs

from vrata.net.client_handshake import HandshakeFailed, shake_hands
from vrata.net.deadlines import NEVER
from vrata.net.resolver import NameNotResolved, ResolvesNames
from vrata.net.upstream_tls import TlsSessions, UpstreamTls

ProtocolT = TypeVar("ProtocolT")


@unique
class DialStage(Enum):
    """Where a dial failed."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    TLS_HANDSHAKE = "TLS handshake"


class DialError(Exception):
    """No connection came about; ``stage`` says where it ended, the text carries the system's words for the log."""

    def __init__(self, stage: DialStage, detail: str) -> None:
        super().__init__(detail)
        self.stage = stage


async def dial(
    host: str,
    port: int,
    factory: Callable[[str], ProtocolT],
    *,
    resolver: ResolvesNames,
    connect_timeout: float,
    fallback_delay: float,
    tls: UpstreamTls | None = None,
    sessions: TlsSessions | None = None,
    handshake_timeout: float = NEVER,
) -> ProtocolT:
    """Connect to *host*:*port* and return the protocol that *factory* made of what was agreed on by ALPN.

    That is empty where nothing was: without TLS, or because the server does not know ALPN or what was offered.

    *resolver* is asked unless *host* is an address. *connect_timeout* (seconds, infinite for none) covers resolution
    and all addresses tried; *fallback_delay* is the head start of each address before the next one, of the other family
    where there is one, is tried beside it (RFC 8305 §5).

    With *tls*, what *factory* makes has to be a :class:`~vrata.net.tls_transport.SecuredProtocol`, and is made after a
    handshake that takes at most *handshake_timeout* seconds and resumes a session of *sessions*, which are those of the
    same endpoint and the same *tls*.

    Raises :class:`DialError`.
    """
    loop = asyncio.get_running_loop()
    stage = DialStage.RESOLVE
    try:
        async with asyncio.timeout(None if connect_timeout == NEVER else connect_timeout):
            addresses = await _resolve(resolver, host, port)
            stage = DialStage.TIMEOUT
            try:
                sock = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=fallback_delay)
            except OSError as error:
                raise DialError(DialStage.CONNECT, str(error)) from error
    except TimeoutError as error:
        # A name server that does not answer is no slow upstream.
        what = "resolved" if stage is DialStage.RESOLVE else "connected"
        raise DialError(stage, f"not {what} within {connect_timeout} s") from error
    if tls is not None:
        try:
            return await shake_hands(loop, sock, factory, tls, sessions, handshake_timeout)
        except HandshakeFailed as error:
            raise DialError(DialStage.TLS_HANDSHAKE, str(error)) from error
    try:
        # Both event loops ask of a protocol that it has the methods, not that it inherits them.
        _, protocol = await loop.create_connection(lambda: cast(asyncio.BaseProtocol, factory("")), sock=sock)
    except OSError as error:
        sock.close()
        raise DialError(DialStage.CONNECT, str(error)) from error
    except BaseException:
        sock.close()
        raise
    return cast(ProtocolT, protocol)


async def _resolve(resolver: ResolvesNames, host: str, port: int) -> list[aiohappyeyeballs.AddrInfoType]:
    literal = _literal_address(host, port)
    if literal is not None:
        return [literal]
    try:
        addresses = await resolver.resolve(host)
    except NameNotResolved as error:
        raise DialError(DialStage.RESOLVE, str(error)) from error
    found = [literal for literal in (_literal_address(address, port) for address in addresses) if literal is not None]
    if not found:
        raise DialError(DialStage.RESOLVE, "no addresses")
    return found


def _literal_address(host: str, port: int) -> aiohappyeyeballs.AddrInfoType | None:
    """*host* as an address that needs no resolver, or None."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        sockaddr = (host, port) if family == socket.AF_INET else (host, port, 0, 0)
        return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", sockaddr)
    return None
