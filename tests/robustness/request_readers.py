"""Two readers of requests that run in this process: h11, written in Python, and llhttp, written in C (httptools)."""

from __future__ import annotations

from collections.abc import Iterable

import h11
import httptools

from tests.robustness.message import Ending, Fields, Message, Reading


def read_with_h11(data: bytes) -> Reading:
    """All requests of *data*, each of which is answered so that the next may begin."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    messages: list[Message] = []
    request: h11.Request | None = None
    content = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return Reading(tuple(messages), Ending.REFUSED, reason=str(error))
        match event:
            case h11.Request():
                request, content = event, b""
            case h11.Data():
                content += bytes(event.data)
            case h11.EndOfMessage():
                assert request is not None
                messages.append(_from_h11(request, content, _fields(event.headers)))
                request = None
                connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    rest = connection.trailing_data[0]
                    return Reading(tuple(messages), Ending.REFUSED if rest else Ending.WHOLE, reason="closed")
                connection.start_next_cycle()
            case h11.NEED_DATA if request is not None:
                return Reading(tuple(messages), Ending.UNFINISHED, _from_h11(request, content))
            case h11.NEED_DATA:
                rest = connection.trailing_data[0]
                return Reading(tuple(messages), Ending.UNFINISHED if rest else Ending.WHOLE)
            case other:
                raise AssertionError(f"h11 said {other!r}")


def _from_h11(request: h11.Request, content: bytes, trailers: Fields = ()) -> Message:
    return _message(bytes(request.method), bytes(request.target), content, _fields(request.headers), trailers)


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    return tuple((bytes(name), bytes(value)) for name, value in headers)


def _message(method: bytes, target: bytes, content: bytes, fields: Fields, trailers: Fields) -> Message:
    hosts = [value for name, value in fields if name == b"host"]
    return Message(method, target, b" and ".join(hosts), content, fields, trailers)


class _Collector:
    """What llhttp calls while it reads. One per stream."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parser: httptools.HttpRequestParser
        self.begun = False
        self.head_complete = False
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._trailers: list[tuple[bytes, bytes]] = []
        self._content = b""

    def on_message_begin(self) -> None:
        self.begun, self.head_complete = True, False
        self._target = self._content = b""
        self._fields, self._trailers = [], []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        fields = self._trailers if self.head_complete else self._fields
        fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.head_complete = True

    def on_body(self, content: bytes) -> None:
        self._content += content

    def on_message_complete(self) -> None:
        self.messages.append(self.message())
        self.begun = False

    def message(self) -> Message:
        fields, trailers = tuple(self._fields), tuple(self._trailers)
        return _message(self.parser.get_method(), self._target, self._content, fields, trailers)


def read_with_httptools(data: bytes) -> Reading:
    """All requests of *data*. An upgrade is not taken up, so what follows it is the next request."""
    collector = _Collector()
    while True:
        collector.parser = httptools.HttpRequestParser(collector)
        try:
            collector.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            data = data[upgrade.args[0] :]
            continue
        except httptools.HttpParserError as error:
            return Reading(tuple(collector.messages), Ending.REFUSED, reason=str(error))
        break
    messages = tuple(collector.messages)
    if not collector.begun:
        return Reading(messages, Ending.WHOLE)
    return Reading(messages, Ending.UNFINISHED, collector.message() if collector.head_complete else None)
