"""Fail closed: a middleware that cannot work as configured lets nobody past it."""

from __future__ import annotations

from typing import Any, Final

from vrata.policy import grpc_status
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.middleware.stage import Stage

UNAVAILABLE: Final = Rejection.error(500, "middleware unavailable", code=grpc_status.INTERNAL)


class Unavailable(Stage):
    """Stands in the place of a stage that could not be made."""

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Answer *request* with 500, or with INTERNAL where it is one of gRPC."""
        self.reject(request, UNAVAILABLE, self.began(request))
