"""The two messages of the health checking protocol of gRPC (``grpc.health.v1``), each in the frame of one message."""

from __future__ import annotations

from typing import Final

from vrata.wire.grpc_frames import MalformedFrame, MessageFrames, framed
from vrata.wire.protobuf import VARINT, MalformedProtobuf, MessageWriter, read_fields, tag

CHECK: Final = "/grpc.health.v1.Health/Check"
"""The method that is called."""
SERVING: Final = 1
"""The status of who takes calls."""
STATUSES: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
"""The names of the statuses, by number."""

_STATUS_FIELD: Final = 1


class MalformedHealthMessage(ValueError):  # noqa: N818 - it names the thing that arrived
    """What came is no ``HealthCheckResponse``; ``args[0]`` says why, for people."""


def encode_request(service: str) -> bytes:
    """Return the message that asks for the health of *service*; empty = of the whole server."""
    message = MessageWriter()
    message.text(1, service)
    return framed(message.finished())


def decode_response(content: bytes) -> int:
    """Return the status in *content*, everything that the server has sent. Raises :class:`MalformedHealthMessage`."""
    frames = MessageFrames(len(content))
    status = 0  # as proto3 has it for what is not there
    try:
        messages = frames.feed(content)
        if len(messages) != 1 or frames.is_cut:
            raise MalformedHealthMessage("not one whole message")
        for field in read_fields(messages[0]):
            if field.tag == tag(_STATUS_FIELD, VARINT):
                status = field.number
            elif field.tag >> 3 == _STATUS_FIELD:
                raise MalformedHealthMessage("a status that is no number")
    except MalformedFrame as error:
        reason = str(error) if content[0] else "not one whole message"
        raise MalformedHealthMessage(reason) from None
    except MalformedProtobuf as error:
        raise MalformedHealthMessage(str(error)) from None
    return status
