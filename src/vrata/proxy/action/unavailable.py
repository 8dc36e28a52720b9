"""Fail closed: a route that cannot be served as configured serves nobody."""

from __future__ import annotations

from typing import Final

from vrata.policy import grpc_status
from vrata.proxy.contracts import ClientRequest, LocalResponse

_MESSAGE: Final = "middleware unavailable"
_ANSWER: Final = LocalResponse(500, b"content-type: application/json\r\n", b'{"error":"%s"}\n' % _MESSAGE.encode())
_STATUS: Final = LocalResponse(
    200, b"content-type: application/grpc\r\n" + grpc_status.status_lines(grpc_status.INTERNAL, _MESSAGE), b""
)


class UnavailableAction:
    """Stands for the action of a route whose middlewares cannot run."""

    def run(self, request: ClientRequest, match: object, content: bytes, end: bool) -> None:
        """Answer *request* with 500, or with INTERNAL where it is one of gRPC, whatever its content."""
        request.respond(_STATUS if request.head.is_grpc else _ANSWER)
