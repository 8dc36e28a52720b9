"""A backend whose every byte the test sends itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from types import TracebackType
from typing import Self

TIMEOUT = 10.0
"""Seconds that any single wait may take before the test fails."""


class BackendConnection:
    """One connection as the backend has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read_head(self) -> bytes:
        """The bytes up to and including the next empty line."""
        return await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), TIMEOUT)

    async def read(self, size: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(size), TIMEOUT)

    async def read_to_end(self) -> bytes:
        """What comes until the proxy closes; a reset counts as the end too."""
        try:
            return await asyncio.wait_for(self._reader.read(), TIMEOUT)
        except ConnectionResetError:
            return b""

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()

    async def wait_closed(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """Close so that the proxy sees a reset."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.close()


class ScriptedBackend:
    """Listens on an ephemeral loopback port; an asynchronous context manager."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._accepted: asyncio.Queue[BackendConnection] = asyncio.Queue()
        self._open: list[BackendConnection] = []
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

    async def accept(self) -> BackendConnection:
        """The next connection."""
        return await asyncio.wait_for(self._accepted.get(), TIMEOUT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = BackendConnection(reader, writer)
        self.connections += 1
        self._open.append(connection)
        self._accepted.put_nowait(connection)
