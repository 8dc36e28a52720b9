"""The two messages of the health checking protocol of gRPC (``grpc.health.v1``), each in the frame of one message.

There is one field in each, so they are written and read here by hand, by the rules of Protocol Buffers and of the gRPC
protocol over HTTP/2 ("Length-Prefixed-Message").
"""

from __future__ import annotations

from typing import Final

CHECK: Final = "/grpc.health.v1.Health/Check"
"""The method that is called."""
SERVING: Final = 1
"""The status of who takes calls."""
STATUSES: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
"""The names of the statuses, by number."""

_FRAME: Final = 5
"""Bytes before a message: whether it is compressed, and its length."""
_SERVICE: Final = 0x0A
"""The tag of ``HealthCheckRequest.service``: field 1, of a length that is told."""
_STATUS_FIELD: Final = 1
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT: Final = 10
_LONGEST_TAG: Final = 5
_LAST_FIELD: Final = (1 << 29) - 1
"""The greatest number of a field."""


class MalformedHealthMessage(ValueError):  # noqa: N818 - it names the thing that arrived
    """What came is no ``HealthCheckResponse``; ``args[0]`` says why, for people."""


def encode_request(service: str) -> bytes:
    """Return the message that asks for the health of *service*; empty = of the whole server."""
    name = service.encode()
    message = bytes([_SERVICE]) + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def decode_response(content: bytes) -> int:
    """Return the status in *content*, everything that the server has sent. Raises :class:`MalformedHealthMessage`."""
    if len(content) < _FRAME or int.from_bytes(content[1:_FRAME], "big") != len(content) - _FRAME:
        raise MalformedHealthMessage("not one whole message")
    if content[0] != 0:
        raise MalformedHealthMessage("a compressed message, which was not asked for")
    status = 0  # as proto3 has it for what is not there
    at, size = _FRAME, len(content)
    while at < size:
        began = at
        tag, at = _read_varint(content, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number <= _LAST_FIELD or at - began > _LONGEST_TAG:
            raise MalformedHealthMessage("a field whose number is none")
        if kind == _VARINT:
            value, at = _read_varint(content, at)
            if number == _STATUS_FIELD:
                status = value
            continue
        if number == _STATUS_FIELD:
            raise MalformedHealthMessage("a status that is no number")
        if kind == _LENGTH:
            length, at = _read_varint(content, at)
            at += length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise MalformedHealthMessage("a field of an unknown kind")
        if at > size:
            raise MalformedHealthMessage("a field that is cut")
    return status


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    """Return the number at *at*, and where it ends."""
    number = 0
    for shift, byte in enumerate(content[at : at + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return number, at + shift + 1
    raise MalformedHealthMessage("a number that is cut, or too long")
