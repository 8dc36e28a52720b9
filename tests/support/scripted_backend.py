"""A backend whose every byte the test sends itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from tests.support.accepting_backend import TIMEOUT, AcceptingBackend


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

    async def serve(self) -> None:
        """The test reads."""

    async def wait_closed(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """Close so that the proxy sees a reset."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.close()


class ScriptedBackend(AcceptingBackend[BackendConnection]):
    """See the module's head."""

    def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> BackendConnection:
        return BackendConnection(reader, writer)
