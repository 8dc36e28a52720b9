"""The listening sockets of a proxy: for each address one per worker slot, owned by the supervisor.

The kernel spreads new connections over the sockets of one address (``SO_REUSEPORT``). Because the supervisor holds
them, connections that wait in a socket's queue survive the death of the worker that should have accepted them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import structlog

_log = structlog.get_logger("vrata.proxy")

BACKLOG = 4096
"""Connections that may wait in each socket's queue; the kernel caps it at net.core.somaxconn."""


@dataclass(frozen=True, slots=True, eq=False)
class BoundAddress:
    """One address that is listened on, with the socket of each slot. Two of them are never equal."""

    address: str
    sockets: tuple[socket.socket, ...]

    def close(self) -> None:
        """Close the sockets of all slots."""
        for sock in self.sockets:
            sock.close()


@dataclass(frozen=True, slots=True)
class _Target:
    """An address as the socket calls take it."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]
    is_any: bool

    @property
    def port(self) -> int:
        return int(self.sockaddr[1])


class ListeningSockets:
    """Which addresses are bound, and which could not be."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._bound: dict[str, BoundAddress] = {}
        self._failures: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<ListeningSockets {sorted(self._bound)}, failed {self._failures}>"

    @property
    def bound(self) -> Collection[BoundAddress]:
        """What is listened on now."""
        return self._bound.values()

    @property
    def failures(self) -> dict[str, str]:
        """The reason for each address that could not be bound."""
        return self._failures

    async def open(self, addresses: Collection[str]) -> bool:
        """Bind those *addresses* that are not bound, the failed ones again; return whether any new one is bound.

        An address that cannot be bound is reported in :attr:`failures` and does not touch the others.
        """
        opened = False
        for address in sorted(addresses):
            if address in self._bound:
                continue
            try:
                self._bound[address] = await self._bind(address)
            except OSError as error:
                reason = _reason(error)
                if self._failures.get(address) != reason:
                    _log.error("cannot listen", address=address, reason=reason)
                self._failures[address] = reason
            else:
                opened = True
                self._failures.pop(address, None)
                _log.info("listening", address=address)
        return opened

    def close_except(self, addresses: Collection[str]) -> None:
        """Close the sockets of all other addresses and forget their failures.

        Connections that wait in their queues are reset, unless a worker still holds the socket.
        """
        for address in self._bound.keys() - set(addresses):
            self._bound.pop(address).close()
            _log.info("no longer listening", address=address)
        for address in self._failures.keys() - set(addresses):
            del self._failures[address]

    async def _bind(self, address: str) -> BoundAddress:
        target = await _resolve(address)
        own_ports = {bound.sockets[0].getsockname()[1] for bound in self._bound.values()}
        if target.port not in own_ports:
            # SO_REUSEPORT would let us share a port with any process of the same user without a word.
            _listening_socket(target, shared=False).close()
        sockets: list[socket.socket] = []
        try:
            for _ in range(self._slots):
                sockets.append(_listening_socket(target, shared=True))  # noqa: PERF401 - what is bound must be closed
            # Only when all are bound: a socket that listens gets connections at once.
            for sock in sockets:
                sock.listen(BACKLOG)
        except OSError:
            for sock in sockets:
                sock.close()
            raise
        return BoundAddress(address, tuple(sockets))


def _listening_socket(target: _Target, *, shared: bool) -> socket.socket:
    """Return a socket bound to *target*, not listening yet."""
    sock = socket.socket(target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Without it, connections in TIME_WAIT would keep a restarted proxy from its own port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if target.family == socket.AF_INET6:
            # "::" means every address of the machine, IPv4 included.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if target.is_any else 1)
        sock.bind(target.sockaddr)
    except OSError:
        sock.close()
        raise
    return sock


async def _resolve(address: str) -> _Target:
    host, _, port_text = address.rpartition(":")
    host, port = host.strip("[]"), int(port_text)
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return await _resolve_name(host, port)
    if literal.version == 4:
        return _Target(socket.AF_INET, (host, port), is_any=literal.is_unspecified)
    return _Target(socket.AF_INET6, (host, port), is_any=literal.is_unspecified)


async def _resolve_name(host: str, port: int) -> _Target:
    """Look the name up; of several addresses one is bound, an IPv4 one if there is any."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, sockaddr = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return _Target(socket.AddressFamily(family), tuple(sockaddr), is_any=False)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved: {error.strerror}"
    return os.strerror(error.errno) if error.errno else str(error)
