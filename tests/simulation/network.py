"""The network of a run: it shows the referee when the proxy dials, and what it writes to whom."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Protocol

from tests.simulation.configuration import PORT
from vrata.net.memory import MemoryNetwork
from vrata.net.memory_transport import Address, MemoryTransport, NetworkPath
from vrata.net.virtual_time import VirtualTimeLoop

_REQUEST = re.compile(rb"[A-Z]+ /r\d+/n(\d+)/s\d+ HTTP/1\.1\r\n")
_NUMBER = re.compile(rb"\r\nx-vrata-attempt-count: (\d+)\r\n")


class Observer(Protocol):
    def dial_began(self, endpoint: str) -> None: ...
    def connection_ended(self, endpoint: str) -> None: ...
    def wrote(self, endpoint: str, number: int, attempt: int) -> None: ...


class ObservedLoop(VirtualTimeLoop):
    network: ObservedNetwork

    def _new_network(self) -> ObservedNetwork:
        return ObservedNetwork(self)


class ObservedNetwork(MemoryNetwork):
    """Every address but the proxy's own is an upstream's."""

    observer: Observer

    async def _reach(self, address: Any, source: Address | None) -> MemoryTransport:
        if address[1] == PORT or _is_probe():
            return await super()._reach(address, source)
        endpoint = f"{address[0]}:{address[1]}"
        self.observer.dial_began(endpoint)
        reached = False
        try:
            transport = await super()._reach(address, source)
            assert isinstance(transport, UpstreamTransport)
            transport.is_counted = reached = True
            return transport
        finally:
            if not reached:
                self.observer.connection_ended(endpoint)

    def _dialling_end(self, local: Address, peer: Address, path: NetworkPath) -> MemoryTransport:
        if peer[1] == PORT or _is_probe():
            return super()._dialling_end(local, peer, path)
        return UpstreamTransport(self, local, peer, path)


class UpstreamTransport(MemoryTransport):
    """The proxy's end of a connection to an endpoint."""

    def __init__(self, network: ObservedNetwork, local: Address, peer: Address, path: NetworkPath) -> None:
        super().__init__(network._loop, local, peer, path)
        self._observer = network.observer
        self._endpoint = f"{peer[0]}:{peer[1]}"
        self.is_counted = False
        """It is open, and its dial has come to an end."""

    def write(self, data: Any) -> None:
        found = _REQUEST.match(data)
        if found is not None:
            attempt = _NUMBER.search(data)
            assert attempt is not None
            self._observer.wrote(self._endpoint, int(found[1]), int(attempt[1]))
        super().write(data)

    def _lose(self, error: Exception | None) -> None:
        if self.is_counted:
            self.is_counted = False
            self._observer.connection_ended(self._endpoint)
        super()._lose(error)


def _is_probe() -> bool:
    """Whether it is the watch that dials."""
    task = asyncio.current_task()
    return task is not None and task.get_name() == "probe"
