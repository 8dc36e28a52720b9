"""Tracers: which requests of a listener are recorded, and under which identity."""

from __future__ import annotations

from random import Random
from time import time_ns
from typing import Final, Protocol

from vrata.model.listener import Tracing
from vrata.policy.trace_context import is_chosen, is_state, parent_line, read_parent
from vrata.proxy.meters import ListenerMeters
from vrata.proxy.tracing.exporter import SpanExporter
from vrata.proxy.tracing.trace import Beginning, RequestTrace
from vrata.wire.http1.head import RequestHead

MAX_TEXT: Final = 256
"""Characters of a client's text that a span keeps, but for the path, of which it keeps ten times as many."""


class TracedRequest(Protocol):
    """A request as it comes to its listener."""

    trace: RequestTrace | None

    @property
    def head(self) -> RequestHead: ...  # noqa: D102
    @property
    def peer(self) -> bytes: ...  # noqa: D102
    @property
    def scheme(self) -> str: ...  # noqa: D102
    @property
    def client_ip(self) -> str: ...  # noqa: D102
    def observed_by(self, observer: RequestTrace) -> None: ...  # noqa: D102


class Tracer:
    """What one listener's ``tracing`` says, ready for use."""

    def __init__(
        self, tracing: Tracing, listener: str, exporter: SpanExporter, meters: ListenerMeters | None, random: Random
    ) -> None:
        """*random* makes identities, so no two workers may have the same one."""
        self._ratio = tracing.sampling_ratio
        self._parent_based = tracing.parent_based
        self._listener = listener
        self._exporter = exporter
        self._meters = meters
        self._random_bits = random.getrandbits

    @property
    def exporter(self) -> SpanExporter:
        """Where its spans go."""
        return self._exporter

    def __repr__(self) -> str:
        return f"<Tracer of {self._listener}, {self._ratio:g} to {self._exporter!r}>"

    def begin(self, request: TracedRequest, version: str) -> None:
        """*request* has come, by the *version* of HTTP: give it its trace."""
        head = request.head
        parents = head.values(b"traceparent")
        context = read_parent(parents) if parents else None
        states = head.values(b"tracestate")
        keeps_state = context is not None and is_state(states)
        trace_id = f"{self._nonzero(128):032x}" if context is None else context.trace_id
        if context is not None and self._parent_based:
            is_recorded = context.is_sampled
        else:
            is_recorded = is_chosen(trace_id, self._ratio)
        if not is_recorded:
            self._begin_unrecorded(
                request, trace_id, is_new=context is None, drops_state=bool(states) and not keeps_state
            )
            return
        span_id = f"{self._nonzero(64):016x}"
        trace = RequestTrace(
            trace_id,
            span_id,
            "" if context is None else context.parent_id,
            parent_line(trace_id, span_id, is_sampled=True),
            keeps_state=keeps_state,
            beginning=self._beginning(request, head, version),
            sink=self,
        )
        request.trace = trace
        request.observed_by(trace)

    def add(self, trace: RequestTrace) -> None:
        """Have the span of *trace* exported, which is over."""
        self._exporter.add(trace, self._meters)

    def _begin_unrecorded(self, request: TracedRequest, trace_id: str, *, is_new: bool, drops_state: bool) -> None:
        """The context of *request* goes on as it came; where there is none, one that says that nobody records it."""
        line = parent_line(trace_id, f"{self._nonzero(64):016x}", is_sampled=False) if is_new else b""
        if line or drops_state:
            request.trace = RequestTrace(trace_id, "", "", line, keeps_state=not drops_state)

    def _beginning(self, request: TracedRequest, head: RequestHead, version: str) -> Beginning:
        return Beginning(
            at=time_ns(),
            method=head.method.decode("ascii")[:MAX_TEXT],
            path=head.target.partition(b"?")[0].decode("latin-1")[: MAX_TEXT * 10],
            scheme=request.scheme,
            host=head.authority.decode("latin-1")[:MAX_TEXT],
            client=request.client_ip,
            peer=request.peer.decode("ascii"),
            version=version,
            user_agent=(head.header("user-agent") or "")[:MAX_TEXT],
            listener=self._listener,
        )

    def _nonzero(self, bits: int) -> int:
        # Zero, which stands for no identity, is as likely as any other number.
        return self._random_bits(bits) or 1
