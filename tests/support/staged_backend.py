"""A backend that serves every connection with an ``async`` script, on the event loop of the test.

Unlike :class:`tests.support.recording_backend.RecordingBackend` it has no threads, and can wait for what the test does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

from tests.support.stream_client import reset, within
from vrata.observability.tasks import TaskSupervisor


@dataclass(slots=True)
class ReceivedRequest:
    """A request as it arrived; names of fields in lower case."""

    line: str
    fields: tuple[tuple[str, str], ...]
    connection: int
    """Which connection of the backend it came on, counted from 0."""
    body: bytes = b""
    trailers: tuple[bytes, ...] = ()
    """The lines behind the last chunk."""

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def all(self, name: str) -> list[str]:
        """Every value of the field *name* in order."""
        return [value for found, value in self.fields if found == name]

    @property
    def names(self) -> set[str]:
        """The names of all fields."""
        return {name for name, _ in self.fields}


class StagedConnection:
    """One accepted connection."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: list[ReceivedRequest]
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self._requests = requests

    async def read_head(self) -> ReceivedRequest:
        """Read a request's head. Raises :class:`EOFError` when the proxy closes instead."""
        data = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = data[:-4].decode("latin-1").split("\r\n")
        pairs = [text.partition(":") for text in lines]
        fields = tuple((name.lower(), value.strip()) for name, _, value in pairs)
        found = ReceivedRequest(line, fields, self.number)
        self._requests.append(found)
        return found

    async def read_body(self, request: ReceivedRequest) -> bytes:
        """Read the body that belongs to *request*."""
        if request.all("transfer-encoding"):
            parts = []
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                parts.append(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            trailers = []
            while line := (await self.reader.readuntil(b"\r\n"))[:-2]:
                trailers.append(line)
            request.body, request.trailers = b"".join(parts), tuple(trailers)
        else:
            request.body = await self.reader.readexactly(int((request.all("content-length") or ["0"])[0]))
        return request.body

    async def read_request(self) -> ReceivedRequest:
        """Read a whole request."""
        found = await self.read_head()
        await self.read_body(found)
        return found

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def respond(self, body: bytes = b"", *fields: str, status: int = 200) -> None:
        """Send a whole response with a Content-Length."""
        lines = "".join(f"{text}\r\n" for text in fields)
        head = f"HTTP/1.1 {status} Staged\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        self.send(head.encode("latin-1") + body)

    async def flush(self) -> None:
        """Wait until most of what was sent is on its way."""
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        reset(self.writer)

    async def gone(self) -> None:
        """Wait until the proxy has ended the connection, dropping what it sends before."""
        with contextlib.suppress(ConnectionError):
            while await within(self.reader.read(1 << 16), "the proxy ends the upstream connection"):
                pass


Script: TypeAlias = Callable[[StagedConnection], Awaitable[None]]


async def answer_ok(connection: StagedConnection) -> None:
    """Answer every request with ``ok``."""
    while True:
        await connection.read_request()
        connection.respond(b"ok")


class StagedBackend:
    """Listens on a loopback port; an asynchronous context manager. A script that fails fails the test."""

    def __init__(self, script: Script = answer_ok, *, receive_buffer: int = 0) -> None:
        self.script = script
        self.requests: list[ReceivedRequest] = []
        self.connections: list[StagedConnection] = []
        self.open = 0
        """Connections that neither side has ended."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._tasks = TaskSupervisor()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, sock=self._socket, limit=1 << 16)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._tasks.stop()
        for connection in self.connections:
            connection.writer.transport.abort()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = StagedConnection(len(self.connections), reader, writer, self.requests)
        self.connections.append(connection)
        self.open += 1
        self._tasks.start(self._serve(connection), name=f"backend connection {connection.number}")

    async def _serve(self, connection: StagedConnection) -> None:
        try:
            with contextlib.suppress(EOFError, ConnectionError):
                await self.script(connection)
        finally:
            self.open -= 1
            connection.close()
