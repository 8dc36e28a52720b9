"""An HTTP/1 client for an event loop that shows the bytes, and sends whatever a test likes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable
from typing import TypeVar

from tests.support.raw_http import Response, TruncatedResponse

TIMEOUT = 30.0
"""Seconds that any single wait may take before the test fails."""

T = TypeVar("T")


def request(
    line: str, *fields: str, host: str | None = "proxy.test", body: bytes | None = None, version: str = "1.1"
) -> bytes:
    """The bytes of a request, ``line`` being method and target; *body* goes with a Content-Length."""
    lines = [f"{line} HTTP/{version}", *([] if host is None else [f"Host: {host}"]), *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "".join(f"{text}\r\n" for text in lines).encode("latin-1") + b"\r\n" + (body or b"")


async def within(awaitable: Awaitable[T], what: str) -> T:
    """The result of *awaitable*; an ``AssertionError`` that names *what* when it takes too long."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await awaitable
    except TimeoutError as error:
        raise AssertionError(f"not within {TIMEOUT:g} s: {what}") from error


class StreamClient:
    """One client connection to the loopback address."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int = 0, tls: ssl.SSLContext | None = None) -> StreamClient:
        """Connect, with TLS if there is a context for it; *receive_buffer* in bytes makes the kernel hold less for us
        than it would.
        """
        sock = socket.socket()
        try:
            sock.setblocking(False)
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        name = None if tls is None else "proxy.test"
        return cls(*await asyncio.open_connection(sock=sock, limit=1 << 16, ssl=tls, server_hostname=name))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def exchange(self, line: str, *fields: str, body: bytes | None = None) -> Response:
        """Send a request and read its final response."""
        self.send(request(line, *fields, body=body))
        return await self.read_response(line.partition(" ")[0])

    async def read_response(self, method: str = "GET", *, interim: bool = False) -> Response:
        """Read a response to a request with *method*; 1xx responses are skipped unless *interim*."""
        while True:
            head = await self.read_head()
            if interim or head.status >= 200:
                break
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            return head
        if head.all("transfer-encoding"):
            assert head["transfer-encoding"] == "chunked"
            assert "content-length" not in head
            return Response(head.status, head.reason, head.headers, *await self._read_chunks())
        if "content-length" in head:
            return Response(
                head.status, head.reason, head.headers, await self.read_exactly(int(head["content-length"]))
            )
        return Response(head.status, head.reason, head.headers, await within(self._reader.read(), "end of response"))

    async def read_head(self) -> Response:
        """Read the head of a response."""
        try:
            data = await within(self._reader.readuntil(b"\r\n\r\n"), "response head")
        except asyncio.IncompleteReadError as cut:
            raise TruncatedResponse(cut.partial) from cut
        line, *lines = data[:-4].decode("latin-1").split("\r\n")
        version, status, reason = [*line.split(" ", 2), ""][:3]
        assert version == "HTTP/1.1", line
        pairs = [text.partition(":") for text in lines]
        return Response(int(status), reason, tuple((name.lower(), value.strip()) for name, _, value in pairs), b"")

    async def read_exactly(self, size: int) -> bytes:
        try:
            return await within(self._reader.readexactly(size), f"{size} bytes")
        except asyncio.IncompleteReadError as cut:
            raise TruncatedResponse(cut.partial) from cut

    async def ending(self) -> str:
        """Wait until the proxy ends the connection: ``closed`` or ``reset``, anything else is what it sent before."""
        try:
            data = await within(self._reader.read(), "end of the connection")
        except ConnectionResetError:
            return "reset"
        return "closed" if not data else f"sent {data!r}"

    async def is_silent(self, seconds: float) -> bool:
        """True when nothing came for *seconds*, not even the end."""
        try:
            async with asyncio.timeout(seconds):
                await self._reader.readexactly(1)
        except TimeoutError:
            return True
        except asyncio.IncompleteReadError:
            return False
        return False

    def half_close(self) -> None:
        """Say that we send no more."""
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """End the connection so that the proxy sees a reset."""
        reset(self.writer)

    async def gone(self) -> None:
        """Close, and wait until that is done."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def _read_chunks(self) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        content: list[bytes] = []
        trailers: list[tuple[str, str]] = []
        try:
            while size := int(await self._read_line(), 16):
                content.append(await self.read_exactly(size))
                assert await self._read_line() == b""
            while line := (await self._read_line()).decode("latin-1"):
                name, _, value = line.partition(":")
                trailers.append((name, value.strip()))
        except TruncatedResponse as cut:
            raise TruncatedResponse(b"".join(content) + cut.received) from cut
        return b"".join(content), tuple(trailers)

    async def _read_line(self) -> bytes:
        try:
            return (await within(self._reader.readuntil(b"\r\n"), "chunk"))[:-2]
        except asyncio.IncompleteReadError as cut:
            raise TruncatedResponse(b"") from cut


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None:  # uvloop knows none any more when the other side has ended the connection
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()
