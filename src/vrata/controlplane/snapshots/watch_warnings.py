"""Warnings about health checks and outlier detection that do not do what their presence suggests."""

from __future__ import annotations

from collections.abc import Iterator

from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding
from vrata.model.destination import Destination
from vrata.model.health_check import HealthCheck
from vrata.model.outlier_detection import OutlierDetection

_CHECK = "options.healthCheck"
_DETECTION = "options.outlierDetection"


def watch_warnings(entities: Entities) -> Iterator[Finding]:
    """Everything of that kind in a snapshot."""
    for document in entities.of("destination"):
        options = document.get("options") or {}
        if not options.get("healthCheck") and options.get("outlierDetection") is None:
            continue
        destination = Destination.parse(document)
        if destination.options.health_check is not None:
            yield from _of_check(document, destination.options.health_check)
        if destination.options.outlier_detection is not None:
            yield from _of_detection(document, destination, destination.options.outlier_detection)


def _of_check(document: Document, check: HealthCheck) -> Iterator[Finding]:
    if check.timeout.seconds > check.interval.seconds:
        effect = "an endpoint that hangs is probed less often"
        reason = f"{check.timeout} is longer than the interval of {check.interval}: {effect}"
        yield finding("destination", document, f"{_CHECK}.timeout", reason)


def _of_detection(document: Document, destination: Destination, detection: OutlierDetection) -> Iterator[Finding]:
    if not detection.consecutive_5xx and not detection.consecutive_gateway_errors:
        reason = "never ejects an endpoint: consecutive5xx and consecutiveGatewayErrors are both 0"
        yield finding("destination", document, _DETECTION, reason)
    if not detection.max_ejection_percent:
        reason = "never ejects an endpoint: 0 percent may be ejected"
        yield finding("destination", document, f"{_DETECTION}.maxEjectionPercent", reason)
    elif destination.options.discovery is None and len({found.address for found in destination.static_endpoints}) == 1:
        reason = "never ejects an endpoint: the destination has only one, and the last one is never ejected"
        yield finding("destination", document, _DETECTION, reason)
