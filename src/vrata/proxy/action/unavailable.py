"""Fail closed: a route that cannot be served as configured serves nobody."""

from __future__ import annotations

from typing import Final

from vrata.proxy.contracts import ClientRequest, LocalResponse

_ANSWER: Final = LocalResponse(500, b"content-type: application/json\r\n", b'{"error":"middleware unavailable"}\n')


class UnavailableAction:
    """Stands for the action of a route whose middlewares cannot run."""

    def run(self, request: ClientRequest, match: object, content: bytes, end: bool) -> None:
        """Answer *request* with 500, whatever its content."""
        request.respond(_ANSWER)
