"""What a transaction needs of the stage that it has begun at."""

from __future__ import annotations

from typing import Any, Protocol

from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.rejection import Rejection


class TransactionStage(Protocol):
    """The stage whose transaction it is."""

    def enter(self, request: ClientRequest, match: Any, content: bytes, end: bool, began: float) -> None:
        """Let *request* go on to what is inside; the work on it *began* then."""
        ...

    def refuse(self, request: ClientRequest, rejection: Rejection, began: float) -> None:
        """Answer *request* before it has been inside."""
        ...

    def answered(self, request: ClientRequest, status: int, began: float) -> None:
        """The processor answers *request* itself before it has been inside."""
        ...

    def replace(self, request: ClientRequest, rejection: Rejection) -> None:
        """Answer *request* in place of what is inside."""
        ...

    def explained(self, request: ClientRequest, details: str) -> None:
        """Why the processor has rejected *request*, in its own words."""
        ...

    def failed(self, request: ClientRequest, reason: str) -> None:
        """The processor has failed; *reason* is for the log."""
        ...
