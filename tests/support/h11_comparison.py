"""Vrata and h11, an independent reader, on the same bytes: what Vrata accepts, h11 has to read as the same message.

h11 is the more lenient one in most places (folded lines, lines that end in LF alone, equal Content-Lengths, control
characters in values); that Vrata refuses more is no fault. The one thing that h11 refuses and Vrata accepts is in
:func:`h11_is_too_strict`, with the reason; anything else fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11

from tests.support.transcript import RequestReader, ResponseReader
from vrata.wire.http1.errors import MalformedMessage

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader made of a message."""

    line: tuple[object, ...]
    """Method and target, or the status."""
    fields: Fields
    content: bytes
    complete: bool
    rest: bytes


class Refused(Exception):  # noqa: N818 - it names what became of the message
    """The reader does not take this for a message."""


# -- the two readers -------------------------------------------------------------------------------------------------


def vrata_request(data: bytes) -> Reading | None:
    reader = RequestReader()
    try:
        reader.feed(data)
    except MalformedMessage as refusal:
        raise Refused(refusal.reason) from refusal
    head = reader.head
    if head is None:
        return None
    body = reader.body
    return Reading((head.method, head.target), split(head.lines), body.content, body.complete, body.rest)


def vrata_response(data: bytes, method: bytes) -> Reading | None:
    reader = ResponseReader(method)
    try:
        reader.feed(data)
    except MalformedMessage as refusal:
        raise Refused(refusal.reason) from refusal
    head = reader.head
    if head is None:
        return None
    complete = reader.body.complete or reader.body.close()
    return Reading((head.status,), split(head.passed), reader.body.content, complete, reader.body.rest)


def h11_request(data: bytes) -> Reading | None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    return h11_reading(connection)


def h11_response(data: bytes, method: bytes) -> Reading | None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    return h11_reading(connection, close=True)


def h11_reading(connection: h11.Connection, *, close: bool = False) -> Reading | None:
    line: tuple[object, ...] = ()
    fields: Fields = []
    content = b""
    complete = False
    closed = False
    while not complete:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            if closed and line:
                break  # cut off by the close that was added here
            raise Refused(str(error)) from error
        match event:
            case h11.Request():
                line, fields = (event.method, event.target), list(event.headers)
            case h11.Response():
                line, fields = (event.status_code,), list(event.headers)
            case h11.InformationalResponse():
                return Reading((event.status_code,), list(event.headers), b"", True, connection.trailing_data[0])
            case h11.Data():
                content += bytes(event.data)
            case h11.EndOfMessage():
                complete = True
            case h11.NEED_DATA if close and not closed and line:
                closed = True
                connection.receive_data(b"")
            case _:
                break
    return Reading(line, fields, content, complete, connection.trailing_data[0]) if line else None


def split(lines: list[bytes]) -> Fields:
    """Names in lower case and stripped values, as h11 gives them, which also lowers the coding."""
    fields: Fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        fields.append((name, value.lower() if name == b"transfer-encoding" else value))
    return fields


# -- the comparison --------------------------------------------------------------------------------------------------


def h11_is_too_strict(data: bytes) -> bool:
    """White space before the semicolon of a chunk extension is bad, but has to be taken (RFC 9112 §7.1.1)."""
    return re.search(rb"\r\n[0-9A-Fa-f]+[ \t]+;", data) is not None


def assert_same_request(data: bytes) -> bool:
    """Whatever Vrata accepts, h11 reads alike; False when Vrata does not accept it."""
    try:
        ours = vrata_request(data)
    except Refused:
        return False
    if ours is None:
        return False
    try:
        theirs = h11_request(data)
    except Refused as refusal:
        if h11_is_too_strict(data):
            return True
        raise AssertionError("only Vrata accepts this") from refusal
    assert theirs is not None
    method, target = theirs.line
    assert isinstance(target, bytes)
    assert ours.line == (method, origin_form(method, target))
    assert ours.fields == theirs.fields
    assert_same_content(ours, theirs)
    return True


def assert_same_response(data: bytes, method: bytes) -> bool:
    """Whatever Vrata accepts, h11 reads alike; False when Vrata does not accept it."""
    try:
        ours = vrata_response(data, method)
    except Refused:
        return False
    if ours is None:
        return False
    try:
        theirs = h11_response(data, method)
    except Refused as refusal:
        if h11_is_too_strict(data):
            return True
        raise AssertionError("only Vrata accepts this") from refusal
    assert theirs is not None
    assert ours.line == theirs.line
    remaining = iter(theirs.fields)
    assert all(field in remaining for field in ours.fields), "a field that h11 does not see, or in another order"
    assert_same_content(ours, theirs)
    return True


def assert_same_content(ours: Reading, theirs: Reading) -> None:
    assert (ours.content, ours.complete) == (theirs.content, theirs.complete)
    if ours.complete:
        assert ours.rest == theirs.rest


def origin_form(method: object, target: bytes) -> bytes:
    """RFC 9112 §3.2, written apart from the parser."""
    absolute = re.fullmatch(rb"https?://[^/?]+(/[^?]*)?(\?.*)?", target, re.IGNORECASE)
    if absolute is None:
        return target
    path, query = absolute.groups(b"")
    return b"*" if method == b"OPTIONS" and not path and not query else (path or b"/") + query
