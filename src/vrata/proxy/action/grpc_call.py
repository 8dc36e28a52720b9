"""What is different about a request of gRPC on its way: its deadline, and what its result is."""

from __future__ import annotations

from typing import Final

from vrata.net.deadlines import NEVER
from vrata.policy import grpc_status
from vrata.policy.grpc_timeout import GrpcTimeoutCap, seconds_of
from vrata.wire.http1.head import RequestHead, ResponseHead

NO_RESULT: Final = -1
"""In the place of a status: not known yet, or nothing that the endpoint could be judged by."""

_OK: Final = 200
_LEAST: Final = 1e-6
"""Seconds that are worth stating."""


class GrpcCall:
    """One call. A response of HTTP that is no answer of gRPC is its own result."""

    __slots__ = ("_deadline", "_has_deadline", "_is_open", "_wanted", "budget", "has_messages", "is_hurried")

    def __init__(self, head: RequestHead, cap: GrpcTimeoutCap | None, budget: float) -> None:
        """*budget* is the request's time in seconds, by our settings; *cap* is that of what the client wants."""
        wanted = seconds_of(head.values(b"grpc-timeout"))
        self._has_deadline = wanted != NEVER
        if cap is not None and self._has_deadline and wanted > cap.seconds:
            wanted = cap.seconds
        self._wanted = wanted
        self._deadline = NEVER
        """The client's, by the loop's clock; none before the first attempt."""
        self.is_hurried = wanted < budget
        """The client's own deadline is what ends the call, and so says nothing of the upstream."""
        self.budget = wanted if self.is_hurried else budget
        """Seconds for the call: ours, or the client's where they are fewer."""
        self._is_open = False
        self.has_messages = False
        """Something of a message has come."""

    def __repr__(self) -> str:
        return f"<GrpcCall {self.budget} s>"

    @property
    def is_undecided(self) -> bool:
        """True for a response that has begun, and for which there is no status yet."""
        return self._is_open

    def head_at(self, head: bytes, now: float) -> bytes:
        """Return *head* for an attempt at *now*: all but the first are told what is left of the client's deadline."""
        if self._deadline == NEVER:
            self._deadline = now + self._wanted
            return head
        left = self._deadline - now
        return GrpcTimeoutCap(left).in_head(head) if left > _LEAST else head

    def code_at_once(self, head: ResponseHead, end: bool) -> int:
        """The code of a response without messages (Trailers-Only); -1 where it has something else than a code."""
        if not end or head.status != _OK or not head.is_grpc:
            return -1
        return grpc_status.read_code(head.values(b"grpc-status"))

    def begun(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes) -> int:
        """The response begins: return what it comes to as a status of HTTP, or :data:`NO_RESULT`."""
        if head.status != _OK or not head.is_grpc:
            return head.status
        if not end:
            self._is_open = True
            self.has_messages = bool(content)
            return NO_RESULT
        code = self.code_at_once(head, end)
        return self.result_of(code if code >= 0 else grpc_status.code_in_trailers(trailers))

    def went_on(self, content: bytes, end: bool, trailers: bytes) -> int:
        """The response goes on: return the same."""
        if not self._is_open:
            return NO_RESULT
        if content:
            self.has_messages = True
        if not end:
            return NO_RESULT
        self._is_open = False
        return self.result_of(grpc_status.code_in_trailers(trailers))

    def result_of(self, code: int) -> int:
        """What *code* says of the endpoint, as a status of HTTP, or :data:`NO_RESULT`."""
        if code == grpc_status.DEADLINE_EXCEEDED and self._has_deadline:
            return NO_RESULT  # whose deadline it was nobody can tell, and clients choose theirs as they like
        return grpc_status.in_http(code)
