"""What a proxy says of its destinations and their endpoints: each verdict on its own, with its reason.

The supervisor puts it together of what the watch has found out (:class:`WatchedDestination`), what the workers have
handed over, and what all of them count together. Times are seconds since the epoch, 0 where there is none. Documents
leave out what is ordinary: with a thousand destinations it is nearly everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from vrata.proxy.standing import DiscoveredEndpoint

MAX_REASON = 200
"""Characters of a reason; what is longer is cut."""


class HealthState(StrEnum):
    """What active health checks have come to."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNCHECKED = "unchecked"
    """Nobody checks, or no probe has ended yet."""


@dataclass(frozen=True, slots=True)
class HealthVerdict:
    """What active health checks say of one endpoint."""

    state: HealthState = HealthState.UNCHECKED
    reason: str = ""
    """Why it is unhealthy; or why the last probe failed, although it is not unhealthy yet."""
    since: float = 0.0
    """When the state began."""
    last_probe: float = 0.0
    """When the last probe ended."""

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return _without_empty(
            {"state": self.state, "reason": _cut(self.reason), "since": self.since, "lastProbe": self.last_probe}
        )


@dataclass(frozen=True, slots=True)
class OutlierVerdict:
    """What outlier detection says of one endpoint."""

    ejected: bool = False
    reason: str = ""
    """Why it was ejected, now or the last time."""
    until: float = 0.0
    """When the ejection ends."""
    ejections: int = 0
    """How often it was ejected, for as long as the proxy knows it. Never falls: it is not the multiplier, which may."""
    held_back: int = 0
    """How often it was to be ejected and was not, since ``maxEjectionPercent`` did not allow it. Never falls."""
    held_back_reason: str = ""
    """What the limit was when it held the ejection back the last time; empty when that is over."""

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return _without_empty(
            {
                "ejected": self.ejected,
                "reason": _cut(self.reason),
                "until": self.until,
                "ejections": self.ejections,
                "heldBack": self.held_back,
                "heldBackReason": _cut(self.held_back_reason),
            }
        )


UNCHECKED = HealthVerdict()
"""Of an endpoint that nobody probes."""
NO_OUTLIER = OutlierVerdict()
"""Of an endpoint that was never suspected."""


# what the watch knows


@dataclass(frozen=True, slots=True)
class EndpointVerdicts:
    """What the watch says of one endpoint."""

    health: HealthVerdict = UNCHECKED
    outlier: OutlierVerdict = NO_OUTLIER


ORDINARY = EndpointVerdicts()
"""Of an endpoint that nobody watches."""


@dataclass(frozen=True, slots=True)
class WatchedDestination:
    """What the watch knows of one destination."""

    endpoints: Mapping[str, EndpointVerdicts] = field(default_factory=dict)
    """By identifier (``host:port``); who is not in it is :data:`ORDINARY`."""
    discovered: tuple[DiscoveredEndpoint, ...] | None = None
    """As in :class:`~vrata.proxy.standing.DestinationStanding`."""
    stale: str = ""
    """Why what was discovered is older than it should be; empty when it is not."""


UNWATCHED = WatchedDestination()


class EndpointWatch(Protocol):
    """Who watches the endpoints."""

    def watched(self, destination_id: str) -> WatchedDestination:
        """Return what is known of a destination at this moment; :data:`UNWATCHED` when that is nothing."""
        ...


# what is acknowledged


class EndpointSource(StrEnum):
    """Where an endpoint comes from."""

    STATIC = "static"
    DISCOVERED = "discovered"


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """One endpoint as the proxy sees it."""

    address: str
    """``host:port``, its identifier."""
    weight: int = 1
    source: EndpointSource = EndpointSource.STATIC
    health: HealthVerdict = UNCHECKED
    outlier: OutlierVerdict = NO_OUTLIER
    active_requests: int = 0
    """Attempts under way, as the workers last handed over."""
    connections: int = 0
    """Open connections, used or idle, as the workers last handed over."""
    consecutive_5xx: int | None = None
    """How many attempts in a row have ended with 5xx, in all workers; None without outlier detection."""

    @property
    def is_available(self) -> bool:
        """Whether no verdict stands against it."""
        return self.health.state is not HealthState.UNHEALTHY and not self.outlier.ejected

    @property
    def is_ordinary(self) -> bool:
        """Whether there is nothing to say of it but that it is there."""
        return self.is_available and not self.health.reason and not self.outlier.held_back_reason

    def document(self) -> dict[str, Any]:
        """Return the JSON object; *source*, *weight* and verdicts are left out where they are ordinary."""
        document: dict[str, Any] = {"address": self.address}
        if self.weight != 1:
            document["weight"] = self.weight
        if self.source is not EndpointSource.STATIC:
            document["source"] = self.source
        if self.health != UNCHECKED:
            document["health"] = self.health.document()
        if self.outlier != NO_OUTLIER:
            document["outlier"] = self.outlier.document()
        if self.active_requests:
            document["activeRequests"] = self.active_requests
        if self.connections:
            document["connections"] = self.connections
        if self.consecutive_5xx:
            document["consecutive5xx"] = self.consecutive_5xx
        return document


class BreakerState(StrEnum):
    """Where a circuit breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "halfOpen"


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """The circuit breaker of one destination."""

    state: BreakerState = BreakerState.CLOSED
    since: float = 0.0
    """When the state began; 0 when it has always been so."""
    failures: int = 0
    """Consecutive failures."""

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"state": self.state, **_without_empty({"since": self.since, "failures": self.failures})}


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of a limit is in use."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class LimitsUse:
    """The limits of a circuit breaker."""

    connections: LimitUse
    pending: LimitUse
    requests: LimitUse
    retries: LimitUse

    def document(self) -> dict[str, Any]:
        """Return the JSON object: each member is an array of use and limit."""
        return {
            "connections": [self.connections.used, self.connections.limit],
            "pending": [self.pending.used, self.pending.limit],
            "requests": [self.requests.used, self.requests.limit],
            "retries": [self.retries.used, self.retries.limit],
        }


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """One destination of the active snapshot."""

    id: str
    endpoints: tuple[EndpointStatus, ...]
    panic: str = ""
    """Why endpoints take traffic although they are not available; empty when they do not."""
    breaker: BreakerStatus | None = None
    """None without a circuit breaker."""
    limits: LimitsUse | None = None
    """None without a circuit breaker."""
    stale: str = ""
    """Why what discovery has found is older than it should be."""
    has_outlier_detection: bool = False
    """Whether endpoints may be ejected at all."""
    omitted: int = 0
    """Endpoints that are left out, since there are too many of them."""

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        document: dict[str, Any] = {
            "id": self.id,
            "endpoints": [endpoint.document() for endpoint in self.endpoints],
        }
        if self.breaker is not None:
            document["circuitBreaker"] = self.breaker.document()
        if self.limits is not None:
            document["limits"] = self.limits.document()
        return document | _without_empty(
            {"panic": _cut(self.panic), "stale": _cut(self.stale), "omittedEndpoints": self.omitted}
        )


def _without_empty(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"
