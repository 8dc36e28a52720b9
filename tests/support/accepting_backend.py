"""What backends have in common whose connections a test takes one by one."""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

TIMEOUT = 30.0
"""Seconds that any single wait may take before the test fails."""


class Accepted(Protocol):
    """A connection as the backend has it."""

    def close(self) -> None: ...

    async def serve(self) -> None:
        """Read, as far as that is not for the test to do, until the connection is over."""
        ...

    async def wait_closed(self) -> None: ...


ConnectionT = TypeVar("ConnectionT", bound=Accepted)


class AcceptingBackend(ABC, Generic[ConnectionT]):
    """Listens on an ephemeral loopback port; an asynchronous context manager."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._accepted: asyncio.Queue[ConnectionT] = asyncio.Queue()
        self._open: list[ConnectionT] = []
        self._server: asyncio.Server | None = None
        self.port = 0
        self.connections = 0
        """Connections accepted so far."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._open:
            connection.close()
            await connection.wait_closed()
        await self._server.wait_closed()

    async def accept(self) -> ConnectionT:
        """The next connection."""
        return await asyncio.wait_for(self._accepted.get(), TIMEOUT)

    async def next(self) -> ConnectionT:
        """The next connection, however long that takes."""
        return await self._accepted.get()

    @abstractmethod
    def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> ConnectionT:
        """What a connection is."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self._connection(reader, writer)
        self.connections += 1
        self._open.append(connection)
        self._accepted.put_nowait(connection)
        await connection.serve()
