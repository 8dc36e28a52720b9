"""The metric families of a listener: names, types, labels, and where their samples come from.

``docs/guide/metrics.md`` has the same table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from vrata.observability.exposition import Exemplar, Family
from vrata.proxy.endpoint_status import DestinationStatus
from vrata.proxy.meters import LOST_LINES, middleware_labels, route_labels
from vrata.proxy.metrics import standing_families
from vrata.proxy.metrics.totals import ListenerTotals
from vrata.proxy.response_meter import ResponseMeter

_ROUTE: Final = ("route", "group")
_DESTINATION: Final = ("destination",)
_ENDPOINT: Final = ("destination", "endpoint")
_MIDDLEWARE: Final = ("middleware", "type")
_LISTENER: Final = ("listener", "address")
_STATUS: Final = ("status_code", "status_class")

ROUTE_REQUESTS: Final = Family(
    "vrata_route_requests_total",
    "counter",
    (*_ROUTE, "method", *_STATUS),
    "Requests answered, by route; an empty route stands for requests that no route matched.",
)
ROUTE_DURATION: Final = Family(
    "vrata_route_duration_seconds",
    "histogram",
    (*_ROUTE, "method"),
    "Time from a request's match to the end of its response.",
)
ROUTE_REQUEST_BYTES: Final = Family(
    "vrata_route_request_bytes_total", "counter", _ROUTE, "Bytes of request content read from clients."
)
ROUTE_RESPONSE_BYTES: Final = Family(
    "vrata_route_response_bytes_total", "counter", _ROUTE, "Bytes of response content written to clients."
)
ROUTE_IN_FLIGHT: Final = Family("vrata_route_inflight_requests", "gauge", _ROUTE, "Requests being answered.")
MIRROR_REQUESTS: Final = Family(
    "vrata_mirror_requests_total",
    "counter",
    ("route", "destination"),
    "Copies of requests sent to the destination of a mirror.",
)
MIRROR_SKIPPED: Final = Family(
    "vrata_mirror_skipped_total",
    "counter",
    ("route", "destination", "reason"),
    "Requests that were to be copied to a mirror and were not.",
)
ROUTE_RETRIES: Final = Family(
    "vrata_route_retries_total",
    "counter",
    (*_ROUTE, "attempt"),
    "Requests sent to an upstream again, by which retry of the request it was.",
)
DESTINATION_REQUESTS: Final = Family(
    "vrata_destination_requests_total",
    "counter",
    (*_DESTINATION, *_STATUS),
    "Requests forwarded to a destination, by the status that the client got.",
)
DESTINATION_DURATION: Final = Family(
    "vrata_destination_duration_seconds",
    "histogram",
    _DESTINATION,
    "Time from a forwarded request's match to the end of its response.",
)
DESTINATION_IN_FLIGHT: Final = Family(
    "vrata_destination_inflight_requests", "gauge", _DESTINATION, "Forwarded requests being answered."
)
ENDPOINT_REQUESTS: Final = Family(
    "vrata_endpoint_requests_total",
    "counter",
    (*_ENDPOINT, *_STATUS),
    "Requests forwarded to an endpoint, by the status that the client got.",
)
ENDPOINT_DURATION: Final = Family(
    "vrata_endpoint_duration_seconds",
    "histogram",
    _ENDPOINT,
    "Time from a forwarded request's match to the end of its response.",
)
ENDPOINT_CONSECUTIVE_5XX: Final = Family(
    "vrata_endpoint_consecutive_5xx",
    "gauge",
    _ENDPOINT,
    "Last requests in a row that ended with 5xx.",
)
MIDDLEWARE_DURATION: Final = Family(
    "vrata_middleware_duration_seconds",
    "histogram",
    _MIDDLEWARE,
    "Time that a middleware's own work on a request took, what it waited for included.",
)
MIDDLEWARE_PASSED: Final = Family(
    "vrata_middleware_passed_total", "counter", _MIDDLEWARE, "Requests that went on after a middleware."
)
MIDDLEWARE_REJECTIONS: Final = Family(
    "vrata_middleware_rejections_total",
    "counter",
    (*_MIDDLEWARE, "status_code"),
    "Requests that a middleware answered.",
)
MIDDLEWARE_ERRORS: Final = Family(
    "vrata_middleware_errors_total",
    "counter",
    _MIDDLEWARE,
    "Times that a middleware itself failed, whatever became of the request.",
)
ACCESS_LOG_DROPPED: Final = Family(
    "vrata_access_log_dropped_lines_total",
    "counter",
    ("middleware", "reason"),
    "Lines of an access log that were not written.",
)
CONNECTIONS: Final = Family(
    "vrata_listener_connections_total", "counter", _LISTENER, "Connections accepted from clients."
)
ACTIVE_CONNECTIONS: Final = Family(
    "vrata_listener_active_connections", "gauge", _LISTENER, "Connections of clients that are open."
)
TLS_HANDSHAKE_ERRORS: Final = Family(
    "vrata_listener_tls_handshake_errors_total",
    "counter",
    _LISTENER,
    "Connections of clients that ended in their TLS handshake.",
)
PROXY_ERRORS: Final = Family(
    "vrata_proxy_errors_total",
    "counter",
    ("listener", "error"),
    "Requests that the proxy itself failed, by the error that its answer names.",
)

SPANS: Final = Family(
    "vrata_trace_spans_total",
    "counter",
    ("listener", "outcome"),
    "Spans of recorded requests, by what became of them on the way to their collector.",
)


def samples(
    totals: ListenerTotals, destinations: Sequence[DestinationStatus] = (), *, exemplars: bool = False
) -> Iterator[tuple[Family, Iterator[str]]]:
    """Give the families of a listener, each with its samples; one that is not collected has none.

    *destinations* are those of the snapshot in force, as they are now. *exemplars* are for OpenMetrics only.
    """
    collect = totals.meters.metrics.collect
    yield ROUTE_REQUESTS, _route_requests(totals)
    yield ROUTE_DURATION, _route_durations(totals, exemplars)
    yield ROUTE_REQUEST_BYTES, _route_request_bytes(totals)
    yield ROUTE_RESPONSE_BYTES, _route_response_bytes(totals)
    yield ROUTE_IN_FLIGHT, _route_in_flight(totals)
    yield ROUTE_RETRIES, _route_retries(totals)
    yield MIRROR_REQUESTS, _mirror_requests(totals)
    yield MIRROR_SKIPPED, _mirror_skipped(totals)
    yield DESTINATION_REQUESTS, _destination_requests(totals)
    yield DESTINATION_DURATION, _destination_durations(totals, exemplars)
    yield DESTINATION_IN_FLIGHT, _destination_in_flight(totals)
    if collect.destination:
        yield from standing_families.of_destinations(destinations)
    yield ENDPOINT_REQUESTS, _endpoint_requests(totals)
    yield ENDPOINT_DURATION, _endpoint_durations(totals, exemplars)
    yield ENDPOINT_CONSECUTIVE_5XX, _endpoint_failures(totals, destinations if collect.endpoint else ())
    if collect.endpoint:
        yield from standing_families.of_endpoints(destinations)
    yield MIDDLEWARE_DURATION, _middleware_durations(totals)
    yield MIDDLEWARE_PASSED, _middleware_passed(totals)
    yield MIDDLEWARE_REJECTIONS, _middleware_rejections(totals)
    yield MIDDLEWARE_ERRORS, _middleware_errors(totals)
    yield ACCESS_LOG_DROPPED, _access_log_dropped(totals)
    if collect.listener:
        yield from _listener(totals)


def _route_requests(totals: ListenerTotals) -> Iterator[str]:
    for key, route in sorted(totals.meters.routes.items()):
        labels = route_labels(key)
        for method, responses in sorted(route.methods.items()):
            yield _by_status(ROUTE_REQUESTS, (*labels, method.decode("ascii")), responses)


def _route_durations(totals: ListenerTotals, exemplars: bool) -> Iterator[str]:
    for key, route in sorted(totals.meters.routes.items()):
        labels = route_labels(key)
        for method, responses in sorted(route.methods.items()):
            yield _durations(ROUTE_DURATION, (*labels, method.decode("ascii")), responses, exemplars)


def _route_request_bytes(totals: ListenerTotals) -> Iterator[str]:
    for key, route in sorted(totals.meters.routes.items()):
        yield ROUTE_REQUEST_BYTES.sample(route_labels(key), route.request_bytes)


def _route_response_bytes(totals: ListenerTotals) -> Iterator[str]:
    for key, route in sorted(totals.meters.routes.items()):
        yield ROUTE_RESPONSE_BYTES.sample(route_labels(key), route.response_bytes)


def _route_in_flight(totals: ListenerTotals) -> Iterator[str]:
    for key, route in sorted(totals.meters.routes.items()):
        yield ROUTE_IN_FLIGHT.sample(route_labels(key), totals.stated(route))


def _mirror_requests(totals: ListenerTotals) -> Iterator[str]:
    sent: Counter[tuple[str, str]] = Counter()
    for (key, destination_id), mirror in totals.meters.mirrors.items():
        sent[_route_name(key), destination_id] += mirror.sent
    for labels, count in sorted(sent.items()):
        yield MIRROR_REQUESTS.sample(labels, count)


def _mirror_skipped(totals: ListenerTotals) -> Iterator[str]:
    skipped: Counter[tuple[str, str, str]] = Counter()
    for (key, destination_id), mirror in totals.meters.mirrors.items():
        for reason, count in mirror.skipped.items():
            skipped[_route_name(key), destination_id, reason] += count
    for labels, count in sorted(skipped.items()):
        yield MIRROR_SKIPPED.sample(labels, count)


def _route_name(key: str) -> str:
    name, _ = route_labels(key)
    return name


def _route_retries(totals: ListenerTotals) -> Iterator[str]:
    for key, route in sorted(totals.meters.routes.items()):
        for number, count in sorted(route.retries.items()):
            yield ROUTE_RETRIES.sample((*route_labels(key), str(number)), count)


def _destination_requests(totals: ListenerTotals) -> Iterator[str]:
    for destination_id, destination in sorted(totals.meters.destinations.items()):
        yield _by_status(DESTINATION_REQUESTS, (destination_id,), destination.responses)


def _destination_durations(totals: ListenerTotals, exemplars: bool) -> Iterator[str]:
    for destination_id, destination in sorted(totals.meters.destinations.items()):
        yield _durations(DESTINATION_DURATION, (destination_id,), destination.responses, exemplars)


def _destination_in_flight(totals: ListenerTotals) -> Iterator[str]:
    for destination_id, destination in sorted(totals.meters.destinations.items()):
        yield DESTINATION_IN_FLIGHT.sample((destination_id,), totals.stated(destination))


def _endpoint_requests(totals: ListenerTotals) -> Iterator[str]:
    for key, endpoint in sorted(totals.meters.endpoints.items()):
        yield _by_status(ENDPOINT_REQUESTS, key, endpoint.responses)


def _endpoint_durations(totals: ListenerTotals, exemplars: bool) -> Iterator[str]:
    for key, endpoint in sorted(totals.meters.endpoints.items()):
        yield _durations(ENDPOINT_DURATION, key, endpoint.responses, exemplars)


def _endpoint_failures(totals: ListenerTotals, destinations: Sequence[DestinationStatus]) -> Iterator[str]:
    failures = {key: totals.highest_stated(endpoint) for key, endpoint in totals.meters.endpoints.items()}
    for status in destinations:
        for endpoint in status.endpoints:
            if endpoint.consecutive_5xx is not None:
                failures[status.id, endpoint.address] = endpoint.consecutive_5xx
    for key, count in sorted(failures.items()):
        yield ENDPOINT_CONSECUTIVE_5XX.sample(key, count)


def _middleware_durations(totals: ListenerTotals) -> Iterator[str]:
    for key, middleware in sorted(totals.meters.middlewares.items()):
        yield MIDDLEWARE_DURATION.histogram(middleware_labels(key), middleware)


def _middleware_passed(totals: ListenerTotals) -> Iterator[str]:
    for key, middleware in sorted(totals.meters.middlewares.items()):
        yield MIDDLEWARE_PASSED.sample(middleware_labels(key), middleware.passes)


def _middleware_rejections(totals: ListenerTotals) -> Iterator[str]:
    for key, middleware in sorted(totals.meters.middlewares.items()):
        for status, count in sorted(middleware.rejections.items()):
            yield MIDDLEWARE_REJECTIONS.sample((*middleware_labels(key), str(status)), count)


def _middleware_errors(totals: ListenerTotals) -> Iterator[str]:
    for key, middleware in sorted(totals.meters.middlewares.items()):
        yield MIDDLEWARE_ERRORS.sample(middleware_labels(key), middleware.errors)


def _access_log_dropped(totals: ListenerTotals) -> Iterator[str]:
    for key, middleware in sorted(totals.meters.middlewares.items()):
        name, kind = middleware_labels(key)
        if kind == "accessLog":
            for reason in LOST_LINES:
                yield ACCESS_LOG_DROPPED.sample((name, reason), middleware.dropped_lines.get(reason, 0))


def _listener(totals: ListenerTotals) -> Iterator[tuple[Family, Iterator[str]]]:
    meters = totals.meters
    labels = (totals.name, meters.address)
    yield CONNECTIONS, iter([CONNECTIONS.sample(labels, meters.accepted)])
    yield ACTIVE_CONNECTIONS, iter([ACTIVE_CONNECTIONS.sample(labels, totals.stated(meters))])
    if totals.terminates_tls:
        yield TLS_HANDSHAKE_ERRORS, iter([TLS_HANDSHAKE_ERRORS.sample(labels, meters.tls_failures)])
    errors = sorted(meters.errors.items())
    yield PROXY_ERRORS, (PROXY_ERRORS.sample((totals.name, error), count) for error, count in errors)
    spans = sorted(meters.spans.items())
    yield SPANS, (SPANS.sample((totals.name, outcome), count) for outcome, count in spans)


def _durations(family: Family, labels: tuple[str, ...], responses: ResponseMeter, exemplars: bool) -> str:
    noted = responses.exemplars if exemplars else None
    found = None if noted is None else {index: Exemplar(*noted[index]) for index in noted}
    return family.histogram(labels, responses, found)


def _by_status(family: Family, labels: tuple[str, ...], responses: ResponseMeter) -> str:
    return "".join(
        family.sample((*labels, str(status), f"{status // 100}xx"), count)
        for status, count in sorted(responses.statuses.items())
    )


FAMILIES: Final = (
    ROUTE_REQUESTS,
    ROUTE_DURATION,
    ROUTE_REQUEST_BYTES,
    ROUTE_RESPONSE_BYTES,
    ROUTE_IN_FLIGHT,
    ROUTE_RETRIES,
    MIRROR_REQUESTS,
    MIRROR_SKIPPED,
    DESTINATION_REQUESTS,
    DESTINATION_DURATION,
    DESTINATION_IN_FLIGHT,
    *standing_families.DESTINATION_FAMILIES,
    ENDPOINT_REQUESTS,
    ENDPOINT_DURATION,
    ENDPOINT_CONSECUTIVE_5XX,
    *standing_families.ENDPOINT_FAMILIES,
    MIDDLEWARE_DURATION,
    MIDDLEWARE_PASSED,
    MIDDLEWARE_REJECTIONS,
    MIDDLEWARE_ERRORS,
    ACCESS_LOG_DROPPED,
    CONNECTIONS,
    ACTIVE_CONNECTIONS,
    TLS_HANDSHAKE_ERRORS,
    PROXY_ERRORS,
    SPANS,
)
"""All of them, in the order in which they are shown."""
