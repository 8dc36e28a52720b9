"""One connection of a backend that fails as it is asked to: reads requests, and has what faults are made of.

The target of a request is ``/<fault>/<identity in hex>/<size>/<framing>``: what is to go wrong, whose answer it is, how
much content the answer has, and how its body is framed (``length``, ``chunked``, or ``close``: until the connection
ends). The right answer is a :mod:`tests.support.labelled_body`, so that a client can tell it from any other. The faults
themselves are in :mod:`tests.support.faults`.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from tests.support.labelled_body import labelled

PIECE = 4096
"""Bytes of one chunk of a body that is sent in chunks."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_ESTABLISHED = 1
_TARGET = re.compile(rb"([A-Z]+) /([a-z-]+)/([0-9a-f]+)/([0-9]+)/(length|chunked|close) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: chunked\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Request:
    """What arrived so far of the request that a connection reads."""

    method: bytes
    fault: str
    identity: int
    size: int
    framing: str
    remaining: int
    """Bytes of its body that are due: of all, or of this chunk; -1 while a chunk's size is due."""
    chunked: bool
    answered: bool = False
    """Before it was read."""
    upload_size: int = 0
    upload_checksum: int = 0

    @property
    def complete(self) -> bool:
        return self.remaining == 0 and not self.chunked

    def body(self) -> bytes:
        """The body of the right answer."""
        size, checksum = self.upload_size, self.upload_checksum
        return labelled(self.identity, self.method.decode(), self.size, size, checksum)

    def pick(self, choices: tuple[bytes, ...]) -> bytes:
        """The one of *choices* whose turn it is with this identity."""
        return choices[self.identity % len(choices)]


Fault: TypeAlias = Callable[["FaultyConnection", Request], None]
AT_HEAD: dict[str, Fault] = {}
"""What goes wrong before the body of a request is read."""
AFTER_BODY: dict[str, Fault] = {}
"""What goes wrong when the whole request was read."""


class Tally:
    """What one backend has open, and has seen."""

    def __init__(self) -> None:
        self.connections: set[FaultyConnection] = set()
        self.accepted = 0
        self.requests = 0
        self.strange: list[str] = []
        """Requests that no proxy may send: whoever finds one here has found a fault of the proxy."""

    def state(self) -> dict[str, Any]:
        return {
            "open": len(self.connections),
            "accepted": self.accepted,
            "requests": self.requests,
            "strange": self.strange[:10],
        }


class FaultyConnection(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.loop = asyncio.get_running_loop()
        self.transport = cast(asyncio.Transport, None)
        self._buffer = b""
        self._request: Request | None = None
        self._busy = False
        self._unread = False
        self.doom = ""
        """What happens when the next request begins: ``close`` or ``reset``."""

    # -- transport callbacks ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._tally.connections.add(self)
        self._tally.accepted += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self.doom:
            self.end(self.doom)
            return
        self._buffer += data
        if not self._busy:
            self._read()

    def eof_received(self) -> bool:
        return False

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        while self._buffer and not self._busy and not self._unread and not self.transport.is_closing():
            request = self._request
            if request is None:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
                request = self._begin(head)
                if request is None:
                    return
                fault = AT_HEAD.get(request.fault)
                if fault is not None:
                    fault(self, request)
            elif not self._read_body(request):
                return
            if request.complete and not self.transport.is_closing() and not self._unread:
                self._request = None
                if not request.answered:
                    AFTER_BODY[request.fault](self, request)

    def _begin(self, head: bytes) -> Request | None:
        if head.startswith(b"GET /-/state "):
            body = json.dumps(self._tally.state()).encode()
            self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return None
        self._tally.requests += 1
        match = _TARGET.match(head)
        if match is None or (match[2].decode() not in AFTER_BODY and match[2].decode() not in AT_HEAD):
            self._tally.strange.append(head.decode("latin-1"))
            self.end("reset")
            return None
        length = _LENGTH.search(head)
        chunked = _CHUNKED.search(head) is not None
        remaining = -1 if chunked else int(length[1]) if length is not None else 0
        self._request = Request(
            match[1], match[2].decode(), int(match[3], 16), int(match[4]), match[5].decode(), remaining, chunked
        )
        return self._request

    def _read_body(self, request: Request) -> bool:
        """Take some of the body; False when more has to arrive first."""
        if request.chunked and request.remaining < 0:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return False
            size = int(self._buffer[:end], 16)
            if size:
                request.remaining = size
                self._buffer = self._buffer[end + 2 :]
                return True
            last = self._buffer.find(b"\r\n\r\n")
            if last < 0:
                return False
            self._buffer = self._buffer[last + 4 :]
            request.remaining, request.chunked = 0, False
            return True
        needed = request.remaining + 2 * request.chunked
        if request.chunked and len(self._buffer) < needed:
            return False
        part = self._buffer[: request.remaining]
        self._buffer = self._buffer[needed:] if request.chunked else self._buffer[len(part) :]
        request.upload_size += len(part)
        request.upload_checksum = zlib.crc32(part, request.upload_checksum)
        request.remaining = -1 if request.chunked else request.remaining - len(part)
        return True

    # -- what faults are made of --------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something in *seconds*, unless the connection is gone by then."""
        self.loop.call_later(seconds, lambda: None if self.transport.is_closing() else do())

    def reads(self, request: Request) -> bool:
        """True while the body of *request* has not wholly been read."""
        return self._request is request

    def head(self, request: Request, size: int, *fields: bytes) -> bytes:
        """The head of the right answer, whose body has *size* bytes."""
        framing = {
            "length": b"Content-Length: %d\r\n" % size,
            "chunked": b"Transfer-Encoding: chunked\r\n",
            "close": b"Connection: close\r\n",
        }[request.framing]
        return b"HTTP/1.1 200 OK\r\nX-Identity: %x\r\n%b%b\r\n" % (request.identity, framing, b"".join(fields))

    def framed(self, request: Request, body: bytes, *, end: bool = True) -> bytes:
        """*body* as the request's framing has it; without its last chunk unless *end*."""
        if request.framing != "chunked":
            return body
        pieces = (body[at : at + PIECE] for at in range(0, len(body), PIECE))
        return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if end else b"")

    def whole(self, request: Request, *fields: bytes) -> bytes:
        """The right answer."""
        body = request.body()
        shown = b"" if request.method == b"HEAD" else self.framed(request, body)
        return self.head(request, len(body), *fields) + shown

    def half(self, request: Request) -> bytes:
        """The first half of the right answer's body, framed, after the head of the whole."""
        body = request.body()
        return self.head(request, len(body)) + self.framed(request, body[: len(body) // 2], end=False)

    def answer(self, request: Request, *fields: bytes) -> None:
        """Give the right answer."""
        self.send(self.whole(request, *fields))
        if request.framing == "close":
            self.transport.close()

    def end(self, how: str) -> None:
        """``close`` or ``reset`` the connection; ``stall`` leaves it open."""
        if how == "reset":
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()
        elif how == "close":
            self.transport.close()

    def read_no_more(self) -> None:
        """Leave in the kernel whatever the proxy sends."""
        self._unread = True
        self.transport.pause_reading()
        self._watch_end()

    def _watch_end(self) -> None:
        """Who does not read is not told of the end either: ask the kernel."""
        sock = self.transport.get_extra_info("socket")
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
            self.transport.abort()
        else:
            self.later(0.02, self._watch_end)

    def trickle(self, data: bytes, then: Callable[[], None]) -> None:
        """Send *data* byte by byte, then do *then*."""
        self._busy = True
        self.send(data[:1])
        if len(data) > 1:
            self.later(0.001, lambda: self.trickle(data[1:], then))
            return
        self._busy = False
        then()
        self._read()
