"""Tracers: which requests of a listener are recorded, and under which identity."""

from __future__ import annotations

from random import Random
from time import time_ns
from typing import Final

from vrata.model.listener import Tracing
from vrata.policy.trace_context import is_chosen, is_state, parent_line, read_parent, sampling_limit
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.meters import ListenerMeters
from vrata.proxy.tracing.exporter import SpanExporter
from vrata.proxy.tracing.identities import Identities
from vrata.proxy.tracing.otlp import encoded_span
from vrata.proxy.tracing.trace import Beginning, RequestTrace, SpanSink

_PARENT: Final = b"traceparent"
_STATE: Final = b"tracestate"


class Tracer(SpanSink):
    """What one listener's ``tracing`` says, ready for use."""

    __slots__ = ("_exporter", "_identities", "_limit", "_listener", "_meters", "_parent_based")

    def __init__(
        self, tracing: Tracing, listener: str, exporter: SpanExporter, meters: ListenerMeters | None, random: Random
    ) -> None:
        """*random* makes identities, so no two workers may have the same one."""
        self._limit = sampling_limit(tracing.sampling_ratio)
        self._parent_based = tracing.parent_based
        self._listener = listener
        self._exporter = exporter
        self._meters = meters
        self._identities = Identities(random.getrandbits)

    @property
    def exporter(self) -> SpanExporter:
        """Where its spans go."""
        return self._exporter

    def __repr__(self) -> str:
        return f"<Tracer of {self._listener} to {self._exporter!r}>"

    def begin(self, request: ClientRequest, version: str) -> None:
        """*request* has come, by the *version* of HTTP: give it its trace."""
        head = request.head
        parents = head.values(_PARENT)
        states = head.values(_STATE)
        context = read_parent(parents) if parents else None
        if context is None:
            trace_id = self._identities.trace()
            if is_chosen(trace_id, self._limit):
                self._record(request, version, trace_id, "", keeps_state=False)
            else:
                # One that says that nobody records it.
                line = parent_line(trace_id, self._identities.span(), is_sampled=False)
                request.trace = RequestTrace(trace_id, line, keeps_state=False)
            return
        trace_id = context.trace_id
        keeps_state = is_state(states)
        if context.is_sampled if self._parent_based else is_chosen(trace_id, self._limit):
            self._record(request, version, trace_id, context.parent_id, keeps_state=keeps_state)
        elif not keeps_state:
            request.trace = RequestTrace(trace_id, b"", keeps_state=False)
        # Else it goes on as it came.

    def add(self, trace: RequestTrace) -> None:
        """Have the span of *trace* exported, which is over."""
        self._exporter.add(encoded_span(trace, self._listener), self._meters)

    def _record(
        self, request: ClientRequest, version: str, trace_id: str, parent_id: str, *, keeps_state: bool
    ) -> None:
        span_id = self._identities.span()
        beginning = Beginning(
            time_ns(),
            span_id,
            parent_id,
            request.head,
            request.scheme,
            request.client_ip,
            request.peer.decode("ascii"),
            version,
        )
        line = parent_line(trace_id, span_id, is_sampled=True)
        trace = RequestTrace(trace_id, line, keeps_state=keeps_state, beginning=beginning, sink=self)
        request.trace = trace
        request.observed_by(trace)
