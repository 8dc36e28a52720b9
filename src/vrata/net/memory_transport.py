"""The connections of the network in memory: two ends, the queues between them, and the path that they lie on.

An end behaves as the kernel and uvloop do together. What is written leaves at the end of the turn, a queue of limited
size lies before each protocol, ``connection_lost`` comes in a later turn, and a peer that is gone is noticed by reading
or by writing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

HIGH_WATER = 65536
"""Bytes that a transport keeps before its protocol is asked to pause, unless it says otherwise."""
READ_SIZE = 16384
"""Bytes that a protocol gets at once at most."""
QUEUE = 65536
"""Bytes that have left one end of a connection at most while the protocol at the other end has not been given them."""

Address: TypeAlias = tuple[str, int]
"""Host and port. Whatever else an IPv6 address of the socket module has is left out."""
Arrival: TypeAlias = bytes | Exception | None
"""What comes over a connection: bytes, None for their end, or what it ended by."""


class NetworkPath:
    """How one address is reached. May be changed at any time."""

    def __init__(self) -> None:
        self.latency = 0.0
        """Seconds that everything takes, either way, from now on."""
        self.refuses = False
        """New connections are refused, although somebody may listen."""
        self._is_silent = False
        self._held: dict[Callable[[], None], None] = {}

    def __repr__(self) -> str:
        refuses, silent = ", refuses" if self.refuses else "", ", silent" if self._is_silent else ""
        return f"<NetworkPath {self.latency} s{refuses}{silent}>"

    @property
    def is_silent(self) -> bool:
        """Nothing gets through, in either direction. What was sent meanwhile comes when it ends."""
        return self._is_silent

    @is_silent.setter
    def is_silent(self, is_silent: bool) -> None:
        self._is_silent = is_silent
        if not is_silent:
            held, self._held = self._held, {}
            for go_on in held:
                go_on()

    def hold(self, go_on: Callable[[], None]) -> None:
        """Call *go_on* when the silence ends."""
        self._held[go_on] = None


class ConnectionSocket:
    """What a transport gives as its socket: it remembers whether the close is to be a reset."""

    def __init__(self) -> None:
        self.resets = False

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Note how it is to end; everything else is of no interest here."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.resets = struct.unpack("ii", value) == (1, 0)

    def fileno(self) -> int:
        """That of a socket that the kernel knows nothing of."""
        return -1


class MemoryTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, local: Address, peer: Address, path: NetworkPath) -> None:
        super().__init__()
        self._loop = loop
        self._path = path
        self._far: MemoryTransport | None = None
        self._socket = ConnectionSocket()
        self.local = local
        self.peer = peer
        self.protocol: Any = None
        # What has come and was not given to the protocol.
        self._inbound: deque[Arrival] = deque()
        self._queued = 0
        self._last_arrival = 0.0
        self._delivering = False
        self._reading = False
        # What goes out.
        self._unsent = b""
        self._flushing = False
        self._high_water, self._low_water = HIGH_WATER, HIGH_WATER // 4
        self._writing_paused = False
        self._eof = False
        self._eof_sent = False
        self._peer_gone = False
        # How it ends.
        self._closing = False
        self._losing = False
        self.lost = False
        """The protocol has been told of the end."""
        self.reset = False
        """It was ended in a way that no peer takes for a proper end."""

    def __repr__(self) -> str:
        state = "lost" if self.lost else "closing" if self._closing else "open"
        return f"<{type(self).__name__} {self.local} to {self.peer} {state}>"

    def join(self, far: MemoryTransport) -> None:
        """*far* is the other end."""
        self._far = far

    def attach(self, protocol: Any) -> None:
        """Give the connection to *protocol*, which reads from now on."""
        self.protocol = protocol
        self._reading = True
        protocol.connection_made(self)
        if self._inbound:
            self._deliver_soon()

    # -- between the two ends -----------------------------------------------------------------------------------------

    def _room(self) -> int:
        """Bytes that may leave now."""
        far = self._far
        assert far is not None
        return QUEUE - far._queued

    def _send(self, arrival: Arrival) -> None:
        """Let the other end have it, as late as it is far."""
        far = self._far
        assert far is not None
        if isinstance(arrival, bytes):
            far._queued += len(arrival)
        now = self._loop.time()
        when = max(now + self._path.latency, far._last_arrival)
        if when > now:
            far._last_arrival = when
            self._loop.call_at(when, far._arrive, arrival)
        else:
            far._arrive(arrival)

    def _arrive(self, arrival: Arrival) -> None:
        if self.lost or self._losing:
            self._queued = 0
            return
        if isinstance(arrival, Exception):
            self._peer_gone = True
        self._inbound.append(arrival)
        self._deliver_soon()

    def _taken(self, size: int) -> None:
        """The protocol was given *size* bytes: as many may follow."""
        self._queued -= size
        far = self._far
        if far is not None and (far._unsent or far._closing):
            far._flush_soon()

    def _vanish(self, *, resets: bool) -> None:
        """This end is no more."""
        far = self._far
        if far is None:
            return
        far._peer_gone = True
        if self._path.is_silent:
            return  # it will not be told, and learn it when it sends something
        if resets:
            self._send(ConnectionResetError(104, "Connection reset by peer"))
        elif not self._eof_sent:
            self._send(None)

    def _deliver_soon(self) -> None:
        if not self._delivering:
            self._delivering = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False
        inbound = self._inbound
        if not self._reading or self._closing or not inbound:
            return
        item = inbound.popleft()
        if item is None:
            if not self.protocol.eof_received():
                self.close()
            return
        if isinstance(item, Exception):
            self._force_close(item)
            return
        while inbound and isinstance(inbound[0], bytes) and len(item) < READ_SIZE:
            following = inbound.popleft()
            assert isinstance(following, bytes)
            item += following
        if len(item) > READ_SIZE:
            inbound.appendleft(item[READ_SIZE:])
            item = item[:READ_SIZE]
        self._taken(len(item))
        self.protocol.data_received(item)
        if inbound:
            self._deliver_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._losing or self.lost:
            return
        if self._path.is_silent:
            self._path.hold(self._flush_soon)
            return
        unsent = self._unsent
        if unsent:
            if self._peer_gone:
                self._force_close(BrokenPipeError(32, "Broken pipe"))
                return
            room = self._room()
            if room <= 0:
                return
            self._unsent = unsent[room:]
            self._send(unsent[:room])
        if not self._unsent:
            if self._closing:
                self._lose(None)
                return
            if self._eof and not self._eof_sent:
                self._eof_sent = True
                self._send(None)
        if self._writing_paused and len(self._unsent) <= self._low_water:
            self._writing_paused = False
            self.protocol.resume_writing()

    # -- the protocol's side ------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``peername``, ``sockname`` and ``socket``."""
        if name == "peername":
            return self.peer
        if name == "sockname":
            return self.local
        return self._socket if name == "socket" else default

    def get_protocol(self) -> Any:
        """Whom it gives what comes."""
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        """Give what comes to another one."""
        self.protocol = protocol

    def is_closing(self) -> bool:
        """Whether its end has begun."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether the protocol is given what comes."""
        return self._reading

    def pause_reading(self) -> None:
        """Keep what comes."""
        self._reading = False

    def resume_reading(self) -> None:
        """Give it to the protocol again."""
        if not self._reading and not self._closing:
            self._reading = True
            self._deliver_soon()

    def write(self, data: Any) -> None:
        """Send *data* at the end of the turn."""
        self._ensure_alive()
        assert not self._eof, "a write after the end of what is written"
        if self._losing:
            return
        self._unsent += bytes(data)
        self._flush_soon()
        if len(self._unsent) > self._high_water and not self._writing_paused:
            self._writing_paused = True
            self.protocol.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is to pause, and when to go on."""
        self._high_water = HIGH_WATER if high is None else high
        self._low_water = self._high_water // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        """Bytes that have not left."""
        return len(self._unsent)

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """Send nothing more; the peer gets to know it behind what was written."""
        self._ensure_alive()
        self._eof = True
        self._flush_soon()

    def close(self) -> None:
        """End it when all that was written has left."""
        if not self._closing:
            self._closing = True
            if not self._unsent:
                self._lose(None)

    def abort(self) -> None:
        """End it at once."""
        self._force_close(None)

    def _ensure_alive(self) -> None:
        assert not self.lost, "used after its protocol was told that it is lost"

    def _force_close(self, error: Exception | None) -> None:
        if not self._losing:
            self.reset = self._socket.resets or error is not None
            self._closing = True
            self._unsent = b""
            self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        self._losing = True
        # The kernel answers with a reset for what nobody has read.
        unread = any(isinstance(item, bytes) for item in self._inbound)
        self._vanish(resets=unread or self._socket.resets)
        self._loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._inbound.clear()
        if self.protocol is not None:
            self.protocol.connection_lost(error)
