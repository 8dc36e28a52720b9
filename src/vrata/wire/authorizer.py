"""The messages of ``extauthz.v1``: what Vrata's own contract asks authorizers, and what they answer.

The definitions are in ``proto/extauthz/v1/authorizer.proto``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vrata.wire.protobuf import LENGTH, VARINT, MessageWriter, read_fields, read_pair

CHECK: Final = b"/extauthz.v1.Authorizer/Check"
"""The method that is called."""

_ALLOWED: Final = 1 << 3 | VARINT
_DENIED_STATUS: Final = 2 << 3 | VARINT
_HEADERS: Final = 3 << 3 | LENGTH
_DENIED_BODY: Final = 4 << 3 | LENGTH


class CheckResponse:
    """What an authorizer has decided."""

    __slots__ = ("allowed", "denied_body", "denied_status", "headers")

    def __init__(self) -> None:
        self.allowed = False
        self.denied_status = 0
        self.headers: list[tuple[str, str]] = []
        self.denied_body = b""

    def __repr__(self) -> str:
        return f"<CheckResponse {'allowed' if self.allowed else 'denied'}>"


def encode_request(method: bytes, path: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Return a ``CheckRequest``. All but the *body* are texts in UTF-8."""
    message = MessageWriter()
    message.content(1, method)
    message.content(2, path)
    for key, value in headers:
        message.pair(3, key, value)
    message.content(4, body)
    return message.finished()


def decode_response(message: bytes) -> CheckResponse:
    """Read a ``CheckResponse``. Raises :class:`~vrata.wire.protobuf.MalformedProtobuf`."""
    response = CheckResponse()
    for field in read_fields(message):
        if field.tag == _ALLOWED:
            response.allowed = field.is_true
        elif field.tag == _DENIED_STATUS:
            response.denied_status = field.uint32
        elif field.tag == _HEADERS:
            response.headers.append(read_pair(field.content))
        elif field.tag == _DENIED_BODY:
            response.denied_body = field.content
    return response
