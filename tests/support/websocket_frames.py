"""Frames of WebSocket (RFC 6455 §5.2) as a client sends and reads them.

Written by hand, so that what passes through a tunnel does not depend on the library at its other end.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_MASK = b"\x12\x34\x56\x78"


@dataclass(frozen=True, slots=True)
class WebSocketFrame:
    """One frame as it came."""

    opcode: int
    payload: bytes
    final: bool = True

    @property
    def close_code(self) -> int:
        """Of a frame that closes."""
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big")


def masked(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """A client's frame."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    mask = int.from_bytes((_MASK * (size // 4 + 1))[:size], "big")
    content = (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")
    return bytes((0x80 * final | opcode,)) + length + _MASK + content


def closing(code: int, reason: str = "") -> bytes:
    """A client's frame that closes."""
    return masked(CLOSE, code.to_bytes(2, "big") + reason.encode())


def read(data: bytes) -> tuple[list[WebSocketFrame], bytes]:
    """The whole frames of a server that *data* begin with, and the rest."""
    found: list[WebSocketFrame] = []
    while len(data) >= 2:
        assert not data[1] & 0x80, "a server masks nothing"
        size, at = data[1], 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        if len(data) < at + size or len(data) < at:
            break
        found.append(WebSocketFrame(data[0] & 0x0F, data[at : at + size], bool(data[0] & 0x80)))
        data = data[at + size :]
    return found, data
