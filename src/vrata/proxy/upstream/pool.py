"""The connections to one endpoint.

The pool decides at once from what it has; only a dial waits. The connection that was used last is used first, so that
the others can grow old and be closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from vrata.net.deadlines import DeadlineSweeper
from vrata.net.dial import DialError, DialStage, dial
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.upstream.connection import ConnectionPool, UpstreamConnection

_log = structlog.get_logger("vrata.proxy.upstream")

MAX_IDLE = 256
"""Idle connections kept for one endpoint by one worker."""


class EndpointPool(ConnectionPool):
    """Connections of one worker to one endpoint. Survives swaps; carries no setting of its own."""

    def __init__(self, host: str, port: int, sweeper: DeadlineSweeper, tasks: TaskSupervisor) -> None:
        self.host = host
        self.port = port
        self.sweeper = sweeper
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks
        self._idle: list[UpstreamConnection] = []
        self._connections: set[UpstreamConnection] = set()
        self._dialling = 0
        self._retired = False

    def __repr__(self) -> str:
        return (
            f"<EndpointPool {self.host}:{self.port} {len(self._connections)} connections, {len(self._idle)} idle, "
            f"{self._dialling} dialling{', retired' if self._retired else ''}>"
        )

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

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
    ) -> None:
        """Open a connection and give it to *connected*, which says whether it wants it; or call *failed*."""
        self._dialling += 1
        dialling = self._tasks.start(self._dial(timeouts, connected, failed), name=f"dial {self.host}:{self.port}")
        dialling.add_done_callback(self._dialled)  # a task that is cancelled before its first step runs no finally

    def give_back(self, connection: UpstreamConnection, idle_timeout: float) -> None:
        """An exchange is done with *connection*, which can serve another one."""
        connection.reader = None
        if self._retired or len(self._idle) >= MAX_IDLE:
            connection.close()
            return
        connection.deadline = self._loop.time() + idle_timeout
        self._idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """*connection* is closed."""
        self._connections.discard(connection)
        if connection.reader is None and connection in self._idle:
            self._idle.remove(connection)

    def retire(self) -> None:
        """The endpoint is no longer configured: keep nothing idle, let running exchanges finish."""
        self._retired = True
        for connection in list(self._idle):
            connection.close()
        self._idle.clear()

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._dialling -= 1

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
        self.sweeper.watch(connection)
        if not connected(connection):
            self.give_back(connection, timeouts.idle_connection)
