"""The process of one backend: answers every GET, in the way it is told to on its standard input.

    python -m bench.faults.server <name> <port>

Each line is the name of a :data:`MANNERS` with an optional number, and is repeated on standard output when it is in
force; the first line there says ``ready``. The process ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import ctypes
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
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, self._received = self._received[:end], self._received[end + 4 :]
            server = self._server
            is_check = head.startswith(b"GET " + HEALTH.encode() + b" ")
            answer = server.bad if server.manner == "error" and not is_check else server.good
            if server.manner == "delay":
                self._loop.call_later(server.delay, self._write, answer)
            else:
                self._write(answer)

    def _write(self, answer: bytes) -> None:
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
        server.obey(line)
        _say(line)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as _runner:
        _runner.run(main(sys.argv[1], int(sys.argv[2])))
