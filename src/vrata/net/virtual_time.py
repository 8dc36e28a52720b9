"""An event loop on which time passes only when there is nothing else to do, or when it is told to let it pass.

Whole parts of Vrata run on it, with the network of :mod:`vrata.net.memory`: hours of traffic take seconds, and every
run of the same program is the same to the last callback. It runs ``async`` programs
(:meth:`VirtualTimeLoop.run_until_complete`, ``asyncio.Runner``), or is moved by hand (:meth:`VirtualTimeLoop.settle`,
:meth:`VirtualTimeLoop.advance`).
"""

from __future__ import annotations

import asyncio
import heapq
import socket
from asyncio import events
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import Context
from itertools import count
from typing import Any, TypeVar, TypeVarTuple

from vrata.net.memory import MemoryNetwork, MemoryServer
from vrata.net.memory_transport import MemoryTransport

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = 1000.0
"""What a new loop's clock shows."""
TURNS = 1000
"""Turns after which a loop that is told to settle is taken for one that never comes to rest."""
MOST_TURNS = 20_000
"""The same for one that runs a program."""


class NothingWillHappen(RuntimeError):  # noqa: N818 - an outcome
    """Somebody waits, and there is neither a callback nor a timer that could end it."""


def new_virtual_time_loop() -> VirtualTimeLoop:
    """Return a new loop, also for ``asyncio.Runner(loop_factory=new_virtual_time_loop)``."""
    return VirtualTimeLoop()  # type: ignore[abstract] # what is missing raises NotImplementedError when it is asked for


class VirtualTimeLoop(asyncio.AbstractEventLoop):
    """Its time is a number, its network is in memory. What a callback raises comes out of whatever turns the loop."""

    def __init__(self) -> None:
        self._now = START
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = count()
        self._error: BaseException | None = None
        self._running = False
        self._closed = False
        self._debug = False
        self.network = self._new_network()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._now:.3f}, {len(self._ready)} ready, {self.timers} timers>"

    def _new_network(self) -> MemoryNetwork:
        return MemoryNetwork(self)

    @property
    def timers(self) -> int:
        """Timers that are set and were not cancelled."""
        return sum(not handle.cancelled() for _, _, handle in self._timers)

    # -- turning it ---------------------------------------------------------------------------------------------------

    def settle(self, turns: int = TURNS) -> None:
        """Run what is ready, and what that makes ready, without letting time pass.

        Raises ``AssertionError`` when there is still something after so many *turns*.
        """
        ready = self._ready
        with self._turning():
            while ready:
                assert turns, "the loop does not come to rest"
                turns -= 1
                self._turn()

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.settle()
        end = self._now + seconds
        while self._next_timer(end):
            self.settle()
        self._now = end

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Let as much time pass as *future*, or a coroutine, needs; return its result.

        Raises :class:`NothingWillHappen` when it waits for what cannot come, and ``AssertionError`` when there is no
        end to what happens in one moment.
        """
        task: asyncio.Future[T] = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type] # noqa: TID251 - the caller owns it
        moment, turns = self._now, 0
        with self._turning():
            while not task.done():
                if not self._ready and not self._next_timer():
                    raise NothingWillHappen(f"nothing will happen, and {task!r} waits")
                if self._now > moment:
                    moment, turns = self._now, 0
                turns += 1
                assert turns < MOST_TURNS, "the loop does not come to rest"
                self._turn()
        return task.result()

    @contextmanager
    def _turning(self) -> Generator[None, None, None]:
        previous = events._get_running_loop()
        events._set_running_loop(self)
        self._running = True
        try:
            yield
        finally:
            self._running = False
            events._set_running_loop(previous)

    def _turn(self) -> None:
        """Run what is ready now."""
        ready = self._ready
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()
            if self._error is not None:
                error, self._error = self._error, None
                raise error

    def _next_timer(self, end: float = float("inf")) -> bool:
        """Let time pass until the next timer, at most until *end*, and make it ready; false if there is none."""
        timers = self._timers
        while timers and timers[0][0] <= end:
            when, _, handle = heapq.heappop(timers)
            if not handle.cancelled():
                self._now = max(self._now, when)
                self._ready.append(handle)
                return True
        return False

    # -- what asyncio asks of a loop ----------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds that have passed, and :data:`START`."""
        return self._now

    def get_debug(self) -> bool:
        """Whether debugging was asked for, which changes nothing."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """Remember it."""
        self._debug = enabled

    def is_running(self) -> bool:
        """Whether somebody turns it."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Forget what was to come."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    async def shutdown_asyncgens(self) -> None:
        """Nothing: generators are left to the garbage collector."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing: there are no threads."""

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call in the next turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call in the next turn."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call when *delay* seconds have passed."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call at a time; calls at the same time come in the order in which they were asked for."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when their time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Let it come out of whatever turns the loop."""
        error = context.get("exception")
        self._error = error if error is not None else AssertionError(context["message"])

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        """Return a task that runs *coro* from the next turn on."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    # -- the network --------------------------------------------------------------------------------------------------

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> list[Any]:
        """The addresses of a host in :attr:`network`."""
        return await self.network.address_infos(host, port, kwargs.get("family", 0))

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Dial *address* in :attr:`network`; *sock* only stands for the connection, and is never connected itself."""
        await self.network.connect(sock, address)

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        *,
        sock: socket.socket | None = None,
        **kwargs: Any,
    ) -> Any:
        """Dial, or take the connection that *sock* stands for. There is no TLS here."""
        assert kwargs.get("ssl") is None, "TLS is not the network's"
        protocol = protocol_factory()
        return await self._connection(protocol, host, port, sock), protocol

    async def _connection(self, protocol: Any, host: Any, port: Any, sock: socket.socket | None) -> MemoryTransport:
        network = self.network
        if sock is not None:
            return network.claim(sock, protocol)
        (_, _, _, _, address), *_ = await network.address_infos(host, port)
        return await network.dial(address, protocol)

    async def create_server(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        *,
        sock: Any = None,
        start_serving: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Listen on an address of :attr:`network`: that of *sock*, or *host* and *port*."""
        assert kwargs.get("ssl") is None, "TLS is not the network's"
        server = MemoryServer(
            self.network, protocol_factory, sock if sock is not None else self.network.bind(host, port)
        )
        if start_serving:
            await server.start_serving()
        return server

    def remove_reader(self, fd: Any) -> bool:
        """There is none to remove."""
        return False
