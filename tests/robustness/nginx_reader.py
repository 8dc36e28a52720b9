"""A real nginx as the third reader.

Bytes go verbatim to a server of nginx that passes on, to a server of ours, each message that it understood: buffered,
so only when it is whole, and written anew by nginx. Behind the bytes goes a *sentinel*, a request of the reader's own:
when nginx sees no such message, the bytes before have swallowed it.

For responses it is the other way round: nginx asks our server, gets the bytes as the answer, and what it understood is
what it tells its client.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from pathlib import Path

from tests.robustness.message import Ending, Fields, Message, Reading
from tests.robustness.response_readers import Answer, read_with_h11
from tests.support.nginx import Nginx
from tests.support.ports import free_port

_SENTINEL = Message(b"GET", b"/sentinel", b"sentinel.test")
_SENTINEL_BYTES = b"GET /sentinel HTTP/1.1\r\nHost: sentinel.test\r\nConnection: close\r\n\r\n"

_REMEMBERED = 1000
"""Readings that are kept: the same bytes often come several times in a row."""

_SERVERS = """
    large_client_header_buffers 8 128k;
    client_body_buffer_size 1m;
    underscores_in_headers on;
    ignore_invalid_headers off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{sink};
            proxy_ignore_client_abort on;
            proxy_set_header Host $http_host;
            proxy_set_header Reader-Port $remote_port;
        }}
    }}
    server {{
        listen 127.0.0.1:{response_port};
        location / {{
            proxy_pass http://127.0.0.1:{replay};
            proxy_http_version 1.1;
            proxy_buffer_size 128k;
            proxy_buffers 8 128k;
            proxy_busy_buffers_size 256k;
        }}
    }}
"""


class NginxReader:
    """Runs nginx, and the servers that it reports to, from :meth:`start` to :meth:`stop`, on the running loop."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._nginx: Nginx | None = None
        self._servers: list[asyncio.Server] = []
        self._seen: dict[int, list[Message]] = {}
        """Messages by the port of the connection that they were read on."""
        self._replayed = b""
        self._requests: dict[bytes, Reading] = {}
        self._responses: dict[tuple[bytes, bytes], Answer] = {}

    async def start(self) -> None:
        """Return when nginx accepts connections."""
        sink = await asyncio.start_server(self._sink, "127.0.0.1", 0, limit=1 << 20)
        replay = await asyncio.start_server(self._replay, "127.0.0.1", 0, limit=1 << 20)
        self._servers = [sink, replay]
        self._response_port = free_port()
        ports = {"sink": _port(sink), "replay": _port(replay), "response_port": self._response_port}
        port = free_port()
        self._nginx = Nginx(self._directory, _SERVERS.format(port=port, **ports), port=port)
        self._nginx.start()

    async def stop(self) -> None:
        """End nginx and the servers."""
        if self._nginx is not None:
            self._nginx.stop()
        for server in self._servers:
            server.close()
            await server.wait_closed()

    # -- requests -----------------------------------------------------------------------------------------------------

    async def read(self, data: bytes, *, whole: bool) -> Reading:
        """All requests of *data*; *whole* says that other readers see no unfinished one at the end."""
        known = self._requests.get(data)
        if known is None:
            if len(self._requests) >= _REMEMBERED:
                self._requests.clear()
            known = self._requests[data] = await self._read(data, whole=whole)
        return known

    async def _read(self, data: bytes, *, whole: bool) -> Reading:
        assert self._nginx is not None
        with await _connected(self._nginx.port) as sock:
            seen = self._seen[sock.getsockname()[1]] = []
            answer = await _exchange(sock, data + _SENTINEL_BYTES if whole else data, half_close=not whole)
            del self._seen[sock.getsockname()[1]]
        if whole and seen and seen[-1] == _SENTINEL:
            return Reading(tuple(seen[:-1]), Ending.WHOLE)
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 ([2-9][0-9]{2})", answer)]
        if statuses and statuses[-1] != 200:
            return Reading(tuple(seen), Ending.REFUSED, reason=f"status {statuses[-1]}")
        return Reading(tuple(seen), Ending.UNFINISHED)

    async def _sink(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one message as nginx writes it, which is plain HTTP/1.0 with a Content-Length."""
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].split(b"\r\n")
        method, target, _ = line.split(b" ")
        fields: Fields = tuple((name.lower(), value.strip()) for name, _, value in (s.partition(b":") for s in lines))
        values = dict(fields)
        content = await reader.readexactly(int(values.get(b"content-length", b"0")))
        message = Message(method, target, values.get(b"host", b""), content, fields)
        self._seen[int(values[b"reader-port"])].append(message)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    # -- responses ----------------------------------------------------------------------------------------------------

    async def read_response(self, data: bytes, method: bytes) -> Answer:
        """The answer to a request with *method* that *data* is; with status 502 when nginx takes it for none."""
        known = self._responses.get((data, method))
        if known is None:
            if len(self._responses) >= _REMEMBERED:
                self._responses.clear()
            self._replayed = data
            with await _connected(self._response_port) as sock:
                request = method + b" / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
                answer = await _exchange(sock, request, half_close=False)
            known = self._responses[data, method] = read_with_h11(answer, method)
        return known

    async def _replay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._replayed)
        writer.close()
        with contextlib.suppress(ConnectionError):  # nginx leaves when it has what it takes for a whole message
            await writer.wait_closed()


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _connected(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def _exchange(sock: socket.socket, data: bytes, *, half_close: bool) -> bytes:
    """Send *data* and return what comes until the other side closes; a reset counts as the end too."""
    loop = asyncio.get_running_loop()
    received = []
    with contextlib.suppress(ConnectionError):
        await loop.sock_sendall(sock, data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionError):
        while part := await loop.sock_recv(sock, 1 << 16):
            received.append(part)
    return b"".join(received)
