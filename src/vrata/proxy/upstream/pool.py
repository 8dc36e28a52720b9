"""The connections to one endpoint.

The pool decides at once from what it has; only a dial waits. The connection that was used last is used first, so that
the others can grow old and be closed.

With a limit there is a *queue*: who finds neither an idle connection nor a free place waits in it, first come first
served, and gets the first connection that becomes idle or the first place that becomes free. While somebody waits no
connection is idle. The pools of one destination share the queue (:mod:`vrata.proxy.upstream.queue`), and places are
shared with the other workers (:mod:`vrata.proxy.upstream.places`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import structlog

from vrata.model.host import host_and_port
from vrata.net.deadlines import DeadlineSweeper
from vrata.net.dial import DialError, DialStage, dial
from vrata.net.resolver import Resolver, ResolvesNames
from vrata.net.upstream_tls import TlsSessions, UpstreamTls
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.balancing.peak_ewma import PeakEwma
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.upstream.http1_connection import ConnectionPool, Http1Connection
from vrata.proxy.upstream.places import Places
from vrata.proxy.upstream.queue import Queue, QueuedPool, Waiting

_log = structlog.get_logger("vrata.proxy.upstream")

MAX_IDLE = 256
"""Idle connections kept for one endpoint by one worker.

What is idle was busy a moment ago, so there are never more than the load has lately needed at once, and the oldest go
after ``idleConnection``. A small bound would save little memory (measured: 2 KiB a connection, and 4 of the kernel's)
and cost a dial for each request of every burst above it. This one is there for the burst that does not come again: it
must not hold descriptors by the thousand for a minute and a half."""


class EndpointPool(ConnectionPool, QueuedPool):
    """Connections of one worker to one endpoint. Survives swaps; a swap may change its limit, and how it is secured."""

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
        self.idle: list[Http1Connection] = []
        self._connections: set[Http1Connection] = set()
        self._dialling: set[asyncio.Task[None]] = set()
        self.retired = False
        self.tls: UpstreamTls | None = None
        """How connections are secured that are opened from now on; :meth:`secure` changes it."""
        self._sessions: TlsSessions | None = None
        self.latency: PeakEwma | None = None
        """How long attempts take; None when nobody wants to know."""
        # Only with a limit.
        self._queue: Queue | None = None
        self.places: Places | None = None
        """Those for connections to this endpoint; None when only those of the whole destination are limited."""
        self.line: OrderedDict[Waiting, None] = OrderedDict()
        self.held = 0
        """Connections that the queue knows of."""
        self.leaving: set[Http1Connection] = set()
        """Connections that are about to end."""
        self._lost = 0
        """Those of them whose end we know, while their sockets are still open."""

    def __repr__(self) -> str:
        return (
            f"<EndpointPool {self.host}:{self.port} {len(self._connections)} connections, {len(self.idle)} idle, "
            f"{len(self._dialling)} dialling{f', {len(self.line)} waiting' if self.line else ''}"
            f"{', retired' if self.retired else ''}>"
        )

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def in_flight(self) -> int:
        """Attempts under way: connections that are used, are being dialled, or are waited for."""
        return len(self._connections) - len(self.idle) + len(self._dialling) + len(self.line)

    @property
    def in_use(self) -> int:
        """What needs a place: connections until their sockets are closed, and those that are being dialled."""
        return len(self._connections) + self._lost + len(self._dialling)

    def time(self) -> float:
        """Seconds of the clock that :attr:`latency` is measured on."""
        return self._loop.time()

    def take_idle(self) -> Http1Connection | None:
        """The most recently used idle connection, or None."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
        return None

    def dial(
        self,
        timeouts: UpstreamTimeouts,
        connected: Callable[[Http1Connection], bool],
        failed: Callable[[DialError], None],
    ) -> Waiting | None:
        """Open a connection and give it to *connected*, which says whether it wants it; or call *failed*.

        When the limit leaves no place for it, this is done later, or a connection that has become idle is given;
        what is returned then takes the request out of the queue again (:meth:`leave`). Raises
        :class:`~vrata.proxy.upstream.queue.TooManyWaiting`.
        """
        queue = self._queue
        if queue is not None:
            return queue.enter(self, timeouts, connected, failed)
        self.start_dial(timeouts, connected, failed)
        return None

    def leave(self, waiting: Waiting) -> None:
        """*waiting* wants no connection any more."""
        if self._queue is not None:
            self._queue.leave(self, waiting)

    def give_back(self, connection: Http1Connection, idle_timeout: float) -> None:
        """An exchange is done with *connection*, which can serve another one."""
        connection.reader = None
        if connection.tls is not self.tls:
            connection.close()
            return
        if self._queue is not None and self._queue.pass_on(self, connection):
            return
        if self.retired or len(self.idle) >= MAX_IDLE:
            connection.close()
            return
        connection.deadline = self._loop.time() + idle_timeout
        self.idle.append(connection)

    def lost(self, connection: Http1Connection) -> None:
        """*connection* is closed."""
        if connection.reader is None and connection in self.idle:
            self.idle.remove(connection)
        if connection in self._connections:
            self._connections.remove(connection)
            if self._queue is not None:
                # The event loop closes the socket after it has told us; until then nobody else may have its place.
                self._queue.leaves(self, connection)
                self._lost += 1
                self._loop.call_soon(self._has_left, connection)

    def drop(self, connection: Http1Connection) -> None:
        """Close *connection*, which nobody uses, for the sake of its place."""
        if self._queue is not None:
            self._queue.leaves(self, connection)
        connection.close()

    def limit(self, queue: Queue | None, per_endpoint: int = 0) -> None:
        """From now on connections need places, those that are open as well; the surplus is closed when it is idle.

        Those are the places of *queue*, which is the destination's, and, unless it is 0, as many as *per_endpoint* of
        this endpoint alone. Without a queue they need none.
        """
        before, self._queue = self._queue, queue
        if self.places is not None and (queue is None or not per_endpoint):
            self.places.leave()
            self.places = None
        if before is not None and before is not queue:
            before.release(self)
        if queue is None:
            return
        if per_endpoint:
            if self.places is None:
                name = f"{queue.destination_id} {host_and_port(self.host, self.port)}"
                self.places = Places(per_endpoint, name, queue.number)
            self.places.limit = per_endpoint
        queue.adopt(self)

    def secure(self, tls: UpstreamTls | None) -> None:
        """From now on use connections only that are secured by *tls*; those under way finish what they do."""
        if tls == self.tls:
            return
        self.tls = tls
        self._sessions = TlsSessions() if tls is not None else None
        self._close_idle()

    def retire(self) -> None:
        """The endpoint is no longer configured: keep nothing idle, let running exchanges finish."""
        self.retired = True
        self._close_idle()
        if self.places is not None:
            self.places.retire()
        if self._queue is not None:
            self._queue.settle(self)

    def _close_idle(self) -> None:
        for connection in list(self.idle):
            connection.close()
        self.idle.clear()

    def _has_left(self, connection: Http1Connection) -> None:
        """The socket of *connection* is closed."""
        self._lost -= 1
        if self._queue is not None:
            self._queue.has_left(self, connection)
        else:
            self.leaving.discard(connection)

    # -- dialling -----------------------------------------------------------------------------------------------------

    def start_dial(
        self,
        timeouts: UpstreamTimeouts,
        connected: Callable[[Http1Connection], bool],
        failed: Callable[[DialError], None],
    ) -> None:
        """Open a connection, for which there is a place."""
        dialling = self._tasks.start(self._dial(timeouts, connected, failed), name=f"dial {self.host}:{self.port}")
        self._dialling.add(dialling)
        dialling.add_done_callback(self._dialled)  # a task that is cancelled before its first step runs no finally

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._dialling.discard(task)
        if self._queue is not None:
            self._queue.settle(self)

    async def _dial(
        self,
        timeouts: UpstreamTimeouts,
        connected: Callable[[Http1Connection], bool],
        failed: Callable[[DialError], None],
    ) -> None:
        tls = self.tls
        try:
            connection = await dial(
                self.host,
                self.port,
                lambda: Http1Connection(self, tls),
                resolver=self._resolver,
                connect_timeout=timeouts.connect,
                fallback_delay=timeouts.dual_stack_fallback,
                tls=tls,
                sessions=self._sessions,
                handshake_timeout=timeouts.tls_handshake,
            )
        except DialError as error:
            failed(error)
            return
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            _log.exception("dial failed unexpectedly", host=self.host, port=self.port)
            failed(DialError(DialStage.CONNECT, str(error)))
            return
        if connection.closed:  # a server may have its last word in the moment after the handshake
            stage = DialStage.CONNECT if tls is None else DialStage.TLS_HANDSHAKE
            failed(DialError(stage, connection.refusal or "closed by the upstream"))
            return
        self._connections.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._dialling.discard(task)  # counted as a connection from here on
        self.sweeper.watch(connection)
        if not connected(connection):
            self.give_back(connection, timeouts.idle_connection)
