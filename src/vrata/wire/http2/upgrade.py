"""What a client of HTTP/1 says of itself when it asks for HTTP/2 (RFC 7540 §3.2.1)."""

from __future__ import annotations

from struct import iter_unpack
from typing import Final

_ENABLE_PUSH: Final = 2
_INITIAL_WINDOW_SIZE: Final = 4
_MAX_FRAME_SIZE: Final = 5


def checked_settings(payload: bytes) -> bytes:
    """*payload*, HTTP2-Settings decoded, if a frame SETTINGS may hold it (RFC 9113 §6.5).

    Raises :class:`ValueError`.
    """
    if len(payload) % 6:
        raise ValueError("malformed HTTP2-Settings")
    for key, value in iter_unpack(">HL", payload):
        if (
            (key == _ENABLE_PUSH and value > 1)
            or (key == _INITIAL_WINDOW_SIZE and value >= 2**31)
            or (key == _MAX_FRAME_SIZE and not 2**14 <= value < 2**24)
        ):
            raise ValueError("malformed HTTP2-Settings")
    return payload
