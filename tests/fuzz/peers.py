"""Both ends of a simulated proxy: clients that know what they asked, and upstreams that know what they answered.

Written apart from ``vrata.wire``. Whatever the proxy writes must be readable to these strict readers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.labelled_body import content
from tests.support.simulated_loop import SimulatedLoop, SimulatedTransport
from vrata.net.deadlines import NEVER

FIRST_IDENTITY = 0x5EED5EED
"""Identities are not found by chance in what a fuzzer invents."""

SHORTEST = 0.15
"""Seconds in which no limit passes."""

_IDENTITY = re.compile(rb"/(5eed[0-9a-f]{4}[0-9a-f]*)\b")
_REQUEST_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [^\x00-\x08\x0a-\x1f\x7f]*")
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*")
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")
_UNIT = re.compile(rb"([0-9a-f]{15})\.")


def split_head(data: bytes) -> tuple[bytes, dict[bytes, list[bytes]], bytes] | None:
    """First line, fields by name in lower case, and what follows; None while the head is unfinished."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    line, *lines = head.split(b"\r\n")
    fields: dict[bytes, list[bytes]] = {}
    for text in lines:
        assert _FIELD.fullmatch(text), text
        name, _, value = text.partition(b":")
        fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
    return line, fields, rest


def framing(fields: dict[bytes, list[bytes]]) -> int | None:
    """The length of a body, -1 for one in chunks, None for neither."""
    codings, lengths = fields.get(b"transfer-encoding", []), fields.get(b"content-length", [])
    assert not codings or (codings == [b"chunked"] and not lengths), "two framings"
    assert len(lengths) <= 1
    if codings:
        return -1
    return int(lengths[0]) if lengths else None


def dechunk(data: bytes) -> tuple[bytes, bytes | None]:
    """Content so far, and what follows the body; None while it goes on."""
    parts: list[bytes] = []
    while True:
        size = _CHUNK.match(data)
        if size is None:
            assert re.fullmatch(rb"([0-9a-f]+\r?)?", data), data[:40]
            return b"".join(parts), None
        length = int(size[1], 16)
        data = data[size.end() :]
        if not length:
            break
        parts.append(data[:length])
        end, data = data[length : length + 2], data[length + 2 :]
        assert b"\r\n".startswith(end), end
        if len(end) < 2:
            return b"".join(parts), None
    while not data.startswith(b"\r\n"):
        trailer, end, data = data.partition(b"\r\n")
        if not end:
            return b"".join(parts), None
        assert _FIELD.fullmatch(trailer), trailer
    return b"".join(parts), data[2:]


@dataclass(slots=True)
class Arrival:
    """A request as an upstream got it, and what it has answered."""

    identity: int | None
    method: bytes
    upgrade: bool = False
    upload_complete: bool = False
    strange_upload: bool = False
    """Its body is not what belongs to its identity."""
    answered: bool = False
    """An answer was begun."""
    finished: bool = False
    """All of the answer was sent; one without framing is finished by a close."""
    finished_at: float = NEVER
    without_framing: bool = False
    body: bytes = b""
    """Content of the whole answer."""
    endless: bool = False
    """The answer is an event stream, which no limit ends."""
    poisoned: bool = False
    """Anything may have come in the place of its answer."""


class UpstreamPeer:
    """The other side of a connection that the proxy has dialled."""

    def __init__(self, transport: SimulatedTransport, loop: SimulatedLoop) -> None:
        self.transport = transport
        self._loop = loop
        self.arrivals: list[Arrival] = []
        self.script: bytes = b""
        """What is left to send of the present answer."""
        self.sent = 0
        self._data = b""
        self._consumed = 0
        self._answer_left = 0
        # It has sent what may or may not have been an answer.
        self._uncertain = False
        self._stray: int | None = None
        """How many bytes had been sent when the first came that is no part of an answer."""

    @property
    def current(self) -> Arrival | None:
        """The request that is not answered."""
        if self.arrivals and not (self.arrivals[-1].finished and self.arrivals[-1].upload_complete):
            return self.arrivals[-1]
        return None

    def read(self) -> None:
        """Read what the proxy has sent, which must be requests, each after the answer to the one before."""
        self._data += self.transport.take()
        while self._data:
            present = self.arrivals[-1] if self.arrivals else None
            if present is not None and present.upgrade and present.answered:
                self._consume(len(self._data))  # a tunnel
                return
            if present is not None and not present.upload_complete:
                if not self._read_body(present):
                    return
                continue
            found = split_head(self._data)
            if found is None:
                return
            self._begin(*found)

    def _begin(self, line: bytes, fields: dict[bytes, list[bytes]], rest: bytes) -> None:
        assert _REQUEST_LINE.fullmatch(line), line
        poisoned = self._uncertain
        if self.arrivals:
            last = self.arrivals[-1]
            assert last.poisoned or (last.answered and last.finished), "a second request on a busy connection"
            assert not last.without_framing or last.poisoned, "another request behind an answer that a close ends"
        if self._stray is not None and not self._uncertain:
            had = max(received for written, received in self.transport.marks if written <= self._consumed)
            assert had < self._stray, "a request on a connection that had sent what nobody asked for"
            poisoned = True
        method = line.partition(b" ")[0]
        identity = _IDENTITY.search(line)
        self._length = framing(fields)
        self._upload = b""
        arrival = Arrival(int(identity[1], 16) if identity else None, method, poisoned=poisoned)
        arrival.upgrade = b"upgrade" in fields
        arrival.upload_complete = not self._length
        self.arrivals.append(arrival)
        self.script = b""
        self._consume(len(self._data) - len(rest))

    def _read_body(self, arrival: Arrival) -> bool:
        """Read the body as far as it is there; False when more has to come."""
        assert self._length is not None
        if self._length < 0:
            upload, rest = dechunk(self._data)
        else:
            upload = self._data[: self._length]
            rest = self._data[self._length :] if len(self._data) >= self._length else None
        if arrival.identity is not None and content(arrival.identity, len(upload)) != upload:
            arrival.strange_upload = True
        if rest is None:
            return False
        arrival.upload_complete = True
        self._consume(len(self._data) - len(rest))
        return True

    def _consume(self, size: int) -> None:
        self._data = self._data[size:]
        self._consumed += size

    # -- answering ----------------------------------------------------------------------------------------------------

    def prepare(self, choice: int, size: int) -> None:
        """Make up an answer to the present request; :meth:`send` sends it."""
        arrival = self.current
        if arrival is None or arrival.answered:
            return
        arrival.answered = True
        identity = arrival.identity or 0
        body = content(identity, size)
        way = choice & 3
        fields = b"x-identity: %x\r\n" % identity
        status, tail = b"200 OK", b""
        if choice & 4:
            self.script += b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n" * (1 + size % 5)
        if choice & 48 == 48:
            if arrival.upgrade:
                arrival.without_framing = arrival.poisoned = True
                self._answer_left = 1 << 30
                self.script += b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
                return
            status, way, body = b"204 No Content", 3, b""
        if choice & 64:
            fields += b"content-type: text/event-stream\r\n"
            arrival.endless = True
        if choice & 128:
            fields += b"connection: close\r\n"
        arrival.body = body
        if way == 0:
            fields += b"content-length: %d\r\n" % len(body)
            tail = body
        elif way == 1:
            fields += b"transfer-encoding: chunked\r\n"
            pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
            tail = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n"
            tail += b"x-trailer: 1\r\n\r\n" if choice & 16 else b"\r\n"
        elif way == 2:
            tail = body
            arrival.without_framing = True
        elif status[:1] == b"2" and status[:3] == b"200":
            fields += b"content-length: 0\r\n"
            arrival.body = b""
        if arrival.method == b"HEAD":
            arrival.body = tail = b""
            arrival.without_framing = False
        self.script += b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n" + tail
        self._answer_left = len(self.script)
        if choice & 8 and not arrival.without_framing:
            self._stray_behind(len(self.script))
            self.script += b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray"

    def send(self, size: int) -> None:
        """Send *size* bytes of what is prepared, 0 for all of it."""
        if self.transport.peer_ended:
            return
        piece = self.script[:size] if size else self.script
        self.script = self.script[len(piece) :]
        self.sent += len(piece)
        self._answer_left -= len(piece)
        self.transport.peer_sends(piece)
        if piece and self._answer_left <= 0 and not self.arrivals[-1].without_framing:
            self.arrivals[-1].finished = True
            self.arrivals[-1].finished_at = self._loop.time()

    def send_raw(self, data: bytes) -> None:
        """Send what is no answer, or who knows what."""
        if not data:
            return
        arrival = self.current
        if arrival is not None:
            arrival.poisoned = arrival.answered = True
            arrival.finished = self._uncertain = True
        else:
            self._stray_behind(0)
        self.sent += len(data)
        self.transport.peer_sends(data)

    def close(self, how: int) -> None:
        """End the connection in one of three ways."""
        arrival = self.current
        if arrival is not None and arrival.without_framing and len(self.script) <= len(arrival.body) and how < 2:
            # Nobody can tell that there was to be more.
            arrival.body = arrival.body[: len(arrival.body) - len(self.script)]
            arrival.finished = True
        [self.transport.peer_closes, self.transport.peer_ends, self.transport.peer_resets][how]()

    def _stray_behind(self, further: int) -> None:
        if self._stray is None:
            self._stray = self.sent + further + 1


@dataclass(slots=True)
class Asked:
    """A request that a client has made."""

    identity: int
    method: bytes
    minor: int
    upgrade: bool
    end: int
    """The bytes that the client has to send until it is whole."""
    began: float


@dataclass(slots=True)
class Answered:
    """An answer as a client reads it."""

    status: int
    fields: dict[bytes, list[bytes]]
    body: bytes
    complete: bool
    """False for one that breaks off, or whose end only a close could tell."""


class ClientPeer:
    """The other side of a connection that the proxy has accepted."""

    def __init__(self, transport: SimulatedTransport, loop: SimulatedLoop) -> None:
        self.transport = transport
        self._loop = loop
        self.asked: list[Asked] = []
        self.script = b""
        self.wild = False
        """It has sent what is no request that we know."""
        self.left = False
        """It has gone, or said that it sends no more."""
        self.received = b""
        self.sent = 0

    def prepare(self, identity: int, choice: int, size: int) -> None:
        """Make up a request; :meth:`send` sends it."""
        upload = content(identity, size)
        method = (b"GET", b"POST", b"HEAD", b"PUT")[choice & 3]
        minor = 0 if choice & 16 and not choice & 8 else 1
        fields = b"host: a\r\n"
        body = b""
        if choice & 4:
            if choice & 8:
                fields += b"transfer-encoding: chunked\r\n"
                pieces = [upload[at : at + 900] for at in range(0, size, 900)]
                body = b"".join(b"%x;a\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nx: 1\r\n\r\n"
            else:
                fields += b"content-length: %d\r\n" % size
                body = upload
            if choice & 32:
                fields += b"expect: 100-continue\r\n"
        upgrade = choice & 192 == 192 and not choice & 4 and minor == 1
        if upgrade:
            fields += b"connection: upgrade\r\nupgrade: websocket\r\n"
        elif choice & 64:
            fields += b"connection: close\r\n"
        elif choice & 128:
            fields += b"te: trailers\r\nconnection: te, keep-alive\r\n"
        self.script += b"%b /%x HTTP/1.%d\r\n%b\r\n%b" % (method, identity, minor, fields, body)
        self.asked.append(Asked(identity, method, minor, upgrade, self.sent + len(self.script), self._loop.time()))

    def send(self, size: int) -> None:
        piece = self.script[:size] if size else self.script
        self.script = self.script[len(piece) :]
        self.sent += len(piece)
        self.transport.peer_sends(piece)

    def send_raw(self, data: bytes) -> None:
        self.wild = self.wild or bool(data)
        self.sent += len(data)
        self.transport.peer_sends(data)

    def leave(self, how: int) -> None:
        self.left = True
        [self.transport.peer_closes, self.transport.peer_ends, self.transport.peer_resets][how]()

    @property
    def is_tame(self) -> bool:
        """All that it has sent and got is HTTP, and known."""
        return not self.wild and not any(asked.upgrade for asked in self.asked)

    def waits_in_vain(self) -> bool:
        """It has sent more of a body whose request is being served, and the proxy does not read it."""
        transport = self.transport
        if transport.is_reading() or transport.is_closing() or not transport.waiting or not self.is_tame:
            return False
        answered = sum(answer.complete for answer in self._answers(self.received + transport.sent))
        return answered == sum(asked.end <= transport.received for asked in self.asked)

    # -- what came of it ----------------------------------------------------------------------------------------------

    def check(self, arrivals: dict[int, list[Arrival]]) -> None:
        """Check all that was received, once the connection is at its end."""
        self.received += self.transport.take()
        own = {asked.identity for asked in self.asked}
        strange = {int(unit, 16) for unit in _UNIT.findall(self.received)} - own
        assert not {identity for identity in strange if identity >= FIRST_IDENTITY}, "content of somebody else's answer"
        assert b"internal_error" not in self.received
        if not self.wild:
            for identity in own:
                assert not any(arrival.strange_upload for arrival in arrivals.get(identity, [])), "another's body"
        if not self.is_tame:
            return
        answers = self._answers(self.received)
        assert len(answers) <= len(self.asked), "more answers than requests"
        for asked, answer in zip(self.asked, answers, strict=False):
            self._check_answer(asked, answer, arrivals.get(asked.identity, []))
        self._check_number(answers)

    def _answers(self, data: bytes) -> list[Answered]:
        found: list[Answered] = []
        while data:
            head = split_head(data)
            assert head is not None, ("a head that breaks off", data)
            line, fields, data = head
            status = _STATUS_LINE.fullmatch(line)
            assert status, line
            if status[1] < b"200":
                continue
            assert len(found) < len(self.asked), "an answer that nobody asked for"
            asked = self.asked[len(found)]
            length = framing(fields)
            body, complete = b"", True
            if asked.method != b"HEAD" and status[1] not in (b"204", b"304"):
                if length is None:
                    body, data, complete = data, b"", False
                elif length < 0:
                    body, rest = dechunk(data)
                    data, complete = rest or b"", rest is not None
                else:
                    body, data, complete = data[:length], data[length:], len(data) >= length
            found.append(Answered(int(status[1]), fields, body, complete))
        return found

    def _check_answer(self, asked: Asked, answer: Answered, arrivals: list[Arrival]) -> None:
        if any(arrival.poisoned for arrival in arrivals):
            return
        if b"x-identity" not in answer.fields:
            assert answer.status in (502, 503, 504), answer
            in_time = [arrival for arrival in arrivals if arrival.finished_at < asked.began + SHORTEST]
            assert answer.status != 504 or not in_time, "an answer that came in time, and a timeout"
            return
        assert answer.fields[b"x-identity"] == [b"%x" % asked.identity], "the head of another answer"
        assert content(asked.identity, len(answer.body)) == answer.body, ("the body of another answer", answer)
        if asked.method == b"HEAD":
            return
        told_by_close = framing(answer.fields) is None and answer.status == 200
        if answer.complete or (told_by_close and not self.transport.reset):
            whole = [arrival.body for arrival in arrivals if arrival.finished]
            assert answer.body in whole, "a part of an answer that looks whole"

    def _check_number(self, answers: list[Answered]) -> None:
        """Each request that was whole has had an answer, or the connection was visibly cut."""
        delivered = [asked for asked in self.asked if asked.end <= self.transport.received]
        if self.left or len(answers) >= len(delivered) or self.transport.reset:
            return
        last = answers[-1] if answers else None
        assert last is not None, "no answer, and no cut"
        assert not last.complete or b"close" in last.fields.get(b"connection", []), "requests that were not answered"
