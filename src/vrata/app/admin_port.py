"""The admin port of the proxy: an HTTP server on sockets that are bound already."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import structlog

from vrata.model.host import host_and_port
from vrata.observability.tasks import TaskSupervisor

if TYPE_CHECKING:
    # What only this port needs costs nobody else memory or time.
    from vrata.net.http_server import HttpServer
    from vrata.proxy.supervisor.supervisor import Supervisor
    from vrata.proxy.sync.stream import SnapshotStream

_log = structlog.get_logger("vrata.proxy")


class AdminPort:
    """Serves on *sockets* from :meth:`open` to :meth:`close`; until then connections wait."""

    def __init__(self, sockets: Sequence[socket.socket], tasks: TaskSupervisor) -> None:
        self._sockets = list(sockets)
        self._tasks = tasks
        self._server: HttpServer | None = None
        self._serving: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<AdminPort {[listening.getsockname() for listening in self._sockets]}>"

    async def open(self, supervisor: Supervisor, stream: SnapshotStream) -> None:
        """Begin to answer what *supervisor* and *stream* know."""
        # Imported beside the loop, on which the workers are brought up meanwhile.
        for name in ("vrata.net.http_server", "vrata.proxy.admin.application"):
            await asyncio.to_thread(import_module, name)
        from vrata.net.http_server import HttpServer
        from vrata.proxy.admin.application import AdminApplication

        self._server = server = HttpServer(AdminApplication(supervisor, stream), None)
        self._serving = self._tasks.start(server.serve(self._sockets), name="admin port")
        for listening in self._sockets:
            _log.info("admin port listening", url=f"http://{host_and_port(*listening.getsockname()[:2])}")

    async def close(self) -> None:
        """Accept nothing more, answer what is under way, and return."""
        if self._server is not None and self._serving is not None:
            self._server.stop()
            await self._serving
        for listening in self._sockets:
            listening.close()
