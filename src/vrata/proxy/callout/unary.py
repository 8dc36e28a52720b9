"""A call of gRPC with one message each way."""

from __future__ import annotations

from collections.abc import Callable

from vrata.policy import grpc_status
from vrata.proxy.callout.answer import GrpcAnswer
from vrata.proxy.callout.grpc_stream import GrpcStream

OnGrpcAnswer = Callable[[GrpcAnswer], None]


class Unary:
    """Takes what comes of a :class:`~vrata.proxy.callout.grpc_stream.GrpcStream`, and makes one answer of it."""

    __slots__ = ("_count", "_message", "_on_answer", "stream")

    def __init__(self, on_answer: OnGrpcAnswer) -> None:
        self._on_answer: OnGrpcAnswer | None = on_answer
        self._message = b""
        self._count = 0
        self.stream: GrpcStream | None = None

    def __repr__(self) -> str:
        return f"<Unary {self.stream!r}>"

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        self._on_answer = None
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.cancel()

    def on_message(self, message: bytes) -> None:
        """The answer has come, or more than one."""
        self._message = message
        self._count += 1
        if self._count > 1:
            stream, self.stream = self.stream, None
            if stream is not None:
                stream.cancel()
            self.on_end(grpc_status.INTERNAL, "more than one message")

    def on_end(self, code: int, reason: str) -> None:
        """The call has come to *code*."""
        self.stream = None
        on_answer, self._on_answer = self._on_answer, None
        if on_answer is None:
            return
        if code != grpc_status.OK:
            on_answer(GrpcAnswer(code, b"", reason))
        elif not self._count:
            on_answer(GrpcAnswer(grpc_status.INTERNAL, b"", "no message"))
        else:
            on_answer(GrpcAnswer(grpc_status.OK, self._message, reason))
