"""The trace of one request: what goes to the upstream as its context, and what its span tells once it is over."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Final, Protocol

from vrata.policy import grpc_status
from vrata.policy.trace_context import in_head
from vrata.wire.http1.head import RequestHead, ResponseHead

MAX_EVENTS: Final = 32
"""Attempts of a request that are told of; later ones are counted."""


class SpanSink(Protocol):
    """Where spans go."""

    def add(self, trace: RequestTrace) -> None:
        """*trace* is over."""
        ...


class Beginning:
    """What is known of a request when it begins."""

    __slots__ = ("at", "client", "head", "parent_id", "peer", "scheme", "span_id", "version")

    def __init__(
        self,
        at: int,
        span_id: str,
        parent_id: str,
        head: RequestHead,
        scheme: str,
        client: str,
        peer: str,
        version: str,
    ) -> None:
        self.at = at
        """Nanoseconds since 1970."""
        self.span_id = span_id
        self.parent_id = parent_id
        """Empty where the trace begins here."""
        self.head = head
        """As it came, whatever is edited further inside."""
        self.scheme = scheme
        self.client = client
        """Address of the client, which may stand behind trusted proxies."""
        self.peer = peer
        """Address of whoever has connected."""
        self.version = version
        """Of HTTP."""


class Attempt:
    """One attempt at an upstream."""

    __slots__ = ("at", "destination", "endpoint", "outcome", "seconds")

    def __init__(self, at: int, destination: str, endpoint: str, outcome: str, seconds: float) -> None:
        self.at = at
        """When it was over, in nanoseconds since 1970."""
        self.destination = destination
        self.endpoint = endpoint
        self.outcome = outcome
        """``status 503``, or the name of an error."""
        self.seconds = seconds


class RequestTrace:
    """One request of a listener with ``tracing``.

    Sees the response as the outermost of its observers (:class:`vrata.proxy.contracts.ResponseObserver`), which it is
    only where it is recorded.
    """

    __slots__ = (
        "_attempt_began",
        "_began",
        "_endpoint_of_attempt",
        "_keeps_state",
        "_sink",
        "attempts",
        "attempts_left_out",
        "beginning",
        "code",
        "destination",
        "endpoint",
        "error",
        "group",
        "is_call",
        "is_complete",
        "line",
        "nanoseconds",
        "rejected_by",
        "route",
        "size",
        "status",
        "trace_id",
    )

    def __init__(
        self,
        trace_id: str,
        line: bytes,
        *,
        keeps_state: bool,
        beginning: Beginning | None = None,
        sink: SpanSink | None = None,
    ) -> None:
        """*line*, with its CRLF, goes to the upstream instead of any ``traceparent``; empty = the client's goes.

        Only what has a *beginning* and a *sink* is recorded.
        """
        self.trace_id = trace_id
        self.line = line
        self.beginning = beginning
        self._keeps_state = keeps_state
        self._sink = sink
        self._began = perf_counter_ns() if sink is not None else 0
        self.is_call = beginning is not None and beginning.head.is_grpc
        """It is one of gRPC."""
        # What becomes of the request.
        self.nanoseconds = 0
        self.route = ""
        self.group = ""
        self.destination = ""
        self.endpoint = ""
        self.rejected_by = ""
        self.status = 0
        self.code = -1
        """What a call comes to; -1 as long as nobody has said that."""
        self.size = 0
        self.is_complete = False
        self.error = ""
        # Attempts.
        self.attempts: list[Attempt] = []
        self.attempts_left_out = 0
        self._attempt_began = 0
        self._endpoint_of_attempt = ""

    def __repr__(self) -> str:
        return f"<RequestTrace {self.trace_id}{', recorded' if self.is_recorded else ''}>"

    @property
    def is_recorded(self) -> bool:
        """Whether there will be a span."""
        return self._sink is not None

    def in_head(self, head: bytes) -> bytes:
        """Return *head*, a whole one as it goes to an upstream, with the context of what it belongs to."""
        return in_head(head, self.line, keeps_state=self._keeps_state)

    # -- what becomes of the request ----------------------------------------------------------------------------------

    def matched(self, route: str, group: str) -> None:
        """It is one of *route*, in *group* if that is not empty."""
        self.route = route
        self.group = group

    def rejected(self, middleware: str) -> None:
        """*middleware* answers it."""
        self.rejected_by = middleware

    def forwarded_to(self, destination_id: str, endpoint: str) -> None:
        """An attempt at *endpoint* of a destination begins."""
        if self._sink is not None:
            self.destination = destination_id
            self.endpoint = self._endpoint_of_attempt = endpoint
            self._attempt_began = perf_counter_ns()

    def attempt_failed(self, outcome: str) -> None:
        """The attempt came to *outcome* and is followed by another one."""
        self._end_attempt(outcome)

    def failed(self, error: str) -> None:
        """The proxy itself fails the request; *error* is the name that its answer gives."""
        self.error = error
        self._end_attempt(error)

    def ended_with(self, trailers: bytes) -> None:
        """The response ends with *trailers*, lines that each have their CRLF."""
        if self.is_call:
            self.code = grpc_status.code_in_trailers(trailers)

    def forget(self) -> None:
        """There is to be no span."""
        self._sink = None

    # -- as an observer of the response -------------------------------------------------------------------------------

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The response begins."""
        self.status = head.status
        if self.is_call and self.code < 0:
            # It is in the head where there are no messages; trailers may have come with the head.
            self.code = grpc_status.read_code(head.values(b"grpc-status"))
        if self._endpoint_of_attempt:
            self._end_attempt(f"status {head.status}")
        return head

    def on_response_end(self, size: int, complete: bool) -> None:
        """It is over, or there will be none."""
        sink = self._sink
        if sink is not None:
            self.size = size
            self.is_complete = complete
            self._end_attempt("cut")
            self.nanoseconds = perf_counter_ns() - self._began
            sink.add(self)

    def _end_attempt(self, outcome: str) -> None:
        endpoint = self._endpoint_of_attempt
        if not endpoint:
            return
        self._endpoint_of_attempt = ""
        if len(self.attempts) >= MAX_EVENTS:
            self.attempts_left_out += 1
            return
        now = perf_counter_ns()
        seconds = (now - self._attempt_began) / 1e9
        # By the clock that the span's end is told by: two clocks could have it happen after that.
        at = self.beginning.at + now - self._began if self.beginning is not None else 0
        self.attempts.append(Attempt(at, self.destination, endpoint, outcome, seconds))
