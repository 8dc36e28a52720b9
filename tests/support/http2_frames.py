"""Frames of HTTP/2 (RFC 9113 §4 and §6), well-formed or not.

Deliberately written apart from ``vrata.wire``, so that a mistake there is not repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

MAX_WINDOW = (1 << 31) - 1
INITIAL_WINDOW = 65535
MAX_FRAME_SIZE = 16384
"""What both sides take until a SETTINGS frame says otherwise (RFC 9113 §6.5.2)."""


class Kind(IntEnum):
    """Types of frames."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9
    PRIORITY_UPDATE = 0x10


class Setting(IntEnum):
    """Identifiers of settings; the last two are of RFC 8441 and RFC 9218."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6
    ENABLE_CONNECT_PROTOCOL = 0x8
    NO_RFC7540_PRIORITIES = 0x9


class Code(IntEnum):
    """Error codes (RFC 9113 §7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def __str__(self) -> str:
        name = Kind(self.kind).name if self.kind in set(Kind) else f"type {self.kind:#x}"
        return f"{name}(stream {self.stream}, flags {self.flags:#x}, {self.payload[:32]!r})"

    @property
    def is_ack(self) -> bool:
        return bool(self.flags & ACK)

    @property
    def ends_stream(self) -> bool:
        return self.kind in (Kind.DATA, Kind.HEADERS) and bool(self.flags & END_STREAM)

    @property
    def code(self) -> int:
        """The error code of a RST_STREAM or a GOAWAY."""
        assert self.kind in (Kind.RST_STREAM, Kind.GOAWAY), self
        at = 0 if self.kind == Kind.RST_STREAM else 4
        return int.from_bytes(self.payload[at : at + 4], "big")

    @property
    def last_stream(self) -> int:
        """The last stream that the sender of a GOAWAY has acted on."""
        assert self.kind == Kind.GOAWAY, self
        return int.from_bytes(self.payload[:4], "big") & MAX_WINDOW

    @property
    def content(self) -> bytes:
        """The payload of a DATA or HEADERS frame without padding and priority."""
        payload = self.payload
        if self.flags & PADDED:
            padding = payload[0]
            payload = payload[1 : len(payload) - padding]
        if self.kind == Kind.HEADERS and self.flags & PRIORITY_FLAG:
            payload = payload[5:]
        return payload

    @property
    def settings(self) -> dict[int, int]:
        assert self.kind == Kind.SETTINGS, self
        payload = self.payload
        return {
            int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
            for at in range(0, len(payload), 6)
        }


class FrameReader:
    """Bytes to frames."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Frame | None:
        """The next whole frame, if there is one."""
        buffer = self._buffer
        if len(buffer) < 9:
            return None
        size = int.from_bytes(buffer[:3], "big")
        if len(buffer) < 9 + size:
            return None
        self._buffer = buffer[9 + size :]
        return Frame(buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big") & MAX_WINDOW, buffer[9 : 9 + size])


def frame(
    kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None, reserved: int = 0
) -> bytes:
    """Any frame; *length* is what its head says in place of the payload's, *reserved* the bit before the stream."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + (reserved << 31 | stream).to_bytes(4, "big") + payload


def data(stream: int, content: bytes = b"", *, end: bool = False, padding: int | None = None) -> bytes:
    if padding is None:
        return frame(Kind.DATA, END_STREAM * end, stream, content)
    return frame(Kind.DATA, END_STREAM * end | PADDED, stream, bytes((padding,)) + content + bytes(padding))


def headers(
    stream: int, block: bytes, *, end: bool = False, end_headers: bool = True, flags: int = 0, prefix: bytes = b""
) -> bytes:
    """A HEADERS frame; *prefix* are the fields before the block that *flags* announce."""
    return frame(Kind.HEADERS, END_STREAM * end | END_HEADERS * end_headers | flags, stream, prefix + block)


def continuation(stream: int, block: bytes = b"", *, end_headers: bool = True) -> bytes:
    return frame(Kind.CONTINUATION, END_HEADERS * end_headers, stream, block)


def priority(stream: int, dependency: int = 0, weight: int = 15) -> bytes:
    return frame(Kind.PRIORITY, 0, stream, dependency.to_bytes(4, "big") + bytes((weight,)))


def rst_stream(stream: int, code: int = Code.CANCEL) -> bytes:
    return frame(Kind.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def settings(values: Mapping[int, int] | None = None) -> bytes:
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in (values or {}).items())
    return frame(Kind.SETTINGS, 0, 0, payload)


def settings_ack() -> bytes:
    return frame(Kind.SETTINGS, ACK)


def push_promise(stream: int, promised: int, block: bytes) -> bytes:
    return frame(Kind.PUSH_PROMISE, END_HEADERS, stream, promised.to_bytes(4, "big") + block)


def ping(content: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return frame(Kind.PING, ACK * ack, 0, content)


def goaway(last_stream: int = 0, code: int = Code.NO_ERROR, reason: bytes = b"") -> bytes:
    return frame(Kind.GOAWAY, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + reason)


def window_update(stream: int, increment: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))
