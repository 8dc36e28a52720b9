"""A call of gRPC: messages to the service and messages from it, each as they come, and a status at the end.

The protocol is that of gRPC over HTTP/2: requests and responses in frames, and a status in the trailers, or in the head
of a response that has nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from vrata.net.deadlines import NEVER
from vrata.policy import grpc_status
from vrata.proxy.callout.answer import MAX_REASON
from vrata.proxy.callout.callout import Callout, CalloutOwner, ServiceDestination
from vrata.proxy.contracts import ClientRequest, FailureClass
from vrata.proxy.upstream.exchange import Exchange
from vrata.wire.grpc_frames import MalformedFrame, MessageFrames, framed
from vrata.wire.http1.head import ResponseHead

MAX_REPLAYED: Final = 65536
"""Bytes of messages that are kept so that they can be sent again where a connection turns out to be dead."""

_OK: Final = 200
_MOST_MILLISECONDS: Final = 99_999_999
"""A value of ``grpc-timeout`` has eight digits."""
_NO_CODE: Final = -1

_log = structlog.get_logger("vrata.proxy.callout")

OnMessage = Callable[[bytes], None]
OnEnd = Callable[[int, str], None]
"""Takes the code, and what is said of it."""


class GrpcStream(Callout):
    """One call with any number of messages each way."""

    __slots__ = (
        "_code",
        "_expected",
        "_fields",
        "_frames",
        "_is_complete",
        "_kept",
        "_method_path",
        "_on_end",
        "_on_message",
        "_on_ready",
        "_reason",
        "_size_kept",
        "is_full",
    )

    def __init__(
        self,
        owner: CalloutOwner,
        request: ClientRequest,
        limit: float,
        on_message: OnMessage,
        on_end: OnEnd,
        *,
        method_path: bytes,
        fields: bytes,
        max_message: int,
        only: bytes | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        """*method_path* is ``/package.Service/Method``; *fields* are lines, each with its CRLF.

        *limit* is in seconds, for the whole call. With *only* that is the one message to the service. *on_ready* is
        called when the service, which did not keep up, has caught up.
        """
        super().__init__(owner, request, limit)
        self._on_message: OnMessage | None = on_message
        self._on_end: OnEnd | None = on_end
        self._on_ready = on_ready
        self._method_path = method_path
        self._fields = fields
        self._frames = MessageFrames(max_message)
        self._kept: list[bytes] | None = [] if only is None else [framed(only)]
        """What was sent; None when it is too much, or of no use any more."""
        self._size_kept = 0
        self._is_complete = only is not None
        self._expected = NEVER
        """When a message is due, by the loop's clock."""
        self._code = _NO_CODE
        self._reason = ""
        self.is_full = False
        """The service does not keep up: better send nothing for now."""

    # -- for those who make it ----------------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Send *message*."""
        if not self._is_open or self._is_complete:
            return
        content = framed(message)
        self._keep(content)
        if self._exchange is not None:
            self._exchange.send(content, False)

    def end(self) -> None:
        """No more messages will be sent; those of the service still come."""
        if not self._is_open or self._is_complete:
            return
        self._is_complete = True
        if self._exchange is not None:
            self._exchange.send(b"", True)

    def expect(self, seconds: float) -> None:
        """Fail the call unless a message, or its end, comes within so many *seconds*; :data:`NEVER` lifts that."""
        if self._is_open:
            self._expected = self._owner.loop.time() + seconds
            self.deadline = self._due()

    def pause(self) -> None:
        """Take no more messages for now, but those that have come already."""
        if self._exchange is not None:
            self._exchange.pause_response()

    def resume(self) -> None:
        """Go on."""
        if self._exchange is not None:
            self._exchange.resume_response()

    # -- the service's side -------------------------------------------------------------------------------------------

    def on_upstream_full(self) -> None:
        """The service reads slowly."""
        self.is_full = True

    def on_upstream_ready(self) -> None:
        """The service has caught up."""
        self.is_full = False
        if self._on_ready is not None:
            self._on_ready()

    def on_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The response begins."""
        self._begun()
        self._kept = None
        if head.status != _OK or not head.is_grpc:
            self._judge(head.status)
            self._end(grpc_status.of_http(head.status), f"an answer with status {head.status} that is none of gRPC")
            return
        if end and not content:
            code = grpc_status.read_code(head.values(b"grpc-status"))
            if code >= 0:
                self._judge(grpc_status.in_http(code))
                self._end(code, grpc_status.read_message(head.values(b"grpc-message")))
                return
        admission = self._admission
        if admission is not None and admission.is_probe and not end:
            # A stream may last for hours, in which the circuit would let nobody else through.
            admission.settle(_OK)
        self.on_response_content(content, end, trailers)

    def on_response_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The response goes on."""
        try:
            messages = self._frames.feed(content) if content else ()
        except MalformedFrame as error:
            self._judge(FailureClass.CONNECTION_RESET.status)
            self._end(grpc_status.INTERNAL, str(error))
            return
        for message in messages:
            if not self._is_open:
                return
            self._expected = NEVER
            self.deadline = self._limit_deadline
            self._take(message)
        if not end or not self._is_open:
            return
        code = grpc_status.code_in_trailers(trailers)
        self._judge(grpc_status.in_http(code if code >= 0 else grpc_status.UNKNOWN))
        if self._frames.is_cut:
            self._end(grpc_status.INTERNAL, "a message that is cut")
        elif code < 0:
            self._end(grpc_status.UNKNOWN, "an answer without a status")
        else:
            self._end(code, grpc_status.message_in_trailers(trailers))

    def expire(self) -> None:
        """One of the limits has passed."""
        now = self._owner.loop.time()
        if self._expected <= now < self._limit_deadline:
            self._attempt_over(FailureClass.TIMEOUT, "no message within the time it was expected")
        else:
            super().expire()

    # -- as a callout -------------------------------------------------------------------------------------------------

    def _send(self, exchange: Exchange, destination: ServiceDestination, *, fresh: bool) -> None:
        endpoint = self._endpoint
        if endpoint is not None and not endpoint.pool.http2:
            self._fail(FailureClass.INTERNAL, "the destination does not speak HTTP/2 (options.http2)")
            return
        kept = self._kept
        assert kept is not None
        head = (
            b"POST %s HTTP/1.1\r\nhost: %s\r\ntransfer-encoding: chunked\r\ncontent-type: application/grpc\r\n"
            b"connection: te\r\nte: trailers\r\nuser-agent: vrata\r\n%s%s\r\n"
        ) % (self._method_path, destination.authority, self._timeout(), self._fields)
        exchange.start(self._traced(head), b"".join(kept), self._is_complete, chunked=True, fresh=fresh)

    def _timeout(self) -> bytes:
        """The line that tells the service how long it has.

        At first that is the limit to the millisecond: as one number it is a field that HPACK sends as an index.
        """
        limit = self._limit
        if limit == NEVER:
            return b""
        if self._is_repeated:
            limit = self._limit_deadline - self._owner.loop.time()
        left = int(limit * 1000)
        return b"grpc-timeout: %dm\r\n" % (1 if left < 1 else left if left < _MOST_MILLISECONDS else _MOST_MILLISECONDS)

    def _is_repeatable(self) -> bool:
        return self._kept is not None

    def _due(self) -> float:
        # A message is due also where the call is made once more, and a head is none.
        return self._expected if self._expected < self._limit_deadline else self._limit_deadline

    def _is_undecided(self) -> bool:
        # A stream that has answered messages, and is then cut, says as much as one whose status says so.
        return True

    def _failed(self, failure_class: FailureClass, reason: str) -> None:
        self._tell(failure_class.grpc_code, reason)

    def _dismiss(self) -> None:
        self._on_message = self._on_end = self._on_ready = None

    def _keep(self, content: bytes) -> None:
        kept = self._kept
        if kept is not None:
            self._size_kept += len(content)
            if self._size_kept > MAX_REPLAYED:
                self._kept = None
            else:
                kept.append(content)

    def _take(self, message: bytes) -> None:
        on_message = self._on_message
        if on_message is None:
            return
        try:
            on_message(message)
        except Exception:  # noqa: BLE001 - the connection that brought the message may serve others
            _log.exception("a message was not dealt with", callout=repr(self))

    def _end(self, code: int, reason: str) -> None:
        if self._leave():
            self._tell(code, reason[:MAX_REASON])

    def _tell(self, code: int, reason: str) -> None:
        self._code, self._reason = code, reason
        if self._is_starting:
            self._owner.loop.call_soon(self._deliver)
        else:
            self._deliver()

    def _deliver(self) -> None:
        on_end = self._on_end
        self._dismiss()
        if on_end is None:
            return
        try:
            on_end(self._code, self._reason)
        except Exception:  # noqa: BLE001 - the connection that brought the end may serve others
            _log.exception("the end of a call was not dealt with", callout=repr(self))
