"""The loop on virtual time, and a network whose far ends are the test's hands.

Connections are :class:`SimulatedTransport`: the names with ``peer`` are what the test does on the other side. Listening
and dialling go through :class:`Network`.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from vrata.net.memory import MemoryNetwork, MemoryServer
from vrata.net.memory_transport import HIGH_WATER, READ_SIZE, Arrival, MemoryTransport, NetworkPath
from vrata.net.virtual_time import VirtualTimeLoop

__all__ = ["HIGH_WATER", "READ_SIZE", "Network", "SimulatedLoop", "SimulatedTransport"]

T = TypeVar("T")

ENDLESS = 1 << 60
"""Bytes that a peer takes when it reads."""


class SimulatedLoop(VirtualTimeLoop):
    """Turns when it is told to, and only then. What a callback raises comes out of that."""

    network: Network

    def _new_network(self) -> Network:
        return Network(self)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of *work*, which needs no time to pass."""
        task = self.create_task(work)
        self.settle()
        assert task.done(), "it waits for something"
        result: T = task.result()
        return result


class Network(MemoryNetwork):
    """What is listened to, and what is dialled."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__(loop)
        self.listening: list[MemoryServer] = []
        self.dials: deque[asyncio.Future[None]] = deque()
        """Dials that wait for :meth:`decide`."""
        self.upstream: list[SimulatedTransport] = []
        """Every connection that was dialled, for the test to take."""
        self.accepts = True
        """Dials are accepted at once."""

    def listen(self, server: MemoryServer) -> None:
        self.listening.append(server)

    def stop_listening(self, server: MemoryServer) -> None:
        if server in self.listening:
            self.listening.remove(server)

    async def connect(self, sock: socket.socket, address: Any) -> None:
        if not self.accepts:
            dial = self._loop.create_future()
            self.dials.append(dial)
            await dial

    def claim(self, sock: socket.socket, protocol: Any) -> SimulatedTransport:
        sock.close()
        transport = SimulatedTransport(self._loop, protocol, ("192.0.2.2", 80))
        self.upstream.append(transport)
        return transport

    def decide(self, accepted: bool) -> None:
        """Let the oldest dial succeed or fail."""
        while self.dials:
            dial = self.dials.popleft()
            if not dial.done():
                if accepted:
                    dial.set_result(None)
                else:
                    dial.set_exception(ConnectionRefusedError("refused"))
                return

    def client(self, number: int) -> SimulatedTransport:
        """A client connects to the first listener; this is the proxy's side of it."""
        return SimulatedTransport(self._loop, self.listening[0].protocol_factory(), ("192.0.2.1", 1024 + number))


class SimulatedTransport(MemoryTransport):
    """The proxy's side of a connection, and the peer in the hands of the test."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, peer: tuple[str, int]) -> None:
        super().__init__(loop, ("192.0.2.0", 80), peer, NetworkPath())
        self._peer_reads = True
        self.peer_ended = False
        """The peer sends no more."""
        self.sent = b""
        """What has arrived at the peer and was not taken yet."""
        self.marks: list[tuple[int, int]] = []
        """For each write: bytes written before it, and bytes that the protocol had been given by then."""
        self.received = 0
        """Bytes that the protocol was given."""
        self.written = 0
        """Bytes that the protocol has written."""
        self.attach(protocol)

    @property
    def waiting(self) -> int:
        """Bytes from the peer that the protocol has not been given."""
        return sum(len(item) for item in self._inbound if isinstance(item, bytes))

    # -- the peer's side ----------------------------------------------------------------------------------------------

    def peer_sends(self, data: bytes) -> None:
        if not self.peer_ended and data:
            self._arrive(data)

    def peer_ends(self) -> None:
        """The peer sends no more."""
        if not self.peer_ended:
            self.peer_ended = True
            self._arrive(None)

    def peer_closes(self) -> None:
        """The peer sends no more, and answers with a reset to what it is sent."""
        self.peer_ends()
        self._peer_gone = True

    def peer_resets(self) -> None:
        if not self._peer_gone:
            self.peer_ended = True
            self._arrive(ConnectionResetError("reset by peer"))

    def peer_reads(self, reads: bool) -> None:
        """The peer takes what it is sent, or leaves it lying."""
        self._peer_reads = reads
        if reads:
            self._flush_soon()

    def take(self) -> bytes:
        """What the peer has got since the last time."""
        sent, self.sent = self.sent, b""
        return sent

    # -- the network between ------------------------------------------------------------------------------------------

    def _room(self) -> int:
        return ENDLESS if self._peer_reads else 0

    def _send(self, arrival: Arrival) -> None:
        if isinstance(arrival, bytes):
            self.sent += arrival

    def _taken(self, size: int) -> None:
        self.received += size

    def write(self, data: Any) -> None:
        if not self._losing:
            self.marks.append((self.written, self.received))
            self.written += len(data)
        super().write(data)
