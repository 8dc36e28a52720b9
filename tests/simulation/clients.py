"""Clients: each connection asks one thing after another, and reads the answers strictly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.peers import dechunk, framing, split_head
from tests.simulation.scenario import Request
from tests.support.labelled_body import content
from vrata.net.memory_transport import MemoryTransport
from vrata.net.write_buffer import reset_on_close

LARGE = 60_000
"""Bytes of a body that may be too much to be read while there is no connection to send it on."""


@dataclass(slots=True)
class Asked:
    """A request on its way, and what came of it."""

    request: Request
    began: float
    user: str
    cookie: str
    """The session that it named; empty for none."""
    status: int = 0
    fields: dict[bytes, list[bytes]] = field(default_factory=dict)
    body: bytes = b""
    end: str = ""
    """``complete``, ``cut`` or ``left``; empty while it goes on."""
    ended: float = 0.0
    # What the referee has seen of it: endpoint, time and number of each attempt, and outcomes at endpoints.
    attempts: list[tuple[str, float, int]] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    @property
    def leaves_half_open(self) -> bool:
        """The client has gone in a way that looks as if it only had nothing more to say."""
        return self.end == "left" and not self.request.resets

    @property
    def may_go_unnoticed(self) -> bool:
        """The client has gone, and the proxy may not know: it is not reading."""
        return self.leaves_half_open or (self.end == "left" and self.request.upload > LARGE)


class ClientConnection:
    """The protocol of one connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answered: Callable[[ClientConnection, Asked], None],
        violation: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._answered = answered
        self._violation = violation
        self._data = b""
        self._asked: Asked | None = None
        self._length: int | None = None
        self._has_head = False
        self._pieces: list[bytes] = []
        self._timers: list[asyncio.TimerHandle] = []
        self.is_open = False
        """It can ask something else."""
        self.is_lost = False

    def connection_made(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self.is_open = True

    def ask(self, asked: Asked) -> None:
        """Send a request; its body may follow bit by bit."""
        request = asked.request
        self._asked = asked
        self.is_open = False
        self._has_head = False
        upload = content(request.number, request.upload)
        fields = b"host: simulated.test\r\nx-user: %b\r\n" % asked.user.encode()
        if asked.cookie:
            fields += b"cookie: pin=%b\r\n" % asked.cookie.encode()
        pieces = [upload]
        if request.method in ("PUT", "POST"):
            step = max(1, -(-len(upload) // request.pieces))
            pieces = [upload[at : at + step] for at in range(0, len(upload), step)] or [b""]
            if request.chunked:
                fields += b"transfer-encoding: chunked\r\n"
                pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"" for piece in pieces]
                pieces[-1] += b"0\r\n\r\n"
            else:
                fields += b"content-length: %d\r\n" % len(upload)
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method.encode(), request.target.encode(), fields)
        self._pieces = pieces
        self._transport.write(head + self._pieces.pop(0))
        if self._pieces:
            self._timers.append(self._loop.call_later(request.pause, self._send_piece))
        if request.leaves_after:
            self._timers.append(self._loop.call_later(request.leaves_after, self._leave))

    def _send_piece(self) -> None:
        asked = self._asked
        if asked is None or self.is_lost:
            return
        self._transport.write(self._pieces.pop(0))
        if self._pieces:
            self._timers.append(self._loop.call_later(asked.request.pause, self._send_piece))

    def _leave(self) -> None:
        asked = self._asked
        if asked is None:
            return
        if asked.request.resets:
            reset_on_close(self._transport)
            self._transport.abort()
        else:
            self._transport.close()
        self._end("left")

    def close(self) -> None:
        """Nothing more is asked here."""
        self.is_open = False
        if not self.is_lost:
            self._transport.close()

    # -- what comes ---------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        asked = self._asked
        if asked is None:
            self._violation(f"bytes that nobody has asked for: {data[:60]!r}")
            return
        self._data += data
        while not self._has_head:
            found = split_head(self._data)
            if found is None:
                return
            line, asked.fields, self._data = found
            asked.status = int(line[9:12])
            self._has_head = asked.status >= 200
        self._length = None if asked.request.method == "HEAD" else framing(asked.fields)
        if asked.request.method == "HEAD" or asked.status in (204, 304):
            self._complete(self._data)
        elif self._length is None:
            asked.body = self._data
        elif self._length < 0:
            asked.body, rest = dechunk(self._data)
            if rest is not None:
                self._complete(rest)
        else:
            asked.body = self._data[: self._length]
            if len(self._data) >= self._length:
                self._complete(self._data[self._length :])

    def _complete(self, rest: bytes) -> None:
        self._data = b""
        asked = self._asked
        assert asked is not None
        if rest:
            self._violation(f"bytes behind the answer to n{asked.request.number}: {rest[:60]!r}")
        unfinished = bool(self._pieces)
        closes = b"close" in asked.fields.get(b"connection", [])
        self._end("complete")
        if unfinished or closes:
            self.close()
        else:
            self.is_open = not self.is_lost
        self._answered(self, asked)

    def eof_received(self) -> bool:
        self.is_open = False
        asked = self._asked
        if asked is not None and self._has_head and self._length is None and asked.request.method != "HEAD":
            self._end("complete")
            self._answered(self, asked)
        return False

    def connection_lost(self, exc: Any) -> None:
        self.is_lost = True
        self.is_open = False
        asked = self._asked
        if asked is not None:
            self._end("cut")
            self._answered(self, asked)

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    def _end(self, how: str) -> None:
        asked, self._asked = self._asked, None
        assert asked is not None
        asked.end = how
        asked.ended = self._loop.time()
        self._pieces = []
        for timer in self._timers:
            timer.cancel()
        self._timers = []
