"""The process of one backend: answers every GET, in the way it is told to on its standard input.

    python -m bench.faults.server <name> <port>

Each line is one of the :data:`MANNERS` with an optional number, and is repeated on standard output when it is in
force; or it is ``count``, and answered with a JSON object of what there was since the last time. The first line says
``ready``. The process ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import socket
import struct
import sys
from typing import cast

from vrata.net.event_loop import new_event_loop

HEALTH = "/health"
"""The path of health checks."""
MANNERS = ("serve", "error", "delay", "drop")
"""Answer with 200 (health checks always do); with 500; with 200 after so many seconds; or let the kernel drop whatever
arrives, unseen and unacknowledged, as if the host were gone."""

_ATTACH_FILTER, _DETACH_FILTER = 26, 27
"""SO_ATTACH_FILTER and SO_DETACH_FILTER of Linux, which the socket module does not name."""
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
"""A packet filter of one instruction: keep 0 bytes of every packet."""


def _answer(status: bytes, name: str) -> bytes:
    body = name.encode() * 64
    return b"HTTP/1.1 %s\r\nX-Backend: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, name.encode(), len(body), body)


class Server:
    """What the connections of the process share."""

    def __init__(self, name: str, listening: socket.socket) -> None:
        self.manner = "serve"
        self.delay = 0.0
        self.good = _answer(b"200 OK", name)
        self.bad = _answer(b"500 Internal Server Error", name)
        self.connections: set[Connection] = set()
        self._listening = listening
        self._under_way = 0
        self._requests = 0
        self._most_requests = 0
        self._most_connections = 0

    def accepted(self, connection: Connection) -> None:
        """*connection* begins."""
        self.connections.add(connection)
        self._most_connections = max(self._most_connections, len(self.connections))

    def began(self) -> None:
        """A request has come; health checks do not count."""
        self._requests += 1
        self._under_way += 1
        self._most_requests = max(self._most_requests, self._under_way)

    def ended(self) -> None:
        """It was answered."""
        self._under_way -= 1

    def count(self) -> str:
        """Requests, and the most requests and connections at once, since this was last asked."""
        found = {
            "requests": self._requests,
            "most_requests": self._most_requests,
            "most_connections": self._most_connections,
        }
        self._requests, self._most_requests = 0, self._under_way
        self._most_connections = len(self.connections)
        return json.dumps(found)

    def obey(self, line: str) -> None:
        """Answer in the manner that *line* names from now on."""
        manner, _, number = line.partition(" ")
        if manner not in MANNERS:
            raise ValueError(f"no such manner: {line}")
        if (manner == "drop") != (self.manner == "drop"):
            self._filter(manner == "drop")
        self.manner, self.delay = manner, float(number or 0)

    def _filter(self, on: bool) -> None:
        # Filters of sockets need no privileges and no tools, unlike those of the host; a new connection is filtered by
        # the listening socket.
        program = struct.pack("HL", 1, ctypes.addressof(_DROP_ALL))
        option = _ATTACH_FILTER if on else _DETACH_FILTER
        for sock in (self._listening, *(connection.socket for connection in self.connections)):
            sock.setsockopt(socket.SOL_SOCKET, option, program)


class Connection(asyncio.Protocol):
    """One connection: requests without bodies, one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, None)
        self._received = b""

    @property
    def socket(self) -> socket.socket:
        found: socket.socket = self._transport.get_extra_info("socket")
        return found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.accepted(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, self._received = self._received[:end], self._received[end + 4 :]
            server = self._server
            is_check = head.startswith(b"GET " + HEALTH.encode() + b" ")
            answer = server.bad if server.manner == "error" and not is_check else server.good
            if not is_check:
                server.began()
            if server.manner == "delay":
                self._loop.call_later(server.delay, self._write, answer, is_check)
            else:
                self._write(answer, is_check)

    def _write(self, answer: bytes, is_check: bool) -> None:
        if not is_check:
            self._server.ended()
        if not self._transport.is_closing():
            self._transport.write(answer)


async def main(name: str, port: int) -> None:
    """Serve until the standard input ends."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    server = Server(name, listening)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Connection(server), sock=listening, backlog=4096)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    _say("ready")
    while line := (await lines.readline()).decode().strip():
        if line == "count":
            _say(server.count())
        else:
            server.obey(line)
            _say(line)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as _runner:
        _runner.run(main(sys.argv[1], int(sys.argv[2])))
