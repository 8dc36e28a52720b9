"""What a session on hyper-h2 knows of a stream beside hyper-h2."""

from __future__ import annotations

from typing import Final

from hpack import NeverIndexedHeaderTuple

from vrata.wire.http2.translation import Fields

_NEVER_INDEXED: Final = (b"authorization", b"proxy-authorization")
_SHORT_COOKIE: Final = 20
"""Bytes of a cookie that could be guessed from the size of what is compressed with it (RFC 7541 §7.1.3)."""


class SessionStream:
    """The state of one stream, and its content that waits to be sent."""

    __slots__ = (
        "content_due",
        "end_queued",
        "ended",
        "has_head",
        "input_left",
        "is_high",
        "key",
        "method",
        "queue",
        "queued",
        "sent_end",
        "trailers",
        "unconsumed",
        "uncredited",
    )

    def __init__(self, method: bytes = b"", key: bytes | None = None) -> None:
        self.method = method
        self.key = key
        self.has_head = False
        self.content_due = -1
        """Bytes of content that have to come yet; -1: that is not known."""
        self.ended = False
        """The peer has ended its side."""
        self.sent_end = False
        self.end_queued = False
        self.input_left = False
        self.queue: list[bytes] = []
        self.queued = 0
        self.trailers = b""
        self.is_high = False
        self.unconsumed = 0
        self.uncredited = 0
        """Bytes consumed that the peer has not been told of."""

    def take(self, size: int) -> bytes:
        """Take the first *size* bytes out of what waits to be sent."""
        self.queued -= size
        queue = self.queue
        parts: list[bytes] = []
        count = 0
        while size:
            part = queue[count]
            if len(part) > size:
                parts.append(part[:size])
                queue[count] = part[size:]
                break
            parts.append(part)
            size -= len(part)
            count += 1
        del queue[:count]
        return b"".join(parts)


def guarded(fields: Fields) -> Fields:
    """*fields* with those marked that must not enter a compression table (RFC 7541 §7.1.3)."""
    return [
        NeverIndexedHeaderTuple(name, value)
        if name in _NEVER_INDEXED or (name == b"cookie" and len(value) < _SHORT_COOKIE)
        else (name, value)
        for name, value in fields
    ]
