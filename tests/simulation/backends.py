"""Upstreams: each endpoint answers as its behaviour at the moment says, and checks what it is sent."""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

from tests.fuzz.peers import dechunk, framing, split_head
from tests.simulation.journal import Journal
from tests.simulation.scenario import GOOD, Behaviour
from tests.support.labelled_body import content
from vrata.net.memory import MemoryNetwork, MemoryServer
from vrata.net.memory_transport import MemoryTransport
from vrata.net.write_buffer import reset_on_close

_TARGET = re.compile(rb"([A-Z]+) /r\d+/n(\d+)/s(\d+) HTTP/1\.1")
_STATUSES = {"404": b"404 Not Found", "500": b"500 Oops", "502": b"502 Bad", "503": b"503 Busy"}
_WHOLE = frozenset({"answer", "answer and close", "answer and drop", "dribble", "early", "early and on"})
DRIBBLES, DRIBBLE_PAUSE = 4, 0.1


class Observer(Protocol):
    def arrived(self, endpoint: str, number: int, outcome: str) -> None: ...
    def upload_came(self, endpoint: str, number: int, upload: bytes) -> None: ...
    def violation(self, text: str) -> None: ...


class Backend:
    """One endpoint."""

    def __init__(
        self, identifier: str, loop: asyncio.AbstractEventLoop, network: MemoryNetwork, journal: Journal, seed: int
    ) -> None:
        self.identifier = identifier
        self.loop = loop
        self.journal = journal
        self.seed = seed
        self.behaviour = GOOD
        self.observer: Observer
        self.connections: dict[BackendConnection, None] = {}
        self.probes = 0
        host, _, port = identifier.rpartition(":")
        self._network = network
        self._host, self._port = host, int(port)
        self._path = network.path(self._host, self._port)
        self._server: MemoryServer | None = None

    def behave(self, behaviour: Behaviour) -> None:
        """From now on treat requests like that."""
        self.journal.note(f"{self.identifier} is {behaviour.name}")
        self.behaviour = behaviour
        self._path.refuses = behaviour.refuses
        self._path.is_silent = behaviour.is_silent
        if behaviour.is_gone:
            if self._server is not None:
                self._server.close()
                self._server = None
            for connection in list(self.connections):
                connection.reset()
        elif self._server is None:
            self._server = self._network.serve(self._host, self._port, lambda: BackendConnection(self))


class BackendConnection:
    """The protocol of one connection: one request after the other."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None
        self._outcome = ""
        self._length: int | None = None
        self._is_reading_body = False
        self._is_busy = False
        self._is_answered = False
        self._is_over = False
        # Of the present request.
        self._method = b""
        self._number = 0
        self._size = 0

    def connection_made(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._backend.connections[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        self._backend.connections.pop(self, None)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    def reset(self) -> None:
        self._is_over = True
        reset_on_close(self._transport)
        self._transport.abort()

    def close(self) -> None:
        self._is_over = True
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._data += data
        if self._is_reading_body:
            self._read_body()
            return
        if self._is_busy:
            self._backend.observer.violation(
                f"{self._backend.identifier} got bytes behind n{self._number}: {data[:60]!r}"
            )
            return
        found = split_head(self._data)
        if found is not None:
            self._begin(*found)

    def _begin(self, line: bytes, fields: dict[bytes, list[bytes]], rest: bytes) -> None:
        backend = self._backend
        self._is_busy = True
        self._is_answered = False
        if line.startswith(b"GET /health "):
            self._data = rest
            self._answer_probe()
            return
        target = _TARGET.fullmatch(line)
        assert target is not None, line
        self._method, self._number, self._size = target[1], int(target[2]), int(target[3])
        behaviour = backend.behaviour
        attempt = fields[b"x-vrata-attempt-count"][0]
        of = (backend.seed, backend.identifier, self._number, attempt)
        self._outcome = behaviour.outcome(*of)
        thinks = behaviour.thinking(*of)
        backend.journal.note(f"  {backend.identifier} got n{self._number}: {self._outcome} in {thinks:.3f}")
        backend.observer.arrived(backend.identifier, self._number, self._outcome)
        self._length = framing(fields)
        self._data = rest
        self._is_reading_body = bool(self._length)
        if self._outcome in ("early", "early and on") or not self._length:
            self._timer = backend.loop.call_later(thinks, self._answer)
        if self._is_reading_body:
            self._thinks = thinks
            self._read_body()
        else:
            self._upload_ended(b"", rest)

    def _read_body(self) -> None:
        assert self._length is not None
        if self._length < 0:
            upload, rest = dechunk(self._data)
        else:
            upload = self._data[: self._length]
            rest = self._data[self._length :] if len(self._data) >= self._length else None
        if rest is None:
            return
        self._is_reading_body = False
        self._upload_ended(upload, rest)
        if self._is_answered:
            self._is_busy = False
        elif self._timer is None:
            self._timer = self._backend.loop.call_later(self._thinks, self._answer)

    def _upload_ended(self, upload: bytes, rest: bytes) -> None:
        self._data = rest
        backend = self._backend
        if rest:
            backend.observer.violation(f"{backend.identifier} got bytes behind n{self._number}: {rest[:60]!r}")
        if upload != content(self._number, len(upload)):
            backend.observer.violation(f"{backend.identifier} got another body than that of n{self._number}")
        backend.observer.upload_came(backend.identifier, self._number, upload)

    # -- answering ----------------------------------------------------------------------------------------------------

    def _answer_probe(self) -> None:
        backend = self._backend
        backend.probes += 1
        outcome = backend.behaviour.outcome(backend.seed, backend.identifier, "probe", backend.probes)
        status = _STATUSES[outcome] if outcome in ("500", "502", "503") else b"200 OK"
        if outcome in ("hang", "reset", "cut", "short"):
            return
        self._transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status)
        self._is_busy = False

    def _answer(self) -> None:
        self._timer = None
        backend, outcome, number = self._backend, self._outcome, self._number
        if outcome == "hang":
            return
        if outcome == "reset":
            self.reset()
            return
        body = content(number, self._size) if outcome not in _STATUSES else b"E" * 10
        status = _STATUSES.get(outcome, b"200 OK")
        closes = outcome in ("answer and close", "early")
        fields = b"x-endpoint: %b\r\nx-request: %d\r\n" % (backend.identifier.encode(), number)
        if closes:
            fields += b"connection: close\r\n"
        way = number % 7
        if self._method == b"HEAD":
            fields += b"content-length: %d\r\n" % len(body)
            body = b""
        elif way == 0 and outcome not in _STATUSES and not self._is_reading_body:  # only the close tells its end
            closes = True
        elif way in (1, 2) and outcome not in _STATUSES:
            fields += b"transfer-encoding: chunked\r\n"
            cuts = [body[at : at + 4000] for at in range(0, len(body), 4000)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(cut), cut) for cut in cuts) + b"0\r\n\r\n"
        else:
            fields += b"content-length: %d\r\n" % len(body)
        head = b"HTTP/1.1 %b\r\n%b\r\n" % (status, fields)
        if outcome in ("cut", "short"):
            if not body:
                self.reset()
                return
            self._transport.write(head + body[: len(body) // 2])
            # A moment later, or what was written would not arrive.
            self._timer = backend.loop.call_later(0.001, self.reset if outcome == "cut" else self.close)
            return
        if outcome == "dribble" and len(body) >= DRIBBLES:
            self._transport.write(head)
            step = -(-len(body) // DRIBBLES)
            self._dribble([body[at : at + step] for at in range(0, len(body), step)], closes)
            return
        self._transport.write(head + body)
        self._answered(closes)

    def _dribble(self, pieces: list[bytes], closes: bool) -> None:
        self._transport.write(pieces.pop(0))
        if pieces:
            self._timer = self._backend.loop.call_later(DRIBBLE_PAUSE, self._dribble, pieces, closes)
        else:
            self._answered(closes)

    def _answered(self, closes: bool) -> None:
        self._timer = None
        self._is_answered = True
        self._is_busy = self._is_reading_body
        if closes:
            self.close()
        elif self._outcome == "answer and drop":
            self._timer = self._backend.loop.call_later(0.001 * (self._number % 50), self.close)


def may_be_incomplete(outcome: str) -> bool:
    """Whether a body that breaks off is what the upstream has sent."""
    return outcome not in _WHOLE and outcome not in _STATUSES
