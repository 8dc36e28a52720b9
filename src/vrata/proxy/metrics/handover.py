"""Hand-overs: what a worker has counted since its last one, as the bytes that its supervisor gets.

One JSON array per line: what the worker carries, what endpoints carry, by destination, then a listener, then its
series. Counts are increments and are zero in the worker afterwards; what a worker just knows (in flight, connected,
failures in a row) is stated as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from vrata.proxy.meters import (
    DestinationMeter,
    EndpointMeter,
    ListenerMeters,
    MiddlewareMeter,
    MirrorMeter,
    RouteMeter,
)
from vrata.proxy.metrics.loads import EndpointLoads
from vrata.proxy.response_meter import ResponseMeter

LOAD: Final = "load"
WORKER: Final = "worker"
LISTENER: Final = "listener"
ROUTE: Final = "route"
DESTINATION: Final = "destination"
ENDPOINT: Final = "endpoint"
MIRROR: Final = "mirror"
MIDDLEWARE: Final = "middleware"

Line: TypeAlias = tuple[bytes, bool]
"""A line, and whether it has any increments."""


def load(destination_id: str, endpoints: EndpointLoads) -> Line:
    """Return what the endpoints of a destination carry."""
    return _line(LOAD, destination_id, endpoints), False


def worker(connections: int, in_flight: int) -> Line:
    """Return what the worker itself carries: connections of clients, and their requests."""
    return _line(WORKER, connections, in_flight), False


def take(meters: ListenerMeters) -> Iterator[Line]:
    """Give the lines of one listener. Each series is taken at one moment, different ones at different moments."""
    counted = bool(meters.accepted or meters.tls_failures or meters.errors or meters.spans)
    yield (
        _line(
            LISTENER,
            meters.listener_id,
            meters.address,
            meters.bounds,
            meters.connected,
            meters.accepted,
            meters.tls_failures,
            meters.errors,
            meters.spans,
        ),
        counted,
    )
    meters.accepted = meters.tls_failures = 0
    meters.errors = {}
    meters.spans = {}
    # Copies: the owner of this generator lets requests pass between two lines.
    for key, route in list(meters.routes.items()):
        yield from _route(key, route)
    for destination_id, destination in list(meters.destinations.items()):
        yield from _destination(destination_id, destination)
    for (destination_id, identifier), endpoint in list(meters.endpoints.items()):
        yield from _endpoint(destination_id, identifier, endpoint)
    for (key, destination_id), mirror in list(meters.mirrors.items()):
        yield from _mirror(key, destination_id, mirror)
    for key, middleware in list(meters.middlewares.items()):
        yield from _middleware(key, middleware)


def _route(key: str, route: RouteMeter) -> Iterator[Line]:
    methods = {
        method.decode("ascii"): _responses(responses)
        for method, responses in route.methods.items()
        if not responses.is_zero
    }
    counted = bool(methods or route.request_bytes or route.response_bytes or route.retries)
    if counted or route.in_flight:
        line = _line(ROUTE, key, route.in_flight, route.request_bytes, route.response_bytes, methods, route.retries)
        route.request_bytes = route.response_bytes = 0
        route.retries = {}
        yield line, counted


def _destination(destination_id: str, destination: DestinationMeter) -> Iterator[Line]:
    counted = not destination.responses.is_zero
    if counted or destination.in_flight:
        yield _line(DESTINATION, destination_id, destination.in_flight, _responses(destination.responses)), counted


def _endpoint(destination_id: str, identifier: str, endpoint: EndpointMeter) -> Iterator[Line]:
    counted = not endpoint.responses.is_zero
    if counted or endpoint.failures:
        yield _line(ENDPOINT, destination_id, identifier, endpoint.failures, _responses(endpoint.responses)), counted


def _mirror(key: str, destination_id: str, mirror: MirrorMeter) -> Iterator[Line]:
    if mirror.sent or mirror.skipped:
        line = _line(MIRROR, key, destination_id, mirror.sent, mirror.skipped)
        mirror.sent = 0
        mirror.skipped = {}
        yield line, True


def _middleware(key: str, middleware: MiddlewareMeter) -> Iterator[Line]:
    if not middleware.is_zero:
        yield (
            _line(
                MIDDLEWARE,
                key,
                middleware.passes,
                middleware.rejections,
                middleware.errors,
                middleware.dropped_lines,
                *middleware.take(),
            ),
            True,
        )
        middleware.passes = middleware.errors = 0
        middleware.rejections = {}
        middleware.dropped_lines = {}


def _responses(responses: ResponseMeter) -> tuple[Any, ...]:
    taken = (responses.take_statuses(), *responses.take())
    exemplars = responses.take_exemplars()
    return taken if exemplars is None else (*taken, exemplars)


def _line(*fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
