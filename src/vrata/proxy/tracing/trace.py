"""The trace of one request: what goes to the upstream as its context, and its span once it is over."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns
from typing import Final, Protocol

from vrata.policy.trace_context import in_head
from vrata.wire.http1.head import ResponseHead

MAX_EVENTS: Final = 32
"""Attempts of a request that are told of; later ones are counted."""


class SpanSink(Protocol):
    """Where spans go."""

    def add(self, trace: RequestTrace) -> None:
        """*trace* is over."""
        ...


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is known of a request when it begins."""

    at: int
    """Nanoseconds since 1970."""
    method: str
    path: str
    """As received, without the query, which may hold what nobody else is to see."""
    scheme: str
    host: str
    """As received, with a port or without."""
    client: str
    """Address of the client, which may stand behind trusted proxies."""
    peer: str
    """Address of whoever has connected."""
    version: str
    """Of HTTP."""
    user_agent: str
    listener: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at an upstream."""

    at: int
    """When it was over, in nanoseconds since 1970."""
    destination: str
    endpoint: str
    outcome: str
    """``status 503``, or the name of an error."""
    seconds: float


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
        "_line",
        "_sink",
        "attempts",
        "attempts_left_out",
        "beginning",
        "destination",
        "endpoint",
        "error",
        "group",
        "is_complete",
        "nanoseconds",
        "parent_id",
        "rejected_by",
        "request_id",
        "route",
        "size",
        "span_id",
        "status",
        "trace_id",
    )

    def __init__(
        self,
        trace_id: str,
        span_id: str,
        parent_id: str,
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
        self.span_id = span_id
        self.parent_id = parent_id
        """Empty where the trace begins here."""
        self.beginning = beginning
        self._line = line
        self._keeps_state = keeps_state
        self._sink = sink
        self._began = perf_counter_ns() if sink is not None else 0
        # What becomes of the request.
        self.nanoseconds = 0
        self.route = ""
        self.group = ""
        self.request_id = ""
        self.destination = ""
        self.endpoint = ""
        self.rejected_by = ""
        self.status = 0
        self.size = 0
        self.is_complete = False
        self.error = ""
        # Attempts.
        self.attempts: list[Attempt] = []
        self.attempts_left_out = 0
        self._attempt_began = 0
        self._endpoint_of_attempt = ""

    def __repr__(self) -> str:
        return f"<RequestTrace {self.trace_id} {self.span_id}{', recorded' if self.is_recorded else ''}>"

    @property
    def is_recorded(self) -> bool:
        """Whether there will be a span."""
        return self._sink is not None

    def in_head(self, head: bytes) -> bytes:
        """Return *head*, a whole one as it goes to an upstream, with the context of what it belongs to."""
        return in_head(head, self._line, keeps_state=self._keeps_state)

    # -- what becomes of the request ----------------------------------------------------------------------------------

    def matched(self, route: str, group: str, request_id: str) -> None:
        """It is one of *route*, in *group* if that is not empty."""
        self.route = route
        self.group = group
        self.request_id = request_id

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

    def forget(self) -> None:
        """There is to be no span."""
        self._sink = None

    # -- as an observer of the response -------------------------------------------------------------------------------

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The response begins."""
        self.status = head.status
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
