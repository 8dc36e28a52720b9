"""The connections to one endpoint.

The pool decides at once from what it has; only a dial waits. The connection that was used last is used first, so that
the others can grow old and be closed.

Where the endpoint speaks HTTP/2 a connection is kept as long as it has streams, and who finds none with room for
another joins a dial that is under way (:mod:`vrata.proxy.upstream.shared_connections`).

With a limit there is a *queue*: who finds neither an idle connection nor a free place waits in it, first come first
served, and gets the first connection that becomes idle, the first stream that becomes free, or the first place. While
somebody waits no connection is idle. The pools of one destination share the queue (:mod:`vrata.proxy.upstream.queue`),
and places are shared with the other workers (:mod:`vrata.proxy.upstream.places`).
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
from vrata.net.upstream_tls import HTTP2, TlsSessions, UpstreamTls
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.balancing.peak_ewma import PeakEwma
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.upstream.carrier import Carrier
from vrata.proxy.upstream.draining import Draining
from vrata.proxy.upstream.http1_connection import ConnectionPool, Http1Connection
from vrata.proxy.upstream.http2_connection import Http2Connection, SharedPool
from vrata.proxy.upstream.http2_stream import Http2Stream
from vrata.proxy.upstream.places import Places
from vrata.proxy.upstream.queue import Queue
from vrata.proxy.upstream.queued_pool import QueuedPool
from vrata.proxy.upstream.shared_connections import SharedConnections
from vrata.proxy.upstream.waiting import Dial, TooManyWaiting, Waiting

_log = structlog.get_logger("vrata.proxy.upstream")

MAX_IDLE = 2048
"""Idle connections kept for one endpoint by one worker.

What is idle was busy a moment ago, so there are never more than the load has lately needed at once, and the oldest go
after ``idleConnection``. A small bound would save little memory (measured: 2 KiB a connection, and 4 of the kernel's)
and cost a dial for each request of every burst above it: with 16 clients of HTTP/2, each with 32 requests under way, a
bound of 256 made a request to a backend of HTTP/1 two and a half times as dear. This one is there for the burst that
does not come again: it must not hold descriptors by the ten thousand for a minute and a half."""


MAX_TRIES = 3
"""Connections that may come about, and serve nobody who hoped for them, or none who needs a tunnel."""

_ALONE = -1


class EndpointPool(ConnectionPool, SharedPool, QueuedPool):
    """Connections of one worker to one endpoint. Survives swaps; a swap may change its limits, and what it speaks."""

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
        self.idle: list[Http1Connection | Http2Connection] = []
        # By age, so that what is closed together is closed in the same order in every run.
        self._connections: dict[Http1Connection | Http2Connection, None] = {}
        self._dialling: dict[Dial, None] = {}
        self._shared = SharedConnections()
        self.retired = False
        self.tls: UpstreamTls | None = None
        """How connections are secured that are opened from now on; :meth:`secure` changes it."""
        self.http2 = False
        """Connections that are opened from now on are to speak HTTP/2; over TLS as far as the endpoint does."""
        self._generation = 0
        """Counts the changes of the two: connections of an earlier one serve no further requests."""
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
        self.leaving: set[Http1Connection | Http2Connection] = set()
        """Connections that are about to end."""
        self.draining = Draining()
        """Those that are to end when their streams have."""
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
        """Attempts under way: those that have a connection or a stream, hope for a dial, or wait."""
        return len(self._connections) - len(self.idle) + len(self._dialling) + len(self.line) + self._shared.beside

    @property
    def in_use(self) -> int:
        """What needs a place: connections until their sockets are closed, and those that are being dialled."""
        return len(self._connections) + self._lost + len(self._dialling)

    @property
    def shared(self) -> list[Http2Connection]:
        """Those of the connections that carry several exchanges at once."""
        return [each for each in self._connections if isinstance(each, Http2Connection)]

    @property
    def max_requests(self) -> int:
        """Requests over one connection; 0 = any number. Holds for those that are open, too."""
        return self._shared.max_requests

    @max_requests.setter
    def max_requests(self, number: int) -> None:
        self._shared.max_requests = number

    def time(self) -> float:
        """Seconds of the clock that :attr:`latency` is measured on."""
        return self._loop.time()

    def take(self, is_tunnel: bool = False) -> Carrier | None:
        """A carrier for one exchange at once, or None; with *is_tunnel* one that can carry an upgrade to WebSocket."""
        if self.http2:
            shared = self._shared.find(is_tunnel)
            if shared is not None:
                return self.open(shared)
        idle = self.idle
        at = len(idle)
        while at:
            at -= 1
            connection = idle[at]
            if isinstance(connection, Http1Connection):
                del idle[at]
                if not connection.closed:
                    return connection
        return None

    def dial(
        self,
        timeouts: UpstreamTimeouts,
        connected: Callable[[Carrier], bool],
        failed: Callable[[DialError | TooManyWaiting], None],
        is_tunnel: bool = False,
    ) -> Waiting:
        """Open a connection and give what carries an exchange on it to *connected*, or call *failed*.

        *connected* says whether it wants it. When the limit leaves no place for a connection, this is done later, or
        one that has become idle is given. What is returned takes the request back (:meth:`leave`). Raises
        :class:`~vrata.proxy.upstream.waiting.TooManyWaiting`.
        """
        waiting = Waiting(timeouts, connected, failed, is_tunnel)
        if self._queue is not None:
            self._queue.arrive(waiting)
        self.seek(waiting)
        return waiting

    def seek(self, waiting: Waiting) -> None:
        """Find a connection for *waiting*, for which there is none yet. Raises like :meth:`dial`."""
        if self.http2 and self._shared.join(waiting):
            return
        if self._queue is not None:
            self._queue.enter(self, waiting)
        else:
            self.start_dial(waiting)

    def leave(self, waiting: Waiting) -> None:
        """*waiting* wants no connection any more."""
        dial = waiting.dial
        waiting.is_over = True
        self._shared.leave(waiting)
        if self._queue is not None:
            if dial is not None:
                self._fill(dial)
            self._queue.leave(self, waiting)

    def give_back(self, connection: Http1Connection, idle_timeout: float) -> None:
        """An exchange is done with *connection*, which can serve another one."""
        connection.reader = None
        if connection.generation != self._generation or 0 < self.max_requests <= connection.served:
            connection.close()
            return
        if self._queue is not None and self._queue.pass_on(self, connection):
            return
        if self.retired or len(self.idle) >= MAX_IDLE:
            connection.close()
            return
        connection.deadline = self._loop.time() + idle_timeout
        self.idle.append(connection)

    # -- connections of HTTP/2 ----------------------------------------------------------------------------------------

    def open(self, connection: Http2Connection) -> Http2Stream:
        """A stream of *connection*, which has room."""
        if connection.is_idle:
            connection.is_idle = False
            self.idle.remove(connection)
        return self._shared.open(connection)

    def stream_ended(self, connection: Http2Connection) -> None:
        """One stream less is open on *connection*: it may serve others, or be idle, or have to end."""
        self._shared.ended(connection)
        if not connection.closed:
            self._employ(connection)

    def has_room(self, connection: Http2Connection) -> None:
        """*connection* may have room for more streams than before."""
        if connection in self._connections and not connection.closed:
            self._employ(connection)

    def withdraw(self, connection: Http2Connection) -> None:
        """*connection* takes no further streams now."""
        self._shared.withdraw(connection)

    def _employ(self, connection: Http2Connection) -> None:
        """Find work for *connection*."""
        if connection.generation != self._generation or self.retired:
            connection.retire()
        elif self._queue is not None:
            self._queue.share(self, connection)
        if connection.takes_no_more:
            if not connection.streams:
                connection.close()
            return
        self._shared.offer(connection)
        if connection.streams or connection.is_idle:
            return
        if len(self.idle) >= MAX_IDLE:
            connection.close()
            return
        connection.deadline = self._loop.time() + connection.idle_timeout
        connection.is_idle = True
        self.idle.append(connection)

    # -- the end of connections ---------------------------------------------------------------------------------------

    def lost(self, connection: Http1Connection | Http2Connection) -> None:
        """*connection* is closed."""
        if connection in self.idle:
            self.idle.remove(connection)
        if isinstance(connection, Http2Connection):
            self.draining.forget(connection)
        if connection in self._connections:
            del self._connections[connection]
            if self._queue is not None:
                # The event loop closes the socket after it has told us; until then nobody else may have its place.
                self._queue.leaves(self, connection)
                self._lost += 1
                self._loop.call_soon(self._has_left, connection)

    def drop(self, connection: Http1Connection | Http2Connection) -> None:
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

    def secure(self, tls: UpstreamTls | None, *, http2: bool = False) -> None:
        """From now on use connections only that are secured by *tls*, and speak HTTP/2 where *http2* says so.

        Those under way finish what they do.
        """
        if tls == self.tls and http2 == self.http2:
            return
        if tls != self.tls:
            self._sessions = TlsSessions() if tls is not None else None
        self.tls = tls
        self.http2 = http2
        self._generation += 1
        self._shared.forget()
        self._retire_all()

    def retire(self) -> None:
        """The endpoint is no longer configured: keep nothing idle, let running exchanges finish."""
        self.retired = True
        self._retire_all()
        if self.places is not None:
            self.places.retire()
        if self._queue is not None:
            self._queue.settle(self)

    def _retire_all(self) -> None:
        for connection in list(self._connections):
            if isinstance(connection, Http2Connection):
                connection.retire()
        for idle in list(self.idle):
            idle.close()
        self.idle.clear()

    def _has_left(self, connection: Http1Connection | Http2Connection) -> None:
        """The socket of *connection* is closed."""
        self._lost -= 1
        if self._queue is not None:
            self._queue.has_left(self, connection)
        else:
            self.leaving.discard(connection)

    # -- dialling -----------------------------------------------------------------------------------------------------

    def start_dial(self, waiting: Waiting) -> None:
        """Open a connection for *waiting*, for which there is a place; others may join it."""
        shared = self._shared
        # What takes no requests for tunnels is asked for none, but for an upgrade over a connection of its own.
        is_alone = self.http2 and waiting.is_tunnel and shared.has_tunnels is False
        dial = Dial(waiting.timeouts, is_alone)
        shared.hope(dial, waiting)
        self._dialling[dial] = None
        dial.task = self._tasks.start(self._dial(dial), name=f"dial {self.host}:{self.port}")
        # A task that is cancelled before its first step runs no finally.
        dial.task.add_done_callback(lambda _: self._dialled(dial))
        if self.http2 and not is_alone:
            shared.dialling(dial)
            self._fill(dial)

    def _fill(self, dial: Dial) -> None:
        """Have those hope for *dial* who stand in the line."""
        queue, shared = self._queue, self._shared
        while queue is not None and shared.room_of(dial) > 0 and (waiting := queue.draw(self)) is not None:
            shared.hope(dial, waiting)

    def _dialled(self, dial: Dial) -> None:
        if dial in self._dialling:
            del self._dialling[dial]
            self._shared.dialled(dial)
        if self._queue is not None:
            self._queue.settle(self)

    async def _dial(self, under_way: Dial) -> None:
        connection: Http1Connection | Http2Connection | None = None
        error: DialError
        try:
            connection = await self._connect(under_way)
        except DialError as failure:
            error = failure
        except Exception as fault:  # noqa: BLE001 - whoever waits must hear of it
            _log.exception("dial failed unexpectedly", host=self.host, port=self.port)
            error = DialError(DialStage.CONNECT, str(fault))
        if connection is None:
            for waiting in self._shared.dialled(under_way):
                waiting.failed(error)
            return
        self._connections[connection] = None
        del self._dialling[under_way]  # counted as a connection from here on
        self.sweeper.watch(connection)
        hopeful = self._shared.dialled(under_way)
        if isinstance(connection, Http2Connection):
            self._distribute(connection, hopeful)
        else:
            self._assign(connection, hopeful, under_way.timeouts.idle_connection)

    async def _connect(self, under_way: Dial) -> Http1Connection | Http2Connection:
        """Raises :class:`~vrata.net.dial.DialError`."""
        tls, generation, timeouts = self.tls, self._generation, under_way.timeouts
        sessions = self._sessions
        offers_http2 = self.http2 and not under_way.is_alone
        if under_way.is_alone and tls is not None and tls.http1 is not None:
            tls, sessions = tls.http1, None  # a session belongs to what it was made with
        connection = await dial(
            self.host,
            self.port,
            lambda agreed: self._make(agreed, tls, offers_http2),
            resolver=self._resolver,
            connect_timeout=timeouts.connect,
            fallback_delay=timeouts.dual_stack_fallback,
            tls=tls,
            sessions=sessions,
            handshake_timeout=timeouts.tls_handshake,
        )
        connection.generation = _ALONE if under_way.is_alone else generation
        if isinstance(connection, Http2Connection):
            connection.idle_timeout = timeouts.idle_connection
            await connection.settled(timeouts.connect if tls is None else timeouts.tls_handshake)
            if generation == self._generation:
                self._shared.learn(connection)
            return connection
        if offers_http2 and generation == self._generation:
            self._shared.learn(None)
        if connection.closed:  # a server may have its last word in the moment after the handshake
            stage = DialStage.CONNECT if tls is None else DialStage.TLS_HANDSHAKE
            raise DialError(stage, connection.refusal or "closed by the upstream")
        return connection

    def _make(self, agreed: str, tls: UpstreamTls | None, offers_http2: bool) -> Http1Connection | Http2Connection:
        """The protocol object of a connection on which ALPN has *agreed* on something; in clear it cannot."""
        if offers_http2 and (tls is None or agreed == HTTP2):
            return Http2Connection(self, self._loop, tls)
        return Http1Connection(self, tls)

    def _distribute(self, connection: Http2Connection, hopeful: list[Waiting]) -> None:
        """Serve the *hopeful* by the streams of *connection*, as far as it can."""
        others: list[Waiting] = []
        begun = connection.begun
        for waiting in hopeful:
            if not connection.has_room or (waiting.is_tunnel and not connection.has_tunnels):
                others.append(waiting)
                continue
            stream = self.open(connection)
            if not waiting.connected(stream):
                stream.close()
        if not connection.closed:
            self._employ(connection)
        for waiting in others:
            self._seek_again(waiting, is_in_vain=waiting.is_tunnel or connection.begun == begun)

    def _assign(self, connection: Http1Connection, hopeful: list[Waiting], idle_timeout: float) -> None:
        """Give *connection* to the first of the *hopeful*; if more have hoped, it was to be one of HTTP/2."""
        is_taken = False
        for waiting in hopeful:
            if is_taken:
                self._seek_again(waiting, is_in_vain=False)
            elif waiting.connected(connection):
                is_taken = True
        if not is_taken:
            self.give_back(connection, idle_timeout)

    def _seek_again(self, waiting: Waiting, *, is_in_vain: bool) -> None:
        """The connection that *waiting* has hoped for came about, and cannot serve it.

        *is_in_vain*: nor has it served others in its place, so that nothing says that this would come to an end.
        """
        if waiting.is_over:
            return  # given up while others were served
        if is_in_vain:
            waiting.tries += 1
            if waiting.tries > MAX_TRIES:
                waiting.failed(DialError(DialStage.CONNECT, "the connections that came about allow no further streams"))
                return
        carrier = self.take(waiting.is_tunnel)
        if carrier is not None:
            if not waiting.connected(carrier):
                carrier.close()
            return
        try:
            self.seek(waiting)
        except TooManyWaiting as refusal:
            waiting.failed(refusal)
