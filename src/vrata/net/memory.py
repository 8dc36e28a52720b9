"""A network in memory, for programs on virtual time: names, listening, dialling.

How an address is reached is said by its :class:`~vrata.net.memory_transport.NetworkPath`: how far it is, whether it
refuses, whether everything on the way to it vanishes. Connections are pairs of
:class:`~vrata.net.memory_transport.MemoryTransport`. Nothing in it depends on the time of day, on chance, or on the
addresses of objects, so the same program always does the same (:mod:`vrata.net.virtual_time`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

from vrata.net.memory_transport import Address, MemoryTransport, NetworkPath
from vrata.net.resolver import NameNotResolved, ResolvesNames

DYNAMIC_PORTS = range(49152, 65536)
"""Ports that dialling ends get, unless they name one."""


class MemoryNetwork(ResolvesNames):
    """Hosts, who listens where, and the paths between them. One per loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.names: dict[str, Sequence[str]] = {}
        """Addresses by host name, in the order in which a resolver gives them."""
        self.resolution_latency = 0.0
        """Seconds that asking for a name takes."""
        self._servers: dict[Address, list[MemoryServer]] = {}
        self._paths: dict[Address, NetworkPath] = {}
        # Connections that a socket of the socket module stands for, until a protocol takes them.
        self._unclaimed: dict[socket.socket, MemoryTransport] = {}
        self._ports = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._servers)} servers>"

    def path(self, host: str, port: int) -> NetworkPath:
        """How this address is reached, to be read and changed."""
        path = self._paths.get((host, port))
        if path is None:
            path = self._paths[(host, port)] = NetworkPath()
        return path

    # -- names --------------------------------------------------------------------------------------------------------

    async def resolve(self, host: str) -> Sequence[str]:
        """The addresses of *host*. Raises :class:`~vrata.net.resolver.NameNotResolved` for one that nobody knows."""
        if self.resolution_latency:
            await asyncio.sleep(self.resolution_latency)
        addresses = self.names.get(host, ())
        if not addresses:
            raise NameNotResolved(f"{host} is unknown")
        return addresses

    async def address_infos(self, host: str, port: int, family: int = 0) -> list[Any]:
        """What ``getaddrinfo`` returns for streams. Raises ``socket.gaierror`` for a name that nobody knows."""
        try:
            addresses = [host] if _family(host) is not None else await self.resolve(host)
        except NameNotResolved as error:
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
        found = [(cast(socket.AddressFamily, _family(address)), address) for address in addresses]
        return [
            (kind, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", _sockaddr(kind, address, port))
            for kind, address in found
            if family in (0, kind)
        ]

    # -- listening ----------------------------------------------------------------------------------------------------

    def bind(self, host: str, port: int) -> socket.socket:
        """Return what stands for a socket that is bound to this address, as a supervisor hands it to a worker."""
        return cast(socket.socket, BoundSocket((host, port)))

    def serve(self, host: str, port: int, protocol_factory: Callable[[], Any]) -> MemoryServer:
        """Accept connections to this address from now on."""
        server = MemoryServer(self, protocol_factory, self.bind(host, port))
        self.listen(server)
        return server

    def listen(self, server: MemoryServer) -> None:
        """*server* accepts from now on, by turns with others at its address, as with ``SO_REUSEPORT``."""
        self._servers.setdefault(server.address, []).append(server)

    def stop_listening(self, server: MemoryServer) -> None:
        """*server* accepts no more."""
        servers = self._servers.get(server.address, [])
        if server in servers:
            servers.remove(server)

    # -- dialling -----------------------------------------------------------------------------------------------------

    async def dial(self, address: Any, protocol: Any, *, source: Address | None = None) -> MemoryTransport:
        """Connect *protocol* to *address*, from *source*; raises ``OSError`` when nobody is there."""
        transport = await self._reach(address, source)
        transport.attach(protocol)
        return transport

    async def connect(self, sock: socket.socket, address: Any) -> None:
        """Connect what *sock* stands for; :meth:`claim` gives it a protocol."""
        self.give_up_closed()
        self._unclaimed[sock] = await self._reach(address, None)

    def claim(self, sock: socket.socket, protocol: Any) -> MemoryTransport:
        """Give the connection that *sock* stands for to *protocol*."""
        transport = self._unclaimed.pop(sock)
        sock.close()
        transport.attach(protocol)
        return transport

    def give_up_closed(self) -> None:
        """Close the connections whose socket was closed before a protocol took them."""
        for sock in [sock for sock in self._unclaimed if sock.fileno() < 0]:
            self._unclaimed.pop(sock).close()

    async def _reach(self, address: Any, source: Address | None) -> MemoryTransport:
        target = (str(address[0]), int(address[1]))
        path = self.path(*target)
        await self._cross(path)
        servers = self._servers.get(target)
        if not servers or path.refuses:
            await self._cross(path)
            raise ConnectionRefusedError(111, f"Connect call failed {target}")
        servers.append(server := servers.pop(0))
        near = self._dialling_end(source or self._new_source(), target, path)
        far = MemoryTransport(self._loop, target, near.local, path)
        near.join(far)
        far.join(near)
        far.attach(server.protocol_factory())
        try:
            await self._cross(path)
        except BaseException:
            near.abort()
            raise
        return near

    def _dialling_end(self, local: Address, peer: Address, path: NetworkPath) -> MemoryTransport:
        """Make the end of whoever dials."""
        return MemoryTransport(self._loop, local, peer, path)

    async def _cross(self, path: NetworkPath) -> None:
        while path.is_silent:
            through: asyncio.Future[None] = self._loop.create_future()
            path.hold(lambda through=through: None if through.done() else through.set_result(None))  # type: ignore[misc]
            await through
        if path.latency:
            await asyncio.sleep(path.latency)

    def _new_source(self) -> Address:
        self._ports += 1
        return "127.0.0.1", DYNAMIC_PORTS[self._ports % len(DYNAMIC_PORTS)]


class MemoryServer:
    """What ``create_server`` returns: accepts the connections to one address until it is closed."""

    def __init__(self, network: MemoryNetwork, protocol_factory: Callable[[], Any], sock: socket.socket) -> None:
        self._network = network
        self._sock = sock
        self.protocol_factory = protocol_factory
        self.address: Address = sock.getsockname()[:2]
        self.sockets: tuple[socket.socket, ...] = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    async def start_serving(self) -> None:
        """Begin to accept."""
        self._network.listen(self)

    def close(self) -> None:
        """Accept no more; connections go on."""
        self._network.stop_listening(self)
        self._sock.close()


class BoundSocket:
    """Stands for a socket that is bound: what somebody who listens on it asks of it."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def getsockname(self) -> Address:
        """Where it is bound."""
        return self._address

    def dup(self) -> BoundSocket:
        """Another one for the same address."""
        return BoundSocket(self._address)

    def listen(self, backlog: int = 0) -> None:
        """Nothing: the server accepts at once."""

    def setblocking(self, flag: bool) -> None:
        """Nothing: it never blocks."""

    def accept(self) -> Any:
        """Raise: nobody waits to be accepted."""
        raise BlockingIOError

    def close(self) -> None:
        """Nothing: it holds nothing."""


def _family(host: str) -> socket.AddressFamily | None:
    """The family of *host* where it is an address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return family
    return None


def _sockaddr(family: socket.AddressFamily, address: str, port: int) -> tuple[Any, ...]:
    return (address, port) if family == socket.AF_INET else (address, port, 0, 0)
