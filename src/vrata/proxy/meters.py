"""Meters: what is counted of traffic while it passes.

A meter holds values alone; it knows neither the names of metrics nor how they are shown (``proxy.metrics`` does). The
meters of a listener outlive every plan: they are found by the keys of routes and destinations, so a swap rebinds
nothing. Every call of this module that a request makes is on the hot path.

The same classes hold the totals over all workers in the supervisor.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Set as AbstractSet
from typing import Final

from vrata.model.listener import Metrics
from vrata.observability.metrics import Histogram
from vrata.proxy.response_meter import ResponseMeter

UNMATCHED = "\0"
"""The :func:`route_key` of requests that no route took."""

OTHER_METHOD = b"OTHER"
"""Stands for every method that is not in :data:`METHODS`."""

METHODS = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT"},
)
"""The methods that are told apart: a client can invent as many others as it likes."""


MAX_RETRY = 100
"""The number under which this retry of a request and all later ones count."""


def route_key(name: str, group: str) -> str:
    """Return what identifies a route in a group, or on its own when *group* is empty.

    One text, since a text keeps its hash and a tuple would be hashed for each request. A separator within a name, where
    nobody needs it, is replaced.
    """
    return "\0".join(part.replace("\0", "\ufffd") for part in (name, group))


def route_labels(key: str) -> tuple[str, str]:
    """Return name and group of the route with *key*."""
    name, _, group = key.partition("\0")
    return name, group


def middleware_key(name: str, kind: str) -> str:
    """Return what identifies a middleware of the type *kind*, in one text for the reason that :func:`route_key` gives.

    Made when the plan is made, once for each middleware.
    """
    return sys.intern(f"{kind}\0{name}")


def middleware_labels(key: str) -> tuple[str, str]:
    """Return name and type of the middleware with *key*."""
    kind, _, name = key.partition("\0")
    return name, kind


class RouteMeter:
    """The requests of one route."""

    __slots__ = ("_bounds", "in_flight", "methods", "request_bytes", "response_bytes", "retries")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """*bounds* are the limits of the duration buckets in seconds."""
        self._bounds = bounds
        self.in_flight = 0
        self.request_bytes = 0
        """Of content, as read from clients."""
        self.response_bytes = 0
        """Of content, as written to clients."""
        self.methods: dict[bytes, ResponseMeter] = {}
        self.retries: dict[int, int] = {}
        """Requests that were sent again, by which time it was, counted from 1."""

    def __repr__(self) -> str:
        return f"<RouteMeter {self.in_flight} in flight, {self.methods}>"

    def ended(self, method: bytes, status: int, seconds: float) -> None:
        """A request is over: answered with *status*, or without a response when that is 0."""
        self.in_flight -= 1
        if status:
            responses = self.methods.get(method)
            if responses is None:
                responses = self.with_method(method)
            responses.record(status, seconds)

    def exemplify(self, method: bytes, seconds: float, trace_id: str, at: float) -> None:
        """A request that ended after *seconds* was in the trace *trace_id*; *at* is now, in seconds since 1970."""
        self.with_method(method).exemplify(seconds, trace_id, at)

    def retried(self, number: int) -> None:
        """A request is sent again, for the time *number*, counted from 1."""
        number = min(number, MAX_RETRY)
        self.retries[number] = self.retries.get(number, 0) + 1

    def with_method(self, method: bytes) -> ResponseMeter:
        """Return the responses to *method*, or to all unknown ones together."""
        if method not in METHODS:
            method = OTHER_METHOD
        responses = self.methods.get(method)
        if responses is None:
            responses = self.methods[method] = ResponseMeter(self._bounds)
        return responses

    def reset_durations(self, bounds: tuple[float, ...]) -> None:
        """Begin to count durations again, with other buckets."""
        self._bounds = bounds
        for responses in self.methods.values():
            responses.reset(bounds)


class DestinationMeter:
    """The requests forwarded to one destination."""

    __slots__ = ("in_flight", "responses")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """*bounds* are the limits of the duration buckets in seconds."""
        self.in_flight = 0
        self.responses = ResponseMeter(bounds)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.in_flight} in flight, {self.responses}>"

    def began(self) -> None:
        """A request goes there."""
        self.in_flight += 1

    def attempt_failed(self, status: int, seconds: float) -> None:
        """An attempt at a request, which came to *status*, is followed by another one: this matters to endpoints."""

    def ended(self, status: int, seconds: float) -> None:
        """A request is over: answered with *status*, or without a response when that is 0."""
        self.in_flight -= 1
        if status:
            self.responses.record(status, seconds)

    def exemplify(self, seconds: float, trace_id: str, at: float) -> None:
        """A request that ended after *seconds* was in the trace *trace_id*; *at* is now, in seconds since 1970."""
        self.responses.exemplify(seconds, trace_id, at)


class EndpointMeter(DestinationMeter):
    """The requests forwarded to one endpoint; counts for its destination as well."""

    __slots__ = ("destination", "failures")

    def __init__(self, bounds: tuple[float, ...], destination: DestinationMeter | None) -> None:
        """*destination* is None when destinations are not counted."""
        super().__init__(bounds)
        self.destination = destination
        self.failures = 0
        """How many of its last requests in a row ended with a status of 500 or more."""

    def began(self) -> None:
        """A request goes there."""
        self.in_flight += 1
        if self.destination is not None:
            self.destination.began()

    def attempt_failed(self, status: int, seconds: float) -> None:
        """An attempt here, which came to *status*, is followed by another one, perhaps elsewhere."""
        self.responses.record(status, seconds)
        self.failures = self.failures + 1 if status >= 500 else 0

    def ended(self, status: int, seconds: float) -> None:
        """A request is over."""
        self.in_flight -= 1
        if status:
            self.responses.record(status, seconds)
            self.failures = self.failures + 1 if status >= 500 else 0
        if self.destination is not None:
            self.destination.ended(status, seconds)

    def exemplify(self, seconds: float, trace_id: str, at: float) -> None:
        """As above, and of its destination too."""
        self.responses.exemplify(seconds, trace_id, at)
        if self.destination is not None:
            self.destination.exemplify(seconds, trace_id, at)


class MirrorMeter:
    """The copies of one route's requests to one destination."""

    __slots__ = ("sent", "skipped")

    def __init__(self) -> None:
        self.sent = 0
        self.skipped: dict[str, int] = {}
        """Requests that were to be copied and were not, by reason."""

    def __repr__(self) -> str:
        return f"<MirrorMeter {self.sent} sent, skipped {self.skipped}>"

    def skip(self, reason: str, count: int = 1) -> None:
        """*count* requests were not copied."""
        self.skipped[reason] = self.skipped.get(reason, 0) + count


QUEUE_FULL: Final = "queue_full"
"""Why a line of an access log is lost: so many wait already that its file is too slow."""
WRITE_ERROR: Final = "write_error"
"""Why a line is lost: its file could not be written to."""
LOST_LINES: Final = (QUEUE_FULL, WRITE_ERROR)


class MiddlewareMeter(Histogram):
    """The runs of one middleware: how long its own work took, in seconds, and how they came out."""

    __slots__ = ("dropped_lines", "errors", "passes", "rejections")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        super().__init__(bounds)
        self.passes = 0
        """Runs after which the request went on."""
        self.rejections: dict[int, int] = {}
        """Runs that answered the request, by status."""
        self.errors = 0
        """Times that the middleware itself failed, whatever became of the request."""
        self.dropped_lines: dict[str, int] = {}
        """Lines of an access log that were not written, by reason."""

    def __repr__(self) -> str:
        return f"<MiddlewareMeter {self.passes} passed, rejected {self.rejections}>"

    @property
    def is_zero(self) -> bool:
        """True when there is nothing to tell."""
        return not (self.passes or self.rejections or self.errors or self.dropped_lines)

    def passed(self, seconds: float) -> None:
        """A request goes on; the work on it took *seconds*."""
        self.passes += 1
        # What follows is observe(), spelled out to save a call.
        self.counts[0 if seconds <= self.lowest else bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def rejected(self, status: int, seconds: float) -> None:
        """A request was answered with *status*; the work on it took *seconds*."""
        self.rejections[status] = self.rejections.get(status, 0) + 1
        self.observe(seconds)

    def replaced(self, status: int) -> None:
        """A request that went on was answered with *status* in spite of that; its time was told when it went on."""
        self.rejections[status] = self.rejections.get(status, 0) + 1

    def failed(self) -> None:
        """The middleware itself failed. What became of the request is told beside this."""
        self.errors += 1

    def dropped(self, reason: str, count: int = 1) -> None:
        """*count* lines of an access log are lost."""
        self.dropped_lines[reason] = self.dropped_lines.get(reason, 0) + count


class ListenerMeters:
    """Everything that is counted of one listener's traffic."""

    __slots__ = (
        "accepted",
        "address",
        "bounds",
        "connected",
        "counts_endpoints",
        "destinations",
        "endpoints",
        "errors",
        "listener_id",
        "metrics",
        "middlewares",
        "mirrors",
        "path",
        "routes",
        "spans",
        "tls_failures",
    )

    def __init__(self, listener_id: str, address: str, metrics: Metrics) -> None:
        self.listener_id = listener_id
        self.address = address
        self.metrics = metrics
        """What the listener asks for."""
        self.path = metrics.path
        """Where the listener shows it."""
        self.bounds = metrics.histograms.duration_buckets
        self.counts_endpoints = metrics.collect.endpoint
        self.routes: dict[str, RouteMeter] = {}
        """By :func:`route_key`."""
        self.destinations: dict[str, DestinationMeter] = {}
        """By ID."""
        self.endpoints: dict[tuple[str, str], EndpointMeter] = {}
        """By the destination's ID and ``host:port``."""
        self.mirrors: dict[tuple[str, str], MirrorMeter] = {}
        """By :func:`route_key` and the mirror's destination."""
        self.middlewares: dict[str, MiddlewareMeter] = {}
        """By :func:`middleware_key`."""
        self.errors: dict[str, int] = {}
        """Requests that the proxy itself failed, by the error's name."""
        self.spans: dict[str, int] = {}
        """Spans of requests, by what became of them."""
        self.accepted = 0
        """Connections that were accepted."""
        self.connected = 0
        """Connections that are open."""
        self.tls_failures = 0
        """Connections that ended in their TLS handshake."""

    def __repr__(self) -> str:
        return f"<ListenerMeters {self.listener_id} {self.address}, {len(self.routes)} routes>"

    # -- for each request ---------------------------------------------------------------------------------------------

    def matched(self, key: str, size: int) -> RouteMeter | None:
        """Begin to measure a request of the route with *key*, of whose content *size* bytes have come.

        None when routes are not counted.
        """
        meter = self.routes.get(key)
        if meter is None:
            if not self.metrics.collect.route:
                return None
            meter = self.routes[key] = RouteMeter(self.bounds)
        meter.in_flight += 1
        meter.request_bytes += size
        return meter

    def forwarded(self, destination_id: str, endpoint: str) -> DestinationMeter | None:
        """Begin to measure a request that goes to *endpoint* (``host:port``); None when nothing of it is counted."""
        meter = self.destinations.get(destination_id)
        if meter is not None and not self.counts_endpoints:
            meter.in_flight += 1
            return meter
        meter = self._upstream(destination_id, endpoint)
        if meter is not None:
            meter.began()
        return meter

    def middleware(self, key: str) -> MiddlewareMeter | None:
        """Return what counts the runs of the middleware with *key*; None when middlewares are not counted."""
        meter = self.middlewares.get(key)
        if meter is None and self.metrics.collect.middleware:
            return self.with_middleware(key)
        return meter

    def mirrored(self, key: str, destination_id: str) -> MirrorMeter | None:
        """Return what counts the copies of the route with *key*; None when routes are not counted."""
        return self.mirror(key, destination_id) if self.metrics.collect.route else None

    def forwarded_again(self, meter: DestinationMeter, destination_id: str, endpoint: str) -> DestinationMeter:
        """A request that *meter* measures goes to *endpoint* from now on; return what measures it there."""
        if not self.counts_endpoints or not isinstance(meter, EndpointMeter):
            return meter
        destination = self.destination(destination_id) if self.metrics.collect.destination else None
        if meter.destination is not destination:
            return meter  # what is counted has changed since the request began
        meter.in_flight -= 1
        found = self.endpoint(destination_id, endpoint, destination)
        found.in_flight += 1
        return found

    def failed(self, error: str) -> None:
        """The proxy itself failed a request; *error* is the name that clients see."""
        if self.metrics.collect.listener:
            self.errors[error] = self.errors.get(error, 0) + 1

    def span(self, outcome: str) -> None:
        """A span of a request came to *outcome*."""
        if self.metrics.collect.listener:
            self.spans[outcome] = self.spans.get(outcome, 0) + 1

    def _upstream(self, destination_id: str, endpoint: str) -> DestinationMeter | None:
        collect = self.metrics.collect
        destination = self.destination(destination_id) if collect.destination else None
        return self.endpoint(destination_id, endpoint, destination) if collect.endpoint else destination

    # -- for each series ----------------------------------------------------------------------------------------------

    def route(self, key: str) -> RouteMeter:
        """Return the meter of a route, a new one if there is none."""
        meter = self.routes.get(key)
        if meter is None:
            meter = self.routes[key] = RouteMeter(self.bounds)
        return meter

    def destination(self, destination_id: str) -> DestinationMeter:
        """Return the meter of a destination, a new one if there is none."""
        meter = self.destinations.get(destination_id)
        if meter is None:
            meter = self.destinations[destination_id] = DestinationMeter(self.bounds)
        return meter

    def endpoint(
        self, destination_id: str, endpoint: str, destination: DestinationMeter | None = None
    ) -> EndpointMeter:
        """Return the meter of an endpoint, a new one if there is none."""
        key = (destination_id, endpoint)
        meter = self.endpoints.get(key)
        if meter is None:
            meter = self.endpoints[key] = EndpointMeter(self.bounds, destination)
        return meter

    def mirror(self, key: str, destination_id: str) -> MirrorMeter:
        """Return the meter of a mirror, a new one if there is none."""
        meter = self.mirrors.get((key, destination_id))
        if meter is None:
            meter = self.mirrors[key, destination_id] = MirrorMeter()
        return meter

    def with_middleware(self, key: str) -> MiddlewareMeter:
        """Return the meter of a middleware, a new one if there is none."""
        meter = self.middlewares.get(key)
        if meter is None:
            meter = self.middlewares[key] = MiddlewareMeter(self.bounds)
        return meter

    # -- for each snapshot --------------------------------------------------------------------------------------------

    def configure(self, metrics: Metrics) -> None:
        """Go on as *metrics* ask: what is not collected any more goes, and other buckets begin at zero."""
        before, collect = self.metrics.collect, metrics.collect
        self.metrics = metrics
        self.path = metrics.path
        self.counts_endpoints = collect.endpoint
        bounds = metrics.histograms.duration_buckets
        if bounds != self.bounds:
            self._reset_durations(bounds)
        if not collect.route:
            self.routes.clear()
            self.mirrors.clear()
        if not collect.destination:
            self.destinations.clear()
        if not collect.endpoint or collect.destination != before.destination:
            self.endpoints.clear()  # each counts for its destination as well, or for none
        if not collect.middleware:
            self.middlewares.clear()
        if not collect.listener:
            self.errors.clear()
            self.spans.clear()

    def keep_only(
        self,
        routes: AbstractSet[str],
        destinations: AbstractSet[str],
        endpoints: AbstractSet[tuple[str, str]],
        middlewares: AbstractSet[str],
    ) -> None:
        """Forget what the plan that is now in force does not name."""
        for key in self.routes.keys() - routes:
            if key != UNMATCHED:
                del self.routes[key]
        for destination_id in self.destinations.keys() - destinations:
            del self.destinations[destination_id]
        for endpoint in self.endpoints.keys() - endpoints:
            del self.endpoints[endpoint]
        for key, destination_id in list(self.mirrors):
            if key not in routes or destination_id not in destinations:
                del self.mirrors[key, destination_id]
        for key in self.middlewares.keys() - middlewares:
            del self.middlewares[key]

    def _reset_durations(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        for route in self.routes.values():
            route.reset_durations(bounds)
        for destination in (*self.destinations.values(), *self.endpoints.values()):
            destination.responses.reset(bounds)
        for middleware in self.middlewares.values():
            middleware.reset(bounds)
