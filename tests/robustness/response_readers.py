"""Readers of responses: h11 and llhttp (httptools), given everything that came before the connection ended."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import h11
import httptools

from tests.robustness.message import Ending, Fields

_HEADS = re.compile(rb"(?:HTTP/1\.[01] 1.*?\r\n\r\n)*.*?\r\n\r\n", re.DOTALL)
"""The heads of 1xx responses, and one more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader makes of the answer to one request."""

    informational: tuple[int, ...] = ()
    """Statuses of the 1xx responses before it."""
    status: int = 0
    """0 when there is none."""
    content: bytes = b""
    ending: Ending = Ending.WHOLE
    rest: bytes = field(default=b"", compare=False, repr=False)
    """What follows it; httptools knows only whether something does."""
    fields: Fields = field(default=(), compare=False, repr=False)

    def values(self, name: bytes) -> list[bytes]:
        """Every value of the field *name* (lower case), in order."""
        return [value for found, value in self.fields if found == name]


def read_with_h11(data: bytes, method: bytes) -> Answer:
    """The answer to a request with *method* at the start of *data*."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
    connection.send(h11.EndOfMessage())
    if data:
        connection.receive_data(data)
    informational: list[int] = []
    status, content, ended = 0, b"", False
    fields: Fields = ()
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            ending = Ending.UNFINISHED if ended else Ending.REFUSED
            return Answer(tuple(informational), status, content, ending, fields=fields)
        match event:
            case h11.InformationalResponse():
                informational.append(event.status_code)
            case h11.Response():
                status = event.status_code
                fields = tuple((bytes(name), bytes(value)) for name, value in event.headers)
            case h11.Data():
                content += bytes(event.data)
            case h11.EndOfMessage():
                rest = b"" if ended else connection.trailing_data[0]
                return Answer(tuple(informational), status, content, Ending.WHOLE, rest, fields)
            case h11.NEED_DATA if not ended:
                ended = True
                connection.receive_data(b"")
            case h11.NEED_DATA | h11.ConnectionClosed():
                return Answer(tuple(informational), status, content, Ending.UNFINISHED, fields=fields)
            case other:
                raise AssertionError(f"h11 said {other!r}")


class _AnotherAnswer(Exception):  # noqa: N818 - it names what follows
    """Ends the reading: one answer is enough."""


class _Collector:
    """What llhttp calls while it reads one answer."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.informational: list[int] = []
        self.status = 0
        self.content = b""
        self.complete = False
        self.framed = False
        self.fields: list[tuple[bytes, bytes]] = []

    def on_message_begin(self) -> None:
        if self.complete:
            raise _AnotherAnswer
        self.fields, self.framed = [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.fields.append((name, value.strip(b" \t")))
        self.framed = self.framed or name in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status < 200:
            self.informational.append(status)
        else:
            self.status = status

    def on_body(self, content: bytes) -> None:
        self.content += content

    def on_message_complete(self) -> None:
        self.complete = bool(self.status)

    def answer(self, ending: Ending, rest: bytes = b"") -> Answer:
        return Answer(tuple(self.informational), self.status, self.content, ending, rest, tuple(self.fields))


def read_with_httptools(data: bytes, method: bytes) -> Answer:
    """The same by llhttp, which httptools cannot tell of HEAD: then the heads alone are read, and no rest."""
    if method == b"HEAD" and (heads := _HEADS.match(data)) is not None:
        data = heads[0]
    collector = _Collector()
    try:
        collector.parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return collector.answer(Ending.WHOLE if collector.complete else Ending.REFUSED, b"what follows")
    if collector.complete or (collector.status and (method == b"HEAD" or not collector.framed)):
        return collector.answer(Ending.WHOLE)  # the connection's end is the end of a body without framing
    return collector.answer(Ending.UNFINISHED)
