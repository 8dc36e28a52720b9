"""The endpoints of destinations as proxies see them: what is reported, and what is shown of it.

A report leaves out what is ordinary and gives times as numbers, since there is one every ten seconds that names every
endpoint. What is shown is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from vrata.controlplane.identity import timestamp
from vrata.controlplane.reported import Reported

Moment = Annotated[float, Field(ge=0, lt=1e11)]
"""Seconds since the epoch; 0 stands for none."""
Count = Annotated[int, Field(ge=0)]
HealthState = Literal["healthy", "unhealthy", "unchecked"]
Source = Literal["static", "discovered"]
BreakerState = Literal["closed", "open", "halfOpen"]
Use = Annotated[list[Count], Field(min_length=2, max_length=2)]
"""How much is in use, and the limit."""


# what is reported


class ReportedHealth(Reported):
    """What active health checks have come to."""

    state: HealthState
    reason: str = ""
    since: Moment = 0.0
    last_probe: Moment = 0.0


class ReportedOutlier(Reported):
    """What outlier detection has come to."""

    ejected: bool = False
    reason: str = ""
    until: Moment = 0.0
    ejections: Count = 0
    held_back: Count = 0
    held_back_reason: str = ""


class ReportedEndpoint(Reported):
    """An endpoint of a destination, as one proxy sees it; what is left out is ordinary."""

    address: str
    """`host:port`."""
    weight: int = 1
    source: Source = "static"
    health: ReportedHealth = ReportedHealth(state="unchecked")
    outlier: ReportedOutlier = ReportedOutlier()
    active_requests: Count = 0
    connections: Count = 0
    consecutive_5xx: Count = Field(default=0, alias="consecutive5xx")


class ReportedBreaker(Reported):
    """The state of a circuit breaker."""

    state: BreakerState
    since: Moment = 0.0
    failures: Count = 0


class ReportedLimits(Reported):
    """The limits of a circuit breaker: of each, how much is in use, and the limit."""

    connections: Use
    pending: Use
    requests: Use
    retries: Use


class ReportedDestination(Reported):
    """A destination of the snapshot that a proxy serves with; times are seconds since the epoch."""

    id: str
    endpoints: list[ReportedEndpoint] = Field(default_factory=list)
    omitted_endpoints: Count = 0
    panic: str = ""
    circuit_breaker: ReportedBreaker | None = None
    limits: ReportedLimits | None = None
    stale: str = ""


# what is shown


class HealthVerdict(Reported):
    """What active health checks have come to."""

    state: HealthState
    """`unchecked`: there are no health checks, or none has ended yet."""
    reason: str
    """Why it is unhealthy, or why the last check failed although it is not."""
    since: str | None
    """When the state began, RFC 3339."""
    last_probe: str | None
    """When the last check ended, RFC 3339."""


class OutlierVerdict(Reported):
    """What outlier detection has come to."""

    ejected: bool
    until: str | None
    """When the ejection ends, RFC 3339."""
    ejections: int
    """How often the endpoint was ejected."""
    reason: str
    """Why it was ejected, now or the last time."""
    held_back: int
    """How often it was to be ejected, and `maxEjectionPercent` did not allow it."""
    held_back_reason: str
    """Why it is not ejected although it should be; empty when it should not be."""


class EndpointVerdicts(Reported):
    """What may stand against an endpoint, each on its own."""

    health: HealthVerdict
    outlier: OutlierVerdict


class EndpointOnProxy(Reported):
    """An endpoint as one proxy sees it."""

    address: str
    """`host:port`."""
    weight: int
    source: Source
    available: bool
    """No verdict stands against it."""
    verdicts: EndpointVerdicts
    active_requests: int
    """Attempts under way in all workers of the proxy."""
    connections: int
    """Open connections of all workers of the proxy, used or idle."""
    consecutive_5xx: int = Field(alias="consecutive5xx")
    """How many attempts in a row have ended with 5xx; counted with outlier detection only."""


class PanicStatus(Reported):
    """Whether all endpoints take requests because too few are available."""

    active: bool
    reason: str


class LimitUse(Reported):
    """How much of a limit is in use."""

    used: int
    limit: int


class LimitsUse(Reported):
    """The limits of the circuit breaker, over all workers of the proxy."""

    connections: LimitUse
    pending: LimitUse
    requests: LimitUse
    retries: LimitUse


class BreakerStatus(Reported):
    """The circuit breaker of a destination."""

    state: BreakerState
    since: str | None
    """When the state began, RFC 3339; null when it has always been so."""
    consecutive_failures: int
    limits: LimitsUse | None


class DiscoveryStatus(Reported):
    """What endpoints were found at run time."""

    stale: bool
    """They may have changed since they were found."""
    reason: str


class DestinationOnProxy(Reported):
    """A destination as one proxy sees it."""

    state: Literal["served", "absent"]
    """`absent`: the snapshot that the proxy serves with does not have the destination."""
    endpoints: list[EndpointOnProxy] = Field(default_factory=list)
    omitted_endpoints: int = 0
    """Endpoints that the proxy left out, having too many to report: first those that there is nothing to say of."""
    panic: PanicStatus | None = None
    circuit_breaker: BreakerStatus | None = None
    """Null without a circuit breaker."""
    discovery: DiscoveryStatus | None = None


ABSENT = DestinationOnProxy(state="absent")


def shown(reported: ReportedDestination) -> DestinationOnProxy:
    """Return what is shown of what a proxy reported."""
    return DestinationOnProxy(
        state="served",
        endpoints=[_endpoint(endpoint) for endpoint in reported.endpoints],
        omitted_endpoints=reported.omitted_endpoints,
        panic=PanicStatus(active=bool(reported.panic), reason=reported.panic),
        circuit_breaker=_breaker(reported),
        discovery=DiscoveryStatus(stale=bool(reported.stale), reason=reported.stale),
    )


def by_id(reported: list[ReportedDestination]) -> Mapping[str, ReportedDestination]:
    """Return what a proxy *reported*, to be looked up."""
    return {destination.id: destination for destination in reported}


def _endpoint(reported: ReportedEndpoint) -> EndpointOnProxy:
    health, outlier = reported.health, reported.outlier
    return EndpointOnProxy(
        address=reported.address,
        weight=reported.weight,
        source=reported.source,
        available=health.state != "unhealthy" and not outlier.ejected,
        verdicts=EndpointVerdicts(
            health=HealthVerdict(
                state=health.state,
                reason=health.reason,
                since=_moment(health.since),
                last_probe=_moment(health.last_probe),
            ),
            outlier=OutlierVerdict(
                ejected=outlier.ejected,
                until=_moment(outlier.until),
                ejections=outlier.ejections,
                reason=outlier.reason,
                held_back=outlier.held_back,
                held_back_reason=outlier.held_back_reason,
            ),
        ),
        active_requests=reported.active_requests,
        connections=reported.connections,
        consecutive5xx=reported.consecutive_5xx,
    )


def _breaker(reported: ReportedDestination) -> BreakerStatus | None:
    breaker, limits = reported.circuit_breaker, reported.limits
    if breaker is None:
        return None
    return BreakerStatus(
        state=breaker.state,
        since=_moment(breaker.since),
        consecutive_failures=breaker.failures,
        limits=None
        if limits is None
        else LimitsUse(
            connections=_use(limits.connections),
            pending=_use(limits.pending),
            requests=_use(limits.requests),
            retries=_use(limits.retries),
        ),
    )


def _use(use: Use) -> LimitUse:
    used, limit = use
    return LimitUse(used=used, limit=limit)


def _moment(seconds: float) -> str | None:
    return timestamp(datetime.fromtimestamp(seconds, UTC)) if seconds else None
