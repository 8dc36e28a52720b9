"""What a client of HTTP/1 says of itself when it asks for HTTP/2 (RFC 7540 §3.2.1)."""

from __future__ import annotations

from struct import iter_unpack, pack
from typing import Final

MAX_TABLE: Final = 4096
"""Bytes of the table that heads which go are compressed with: the peer may allow more than we want to keep."""

TABLE_SIZE: Final = 1
_ENABLE_PUSH: Final = 2
_INITIAL_WINDOW_SIZE: Final = 4
_MAX_FRAME_SIZE: Final = 5
_ENABLE_CONNECT_PROTOCOL: Final = 8
_NO_RFC7540_PRIORITIES: Final = 9


def checked_settings(payload: bytes) -> bytes:
    """*payload*, HTTP2-Settings decoded, if a frame SETTINGS may hold it (RFC 9113 §6.5), with no larger a table in it
    than we want to keep.

    Raises :class:`ValueError`.
    """
    entries = b""
    if len(payload) % 6:
        raise ValueError("malformed HTTP2-Settings")
    for key, value in iter_unpack(">HL", payload):
        if (
            (key in (_ENABLE_PUSH, _ENABLE_CONNECT_PROTOCOL, _NO_RFC7540_PRIORITIES) and value > 1)
            or (key == _INITIAL_WINDOW_SIZE and value >= 2**31)
            or (key == _MAX_FRAME_SIZE and not 2**14 <= value < 2**24)
        ):
            raise ValueError("malformed HTTP2-Settings")
        entries += pack(">HL", key, min(value, MAX_TABLE) if key == TABLE_SIZE else value)
    return entries
