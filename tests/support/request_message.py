"""Requests in bytes, and what the parser makes of them however they are cut."""

from __future__ import annotations

from tests.support.transcript import RequestReader, Transcript
from vrata.wire.http1.head import RequestHead

TCHARS = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NO_TCHARS = bytes(set(range(256)) - set(TCHARS))


def message(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"a", body: bytes = b"") -> bytes:
    """A request of *line* and *fields*, with a Host field unless *host* is None."""
    lines = [line, *([] if host is None else [b"Host: " + host]), *fields]
    return b"".join(text + b"\r\n" for text in lines) + b"\r\n" + body


def accepted(data: bytes) -> RequestHead:
    """The head of *data*, the same one however the bytes are cut."""
    Transcript(data).read(RequestReader)
    reader = RequestReader()
    reader.feed(data)
    assert reader.head is not None, "the head is unfinished"
    return reader.head


def refused(data: bytes) -> tuple[int, str]:
    refusal = Transcript(data).refusal(RequestReader)
    return refusal.status, refusal.reason


def emitted(head: RequestHead, authority: bytes = b"up.test") -> list[bytes]:
    """The lines of the head for the next hop."""
    text = head.emit(target=head.target, authority=authority, client=b"192.0.2.1", scheme=b"http")
    assert text.endswith(b"\r\n\r\n")
    assert text.count(b"\r\n\r\n") == 1
    return text[:-4].split(b"\r\n")
