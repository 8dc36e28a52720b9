"""Rejections: the answers that middlewares give instead of what is inside of them."""

from __future__ import annotations

import json

from vrata.policy import grpc_status
from vrata.proxy.contracts import ClientRequest, LocalResponse

JSON = b"content-type: application/json\r\n"


class Rejection:
    """An answer, as clients of HTTP and as those of gRPC get it. Immutable, and so made once where it can be."""

    __slots__ = ("_call", "_plain", "status")

    def __init__(
        self, status: int, body: bytes, fields: bytes = JSON, message: str = "", code: int | None = None
    ) -> None:
        """*fields* are lines, each with its CRLF; *message* and *code* are what a status of gRPC says.

        Without a code it is that of the public table for *status*.
        """
        self.status = status
        self._plain = LocalResponse(status, fields, body)
        code = grpc_status.of_http(status) if code is None else code
        lines = b"content-type: application/grpc\r\n" + grpc_status.status_lines(code, message)
        self._call = LocalResponse(200, lines, b"")

    def __repr__(self) -> str:
        return f"<Rejection {self.status}>"

    @property
    def is_too_large(self) -> bool:
        """Its fields are more than any response may have: see :class:`LocalResponse`."""
        return self._plain.is_too_large

    @classmethod
    def error(cls, status: int, text: str, fields: bytes = b"", code: int | None = None) -> Rejection:
        """The form that errors of middlewares have: ``{"error":"<text>"}``, with further *fields*."""
        body = json.dumps({"error": text}, separators=(",", ":")).encode()
        return cls(status, body, JSON + fields, text, code)

    def of(self, request: ClientRequest) -> LocalResponse:
        """The answer to *request*; a call of gRPC, which is a POST, gets the code that its status stands for.

        To other methods the status of such an answer, 200, would be a lie that caches may keep.
        """
        head = request.head
        return self._call if head.is_grpc and head.method == b"POST" else self._plain
