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


FORWARDING = b"x-forwarded-proto: http\r\nx-forwarded-port: 8080\r\n"


def emitted(
    head: RequestHead, authority: bytes = b"up.test", forwarding: bytes = FORWARDING, host: bytes | None = None
) -> list[bytes]:
    """The lines of the head for the next hop, without the request identifier if that was made here."""
    text = head.emit(target=head.target, authority=authority, client=b"192.0.2.1", forwarding=forwarding, host=host)
    assert text.endswith(b"\r\n\r\n")
    assert text.count(b"\r\n\r\n") == 1
    lines = text[:-4].split(b"\r\n")
    if not any(line.lower().startswith(b"x-request-id:") for line in head.passed):
        lines.remove(b"x-request-id: " + head.request_id)
    return lines
