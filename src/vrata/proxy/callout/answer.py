"""What comes of a callout."""

from __future__ import annotations

from typing import Final

from vrata.policy import grpc_status
from vrata.proxy.contracts import FailureClass
from vrata.wire.http1.head import ResponseHead

MAX_REASON: Final = 200
"""Characters that are kept of what a service says for itself."""


class Answer:
    """A whole response of a service."""

    __slots__ = ("body", "head")

    def __init__(self, head: ResponseHead, body: bytes) -> None:
        self.head = head
        self.body = body

    def __repr__(self) -> str:
        return f"<Answer {self.head.status}, {len(self.body)} bytes>"

    @property
    def status(self) -> int:
        """Its status, whatever that says."""
        return self.head.status


class CalloutFailure:
    """There is no answer, and why."""

    __slots__ = ("failure_class", "reason")

    def __init__(self, failure_class: FailureClass, reason: str) -> None:
        self.failure_class = failure_class
        self.reason = reason
        """One clause for the log; may hold what the system or a peer said."""

    def __repr__(self) -> str:
        return f"<CalloutFailure {self.failure_class.label}: {self.reason}>"


class GrpcAnswer:
    """The result of a call with one message each way."""

    __slots__ = ("code", "message", "reason")

    def __init__(self, code: int, message: bytes, reason: str) -> None:
        self.code = code
        """``grpc_status.OK``, or why there is no message: what the service says, or what became of the call."""
        self.message = message
        self.reason = reason
        """What the service says of its status (``grpc-message``), or one clause of ours."""

    def __repr__(self) -> str:
        return f"<GrpcAnswer {grpc_status.name_of(self.code)}, {len(self.message)} bytes>"
