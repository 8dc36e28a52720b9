"""The metric families of what stands for and against destinations and endpoints: breakers, health, ejections.

They are not counted by a listener. Each listener that collects the dimension shows those of all destinations of the
snapshot in force, whether or not it has requests for them: an alert must not wait for the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vrata.observability.exposition import Family
from vrata.proxy.endpoint_status import BreakerState, DestinationStatus

_DESTINATION: Final = ("destination",)
_ENDPOINT: Final = ("destination", "endpoint")

BREAKER_STATE: Final = Family(
    "vrata_destination_circuit_breaker_state",
    "gauge",
    _DESTINATION,
    "State of the circuit breaker: 0 closed, 1 open, 2 half-open.",
)
PANIC: Final = Family(
    "vrata_destination_panic",
    "gauge",
    _DESTINATION,
    "1 while all endpoints take requests because too few are available, else 0.",
)
HEALTHY: Final = Family(
    "vrata_endpoint_healthy", "gauge", _ENDPOINT, "1 while nothing stands against the endpoint, else 0."
)
EJECTIONS: Final = Family(
    "vrata_endpoint_ejections_total", "counter", _ENDPOINT, "Ejections of the endpoint by outlier detection."
)
EJECTIONS_HELD_BACK: Final = Family(
    "vrata_endpoint_ejections_held_back_total",
    "counter",
    _ENDPOINT,
    "Ejections of the endpoint that maxEjectionPercent did not allow.",
)

DESTINATION_FAMILIES: Final = (BREAKER_STATE, PANIC)
ENDPOINT_FAMILIES: Final = (HEALTHY, EJECTIONS, EJECTIONS_HELD_BACK)

_STATES: Final = {BreakerState.CLOSED: 0, BreakerState.OPEN: 1, BreakerState.HALF_OPEN: 2}

Statuses = Sequence[DestinationStatus]


def of_destinations(statuses: Statuses) -> Iterator[tuple[Family, Iterator[str]]]:
    """Give the families of destinations, each with its samples."""
    yield BREAKER_STATE, _breaker_states(statuses)
    yield PANIC, _panics(statuses)


def of_endpoints(statuses: Statuses) -> Iterator[tuple[Family, Iterator[str]]]:
    """Give the families of endpoints, each with its samples."""
    yield HEALTHY, _healths(statuses)
    yield EJECTIONS, _ejections(statuses)
    yield EJECTIONS_HELD_BACK, _ejections_held_back(statuses)


def _breaker_states(statuses: Statuses) -> Iterator[str]:
    for status in statuses:
        if status.breaker is not None:
            yield BREAKER_STATE.sample((status.id,), _STATES[status.breaker.state])


def _panics(statuses: Statuses) -> Iterator[str]:
    for status in statuses:
        yield PANIC.sample((status.id,), int(bool(status.panic)))


def _healths(statuses: Statuses) -> Iterator[str]:
    for status in statuses:
        for endpoint in status.endpoints:
            yield HEALTHY.sample((status.id, endpoint.address), int(endpoint.is_available))


def _ejections(statuses: Statuses) -> Iterator[str]:
    for status in statuses:
        if status.has_outlier_detection:
            for endpoint in status.endpoints:
                yield EJECTIONS.sample((status.id, endpoint.address), endpoint.outlier.ejections)


def _ejections_held_back(statuses: Statuses) -> Iterator[str]:
    for status in statuses:
        if status.has_outlier_detection:
            for endpoint in status.endpoints:
                yield EJECTIONS_HELD_BACK.sample((status.id, endpoint.address), endpoint.outlier.held_back)
