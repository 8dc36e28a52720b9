"""A transport without a socket: the test is the peer."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from tests.support.manual_loop import ManualLoop

HIGH_WATER, LOW_WATER = 65536, 16384


class ConnectionProtocol(Protocol):
    """The callbacks of a connection, which the event loops call without asking for asyncio's own base class."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class MemoryTransport(asyncio.Transport):
    """One side of a connection. It behaves as the transports of asyncio and uvloop do: what the peer does not read is
    kept, ``close`` waits until the peer has read it, and ``connection_lost`` comes a moment after the end.
    """

    def __init__(self, loop: ManualLoop, protocol: ConnectionProtocol, *, peer: tuple[str, int] = ("192.0.2.1", 4711)):
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._peer = peer
        self._unsent = b""
        self._peer_reads = True
        self._writing_paused = False
        self._reading = True
        self._closing = False
        self._lost = False
        self.sent = b""
        """What has arrived at the peer and was not taken yet."""
        self.ended = False
        """The write side was shut down."""
        self.aborted = False
        self.writes = 0
        """How often something was written."""
        protocol.connection_made(self)

    # -- the peer's side ----------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """The connection has ended in good order."""
        return self._lost and not self.aborted

    def is_lost(self) -> bool:
        """The connection has ended, in whichever way."""
        return self._lost

    def has_ended(self) -> bool:
        """The write side was shut down."""
        return self.ended

    def receive(self, data: bytes) -> None:
        """The peer has sent *data*."""
        assert self._reading, "the peer's bytes wait in the kernel"
        if not self._closing:
            self._protocol.data_received(data)
        self._loop.settle()

    def receive_eof(self) -> None:
        """The peer sends no more."""
        if not self._closing and not self._protocol.eof_received():
            self.close()
        self._loop.settle()

    def reset(self) -> None:
        """The peer has reset the connection."""
        self._end(ConnectionResetError("reset by peer"))
        self._loop.settle()

    def stop_reading(self) -> None:
        """The peer reads nothing more for now."""
        self._peer_reads = False

    def read_again(self) -> None:
        """The peer reads what waits for it, and goes on."""
        self._peer_reads = True
        self.sent += self._unsent
        self._unsent = b""
        if self._writing_paused:
            self._writing_paused = False
            self._protocol.resume_writing()
        if self._closing and not self._unsent:
            self._end(None)
        self._loop.settle()

    def read_some(self, size: int) -> None:
        """The peer reads *size* bytes of what waits for it, and no more for now."""
        self.sent += self._unsent[:size]
        self._unsent = self._unsent[size:]
        if self._writing_paused and len(self._unsent) <= LOW_WATER:
            self._writing_paused = False
            self._protocol.resume_writing()
        if self._closing and not self._unsent:
            self._end(None)
        self._loop.settle()

    def take(self) -> bytes:
        """What the peer has got since the last time."""
        sent, self.sent = self.sent, b""
        return sent

    # -- the protocol's side ------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._peer if name == "peername" else default

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._closing or self.ended:
            return
        self.writes += 1
        if self._peer_reads and not self._unsent:
            self.sent += data
            return
        self._unsent += data
        if len(self._unsent) > HIGH_WATER and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (HIGH_WATER, LOW_WATER)

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self._unsent:
                self._end(None)

    def abort(self) -> None:
        self.aborted = True
        self._unsent = b""
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        self._closing = True
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._protocol.connection_lost, error)
