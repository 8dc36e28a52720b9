"""A backend that is probed, and answers as the test wants it to at the moment."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class ProbedBackend:
    """Listens on an ephemeral loopback port; an asynchronous context manager. It stands for one endpoint.

    *answer* is sent to every request, unless it is None: then nothing is.
    """

    def __init__(self, answer: bytes | None = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        """Of the requests that came."""
        self.connections = 0
        """Open at the moment."""
        self.most_connections = 0
        """Open at once."""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def be(self, status: int) -> None:
        """Answer with *status* from now on."""
        self.answer = b"HTTP/1.1 %d Whatever\r\nContent-Length: 2\r\n\r\nok" % status

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.most_connections = max(self.connections, self.most_connections)
        self._writers.add(writer)
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer is not None:
                writer.write(self.answer)
            else:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections -= 1
            self._writers.discard(writer)
            writer.close()
