"""The connections to one endpoint.

The pool decides at once from what it has; only a dial waits. The connection that was used last is used first, so that
the others can grow old and be closed.

With a limit there is a *queue*: who finds neither an idle connection nor a free place waits in it, first come first
served, and gets the first connection that becomes idle or the first place that becomes free. While somebody waits no
connection is idle. Places are shared with the other workers (:mod:`vrata.proxy.upstream.places`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import structlog

from vrata.net.deadlines import NEVER, DeadlineSweeper, Watched
from vrata.net.dial import DialError, DialStage, dial
from vrata.net.resolver import Resolver, ResolvesNames
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.balancing.peak_ewma import PeakEwma
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.upstream.connection import ConnectionPool, UpstreamConnection
from vrata.proxy.upstream.places import Places

_log = structlog.get_logger("vrata.proxy.upstream")

MAX_IDLE = 256
"""Idle connections kept for one endpoint by one worker.

What is idle was busy a moment ago, so there are never more than the load has lately needed at once, and the oldest go
after ``idleConnection``. A small bound would save little memory (measured: 2 KiB a connection, and 4 of the kernel's)
and cost a dial for each request of every burst above it. This one is there for the burst that does not come again: it
must not hold descriptors by the thousand for a minute and a half."""

MAX_WAITING = 1024
"""Requests that wait for a connection to one endpoint in one worker; the next one fails at once.

A queue this long is not worked off in the time that anybody waits for an answer. It is also what the pending requests
of a circuit breaker are limited to by default. Each may hold :data:`~vrata.proxy.upstream.exchange.MAX_UNSENT` bytes of
a body, and what was read at once."""


class TooManyWaiting(Exception):  # noqa: N818 - an outcome
    """:data:`MAX_WAITING` requests wait for a connection already."""


class Waiting:
    """One who waits for a connection."""

    __slots__ = ("connected", "failed", "since", "timeouts")

    def __init__(
        self,
        timeouts: UpstreamTimeouts,
        connected: Callable[[UpstreamConnection], bool],
        failed: Callable[[DialError], None],
        since: int,
    ) -> None:
        self.timeouts = timeouts
        self.connected = connected
        self.failed = failed
        self.since = since
        """Milliseconds of the loop's clock."""


class EndpointPool(ConnectionPool, Watched):
    """Connections of one worker to one endpoint. Survives swaps; a swap may change its limit."""

    def __init__(
        self,
        host: str,
        port: int,
        sweeper: DeadlineSweeper,
        tasks: TaskSupervisor,
        resolver: ResolvesNames | None = None,
    ) -> None:
        """*resolver* is the worker's; without one the pool has its own."""
        self.host = host
        self.port = port
        self.sweeper = sweeper
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks
        self._resolver = resolver if resolver is not None else Resolver(tasks)
        self._idle: list[UpstreamConnection] = []
        self._connections: set[UpstreamConnection] = set()
        self._dialling: set[asyncio.Task[None]] = set()
        self._retired = False
        self.latency: PeakEwma | None = None
        """How long attempts take; None when nobody wants to know."""
        # Only with a limit.
        self.places: Places | None = None
        self._queue: OrderedDict[Waiting, None] = OrderedDict()
        self._dropped = 0
        self._leaving = 0
        self.deadline = NEVER

    def __repr__(self) -> str:
        return (
            f"<EndpointPool {self.host}:{self.port} {len(self._connections)} connections, {len(self._idle)} idle, "
            f"{len(self._dialling)} dialling{f', {len(self._queue)} waiting' if self._queue else ''}"
            f"{', retired' if self._retired else ''}>"
        )

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def in_flight(self) -> int:
        """Attempts under way: connections that are used, are being dialled, or are waited for."""
        return len(self._connections) - len(self._idle) + len(self._dialling) + len(self._queue)

    def time(self) -> float:
        """Seconds of the clock that :attr:`latency` is measured on."""
        return self._loop.time()

    def take_idle(self) -> UpstreamConnection | None:
        """The most recently used idle connection, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
        return None

    def dial(
        self,
        timeouts: UpstreamTimeouts,
        connected: Callable[[UpstreamConnection], bool],
        failed: Callable[[DialError], None],
    ) -> Waiting | None:
        """Open a connection and give it to *connected*, which says whether it wants it; or call *failed*.

        When the limit leaves no place for it, this is done later, or a connection that has become idle is given;
        what is returned then takes the request out of the queue again (:meth:`leave`). Raises :class:`TooManyWaiting`.
        """
        places = self.places
        if places is None:
            self._start_dial(timeouts, connected, failed)
            return None
        now = self._now()
        if not self._queue:
            has_place = places.take(now, now)
            if not has_place and self._idle and not self._leaving:
                # Who asks for a new one although one is idle does not trust those that are.
                self._drop(self._idle.pop(0))
            if has_place:
                self._start_dial(timeouts, connected, failed)
                return None
        if len(self._queue) >= MAX_WAITING:
            raise TooManyWaiting
        waiting = Waiting(timeouts, connected, failed, now)
        self._queue[waiting] = None
        self._show_waiting()
        self.sweeper.watch(self)
        return waiting

    def leave(self, waiting: Waiting) -> None:
        """*waiting* wants no connection any more."""
        self._queue.pop(waiting, None)
        self._show_waiting()
        self._settle()

    def give_back(self, connection: UpstreamConnection, idle_timeout: float) -> None:
        """An exchange is done with *connection*, which can serve another one."""
        connection.reader = None
        if self.places is not None and self._passed_on(connection, self.places):
            return
        if self._retired or len(self._idle) >= MAX_IDLE:
            connection.close()
            return
        connection.deadline = self._loop.time() + idle_timeout
        self._idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """*connection* is closed."""
        if connection.reader is None and connection in self._idle:
            self._idle.remove(connection)
        if connection in self._connections:
            self._connections.remove(connection)
            if self.places is not None:
                # The event loop closes the socket after it has told us; until then no other worker may have its place.
                self._leaving += 1
                self._loop.call_soon(self._left)

    def limit(self, places: Places) -> None:
        """From now on connections need a place, those that are open as well; the surplus is closed when it is idle."""
        self.places = places
        self._settle()
        self.sweeper.watch(self)
        self.deadline = 0.0  # every sweep
        self.look_around()

    def unlimit(self) -> None:
        """From now on connections need no place."""
        places, self.places = self.places, None
        self.sweeper.forget(self)
        self.deadline = NEVER
        if places is not None:
            places.leave()
        while self._queue:
            waiting, _ = self._queue.popitem(last=False)
            self._start_dial(waiting.timeouts, waiting.connected, waiting.failed)

    def retire(self) -> None:
        """The endpoint is no longer configured: keep nothing idle, let running exchanges finish."""
        self._retired = True
        for connection in list(self._idle):
            connection.close()
        self._idle.clear()
        if self.places is not None:
            self.places.retire()
            self._settle()

    def expire(self) -> None:
        """Another sweep."""
        if self._idle or self._queue:
            self.look_around()

    def look_around(self) -> None:
        """Do what the other workers and the limit ask for: give idle connections up, take places that are free."""
        places = self.places
        if places is None:
            return
        while self._idle and self._owes(places):
            self._drop(self._idle.pop(0))
        self._admit()

    # -- the queue ----------------------------------------------------------------------------------------------------

    def _passed_on(self, connection: UpstreamConnection, places: Places) -> bool:
        """Give *connection* up if it is owed, else to the first who waits; false if it may stay idle."""
        if self._owes(places):
            self._drop(connection)
            return True
        while self._queue:
            waiting, _ = self._queue.popitem(last=False)
            self._show_waiting()
            if waiting.connected(connection):
                return True
        return False

    def _admit(self) -> None:
        """Dial for those who wait, as far as there are places."""
        places = self.places
        while places is not None and self._queue and places.take(self._waiting_since(), self._now()):
            waiting, _ = self._queue.popitem(last=False)
            self._show_waiting()
            self._start_dial(waiting.timeouts, waiting.connected, waiting.failed)

    def _settle(self) -> None:
        """The number of connections may have changed."""
        places = self.places
        if places is None:
            return
        held = len(self._connections) + self._leaving + len(self._dialling)
        places.hold(held)
        if self._queue:
            self._admit()
        elif self._retired and not held:
            places.leave()
            self.sweeper.forget(self)

    def _waiting_since(self) -> int:
        for waiting in self._queue:
            return waiting.since
        return 0

    def _show_waiting(self) -> None:
        if self.places is not None:
            self.places.wait(self._waiting_since())

    def _now(self) -> int:
        return int(self._loop.time() * 1000)

    def _owes(self, places: Places) -> bool:
        """Whether a connection should be closed rather than used again."""
        return places.owed(self._waiting_since()) > self._dropped

    def _drop(self, connection: UpstreamConnection) -> None:
        """Close *connection*, which nobody uses, for the sake of its place."""
        self._dropped += 1
        connection.close()

    def _left(self) -> None:
        """A place is free."""
        self._leaving -= 1
        self._dropped = max(0, self._dropped - 1)
        self._settle()

    # -- dialling -----------------------------------------------------------------------------------------------------

    def _start_dial(
        self,
        timeouts: UpstreamTimeouts,
        connected: Callable[[UpstreamConnection], bool],
        failed: Callable[[DialError], None],
    ) -> None:
        dialling = self._tasks.start(self._dial(timeouts, connected, failed), name=f"dial {self.host}:{self.port}")
        self._dialling.add(dialling)
        dialling.add_done_callback(self._dialled)  # a task that is cancelled before its first step runs no finally

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._dialling.discard(task)
        self._settle()

    async def _dial(
        self,
        timeouts: UpstreamTimeouts,
        connected: Callable[[UpstreamConnection], bool],
        failed: Callable[[DialError], None],
    ) -> None:
        try:
            connection = await dial(
                self.host,
                self.port,
                lambda: UpstreamConnection(self),
                resolver=self._resolver,
                connect_timeout=timeouts.connect,
                fallback_delay=timeouts.dual_stack_fallback,
            )
        except DialError as error:
            failed(error)
            return
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            _log.exception("dial failed unexpectedly", host=self.host, port=self.port)
            failed(DialError(DialStage.CONNECT, str(error)))
            return
        self._connections.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._dialling.discard(task)  # counted as a connection from here on
        self.sweeper.watch(connection)
        if not connected(connection):
            self.give_back(connection, timeouts.idle_connection)
