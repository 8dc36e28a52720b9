"""An event loop whose time and whose network are the test's: whole parts of Vrata run on it, and nothing else does.

Connections are :class:`SimulatedTransport`, with a queue for what the peer has sent and the protocol does not read yet,
as the kernel has one. Listening and dialling go through :class:`Network`.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import socket
import struct
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HIGH_WATER = 65536
"""Bytes that a transport keeps before its protocol is asked to pause."""
READ_SIZE = 16384
"""Bytes that a protocol gets at once at most."""

_NOWHERE = os.open(os.devnull, os.O_RDONLY)
"""The descriptor of every simulated socket. What the kernel is asked about it, it refuses to say."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Turns when it is told to, and only then. What a callback raises comes out of that."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = count()
        self._error: BaseException | None = None
        self.network = Network(self)

    # -- the test's side ----------------------------------------------------------------------------------------------

    def settle(self, turns: int = 1000) -> None:
        """Run what is ready, and what that makes ready, for *turns* at most."""
        previous = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while self._ready and turns:
                turns -= 1
                for _ in range(len(self._ready)):
                    handle = self._ready.popleft()
                    if not handle.cancelled():
                        handle._run()
                    if self._error is not None:
                        error, self._error = self._error, None
                        raise error
            assert turns, "the loop does not come to rest"
        finally:
            events._set_running_loop(previous)

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.settle()
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                self._now = max(self._now, when)
                self._ready.append(handle)
                self.settle()
        self._now = end

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of *work*, which needs no time to pass."""
        task = self.create_task(work)
        self.settle()
        assert task.done(), "it waits for something"
        result: T = task.result()
        return result

    # -- what asyncio asks of a loop ----------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when their time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._error = error if error is not None else AssertionError(context["message"])

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        await self.network.connect()

    async def create_connection(self, protocol_factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        kwargs["sock"].close()
        transport = SimulatedTransport(self, protocol_factory(), ("192.0.2.2", 80))
        self.network.upstream.append(transport)
        return transport, transport.protocol

    async def create_server(self, protocol_factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        return SimulatedServer(self.network, protocol_factory, kwargs["sock"])

    def remove_reader(self, fd: Any) -> bool:
        return False


class Network:
    """What is listened to, and what is dialled."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.listening: list[SimulatedServer] = []
        self.dials: deque[asyncio.Future[None]] = deque()
        """Dials that wait for :meth:`accept` or :meth:`refuse`."""
        self.upstream: list[SimulatedTransport] = []
        """Every connection that was dialled, for the test to take."""
        self.accepts = True
        """Dials are accepted at once."""

    async def connect(self) -> None:
        if not self.accepts:
            dial = self._loop.create_future()
            self.dials.append(dial)
            await dial

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


class SimulatedServer:
    """Stands for an ``asyncio.Server``."""

    def __init__(self, network: Network, protocol_factory: Callable[[], Any], sock: socket.socket) -> None:
        self._network = network
        self._sock = sock
        self.protocol_factory = protocol_factory
        self.sockets: tuple[socket.socket, ...] = ()

    async def start_serving(self) -> None:
        self._network.listening.append(self)

    def close(self) -> None:
        self._sock.close()
        if self in self._network.listening:
            self._network.listening.remove(self)


class SimulatedSocket:
    """What a transport gives as its socket: it remembers whether the close is to be a reset."""

    def __init__(self) -> None:
        self.resets = False

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.resets = struct.unpack("ii", value) == (1, 0)

    def fileno(self) -> int:
        return _NOWHERE


class SimulatedTransport(asyncio.Transport):
    """The proxy's side of a connection; the names with ``peer`` are what the test does on the other side.

    It behaves as the transports of uvloop do: what is written leaves at the end of the turn, ``connection_lost`` comes
    in a later one, and a peer that is gone is noticed by reading or by writing.
    """

    def __init__(self, loop: SimulatedLoop, protocol: Any, peer: tuple[str, int]) -> None:
        super().__init__()
        self._loop = loop
        self.protocol = protocol
        self._peer = peer
        self._socket = SimulatedSocket()
        # What the peer has sent: bytes, None for its end, or an error.
        self._inbound: deque[bytes | Exception | None] = deque()
        self._delivering = False
        self._reading = True
        self._unsent = b""
        self._flushing = False
        self._high_water = HIGH_WATER
        self._writing_paused = False
        self._eof = False
        self._closing = False
        self._losing = False
        self._peer_reads = True
        self.peer_ended = False
        """The peer sends no more."""
        self._peer_gone = False
        self.lost = False
        """The protocol has been told of the end."""
        self.sent = b""
        """What has arrived at the peer and was not taken yet."""
        self.marks: list[tuple[int, int]] = []
        """For each write: bytes written before it, and bytes that the protocol had been given by then."""
        self.received = 0
        """Bytes that the protocol was given."""
        self.written = 0
        """Bytes that the protocol has written."""
        self.reset = False
        """The connection was ended in a way that no peer takes for a proper end."""
        protocol.connection_made(self)

    @property
    def waiting(self) -> int:
        """Bytes from the peer that the protocol has not been given."""
        return sum(len(item) for item in self._inbound if isinstance(item, bytes))

    # -- the peer's side ----------------------------------------------------------------------------------------------

    def peer_sends(self, data: bytes) -> None:
        if not self.peer_ended and data:
            self._inbound.append(data)
            self._deliver_soon()

    def peer_ends(self) -> None:
        """The peer sends no more."""
        if not self.peer_ended:
            self.peer_ended = True
            self._inbound.append(None)
            self._deliver_soon()

    def peer_closes(self) -> None:
        """The peer sends no more, and answers with a reset to what it is sent."""
        self.peer_ends()
        self._peer_gone = True

    def peer_resets(self) -> None:
        if not self._peer_gone:
            self._peer_gone = self.peer_ended = True
            self._inbound.append(ConnectionResetError("reset by peer"))
            self._deliver_soon()

    def peer_reads(self, reads: bool) -> None:
        """The peer takes what it is sent, or leaves it lying."""
        self._peer_reads = reads
        if reads:
            self._flush_soon()

    def take(self) -> bytes:
        """What the peer has got since the last time."""
        sent, self.sent = self.sent, b""
        return sent

    def _deliver_soon(self) -> None:
        if not self._delivering:
            self._delivering = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False
        if not self._reading or self._closing or not self._inbound:
            return
        item = self._inbound.popleft()
        if item is None:
            if not self.protocol.eof_received():
                self.close()
            return
        if isinstance(item, Exception):
            self._force_close(item)
            return
        while self._inbound and isinstance(self._inbound[0], bytes) and len(item) < READ_SIZE:
            following = self._inbound.popleft()
            assert isinstance(following, bytes)
            item += following
        if len(item) > READ_SIZE:
            self._inbound.appendleft(item[READ_SIZE:])
            item = item[:READ_SIZE]
        self.received += len(item)
        self.protocol.data_received(item)
        if self._inbound:
            self._deliver_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._losing or self.lost or (self._unsent and not self._peer_reads):
            return
        if self._peer_gone and self._unsent:
            self._force_close(BrokenPipeError("the peer is gone"))
            return
        self.sent += self._unsent
        self._unsent = b""
        if self._closing:
            self._lose(None)
        elif self._writing_paused:
            self._writing_paused = False
            self.protocol.resume_writing()

    # -- the protocol's side ------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self._peer, "socket": self._socket}.get(name, default)

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading and not self._closing:
            self._reading = True
            self._deliver_soon()

    def write(self, data: Any) -> None:
        self._ensure_alive()
        assert not self._eof, "a write after the end of what is written"
        if self._losing:
            return
        self.marks.append((self.written, self.received))
        self.written += len(data)
        self._unsent += bytes(data)
        self._flush_soon()
        if len(self._unsent) > self._high_water and not self._writing_paused:
            self._writing_paused = True
            self.protocol.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_water = HIGH_WATER if high is None else high

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._ensure_alive()
        self._eof = True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self._unsent:
                self._lose(None)

    def abort(self) -> None:
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
        self._loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._inbound.clear()
        self.protocol.connection_lost(error)
