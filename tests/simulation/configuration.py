"""What is configured, as values that both the snapshot document and the referee are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ADDRESS, PORT = "127.0.0.1", 8080
"""Where the proxy listens."""

ANY_NUMBER = 1 << 30

Document = dict[str, Any]


def seconds(value: float) -> str:
    """A duration as documents have it."""
    return f"{round(value * 1000)}ms"


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int
    weight: int = 1

    @property
    def identifier(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds."""

    connect: float = 0.5
    response_header: float = 1.0
    request: float = 3.0
    idle_connection: float = 2.0


@dataclass(frozen=True, slots=True)
class Retry:
    attempts: int
    on: tuple[str, ...] = ()
    per_attempt_timeout: float = 0.0
    base: float = 0.03
    max: float = 0.2

    def document(self) -> Document:
        document: Document = {
            "attempts": self.attempts,
            "backoff": {"base": seconds(self.base), "max": seconds(self.max)},
        }
        if self.on:
            document["on"] = list(self.on)
        if self.per_attempt_timeout:
            document["perAttemptTimeout"] = seconds(self.per_attempt_timeout)
        return document


@dataclass(frozen=True, slots=True)
class Breaker:
    max_connections: int = 1024
    max_pending: int = 1024
    max_requests: int = 1024
    max_retries: int = 1024
    failure_threshold: int = 0
    open_time: float = 1.0

    def document(self) -> Document:
        return {
            "maxConnections": self.max_connections,
            "maxPendingRequests": self.max_pending,
            "maxRequests": self.max_requests,
            "maxRetries": self.max_retries,
            "failureThreshold": self.failure_threshold,
            "openDuration": seconds(self.open_time),
        }


@dataclass(frozen=True, slots=True)
class Health:
    interval: float
    timeout: float
    failures: int
    successes: int
    path: str = "/health"
    """Empty for probes that only connect."""

    def document(self) -> Document:
        kind = {"type": "http", "path": self.path} if self.path else {"type": "tcp"}
        return {
            **kind,
            "interval": seconds(self.interval),
            "timeout": seconds(self.timeout),
            "unhealthyThreshold": self.failures,
            "healthyThreshold": self.successes,
        }


@dataclass(frozen=True, slots=True)
class Outliers:
    consecutive_5xx: int
    consecutive_gateway_errors: int
    interval: float
    base: float
    longest: float
    percent: int

    def limit(self, endpoints: int) -> int:
        """How many of so many may be ejected at once, as it is documented: at least one of two, and never all."""
        if not self.percent or endpoints < 2:
            return 0
        return min(max(1, endpoints * self.percent // 100), endpoints - 1)

    def document(self) -> Document:
        return {
            "consecutive5xx": self.consecutive_5xx,
            "consecutiveGatewayErrors": self.consecutive_gateway_errors,
            "interval": seconds(self.interval),
            "baseEjectionTime": seconds(self.base),
            "maxEjectionTime": seconds(self.longest),
            "maxEjectionPercent": self.percent,
        }


@dataclass(frozen=True, slots=True)
class Destination:
    id: str
    endpoints: tuple[Endpoint, ...]
    algorithm: str = "ROUND_ROBIN"
    hashes: str = ""
    """What the key is made of: ``header``, ``cookie`` or ``address``; empty where nothing is hashed."""
    max_connections_per_host: int = 0
    timeouts: Timeouts = Timeouts()
    panic_threshold: int = 0
    breaker: Breaker | None = None
    health: Health | None = None
    outliers: Outliers | None = None

    @property
    def connections_per_endpoint(self) -> int:
        """How many there may be to each endpoint."""
        return self.max_connections_per_host or ANY_NUMBER

    @property
    def connections(self) -> int:
        """How many there may be to all endpoints together."""
        return self.breaker.max_connections if self.breaker is not None else ANY_NUMBER

    def endpoint(self, identifier: str) -> Endpoint | None:
        return next((endpoint for endpoint in self.endpoints if endpoint.identifier == identifier), None)

    def document(self) -> Document:
        timeouts = self.timeouts
        options: Document = {
            "timeouts": {
                "connect": seconds(timeouts.connect),
                "responseHeader": seconds(timeouts.response_header),
                "request": seconds(timeouts.request),
                "idleConnection": seconds(timeouts.idle_connection),
            },
            "endpointBalancing": self._balancing(),
            "panicThreshold": self.panic_threshold,
        }
        if self.max_connections_per_host:
            options["maxConnsPerHost"] = self.max_connections_per_host
        if self.breaker is not None:
            options["circuitBreaker"] = self.breaker.document()
        if self.health is not None:
            options["healthCheck"] = self.health.document()
        if self.outliers is not None:
            options["outlierDetection"] = self.outliers.document()
        return {
            "id": self.id,
            "name": self.id,
            "host": f"{self.id}.test",
            "port": 80,
            "endpoints": [
                {"host": endpoint.host, "port": endpoint.port, "weight": endpoint.weight} for endpoint in self.endpoints
            ],
            "options": options,
        }

    def _balancing(self) -> Document:
        balancing: Document = {"algorithm": self.algorithm}
        policy = {
            "header": [{"header": {"name": "x-user"}}],
            "cookie": [{"cookie": {"name": "pin", "ttl": "1h"}}],
        }.get(self.hashes, [])
        if self.algorithm == "RING_HASH":
            balancing["ringHash"] = {"ringSize": {"min": 64}, "hashPolicy": policy}
        elif self.algorithm == "MAGLEV":
            balancing["maglev"] = {"tableSize": 251, "hashPolicy": policy}
        return balancing


@dataclass(frozen=True, slots=True)
class Route:
    id: str
    """Also the first segment of its paths."""
    destinations: tuple[tuple[str, int], ...]
    """IDs and weights."""
    retry: Retry | None = None
    request_timeout: float = 0.0
    """0 leaves it to the destination."""

    def document(self) -> Document:
        forward: Document = {
            "destinations": [{"destinationId": found, "weight": weight} for found, weight in self.destinations]
        }
        if self.retry is not None:
            forward["retry"] = self.retry.document()
        if self.request_timeout:
            forward["timeouts"] = {"request": seconds(self.request_timeout)}
        return {"id": self.id, "name": self.id, "match": {"pathPrefix": f"/{self.id}"}, "forward": forward}


@dataclass(frozen=True, slots=True)
class Configuration:
    """One snapshot."""

    number: int
    destinations: tuple[Destination, ...]
    routes: tuple[Route, ...]

    def destination(self, destination_id: str) -> Destination | None:
        return next((found for found in self.destinations if found.id == destination_id), None)

    def route(self, route_id: str) -> Route:
        return next(found for found in self.routes if found.id == route_id)

    def document(self) -> Document:
        content: Document = {
            "listeners": [
                {
                    "id": "main",
                    "name": "main",
                    "address": ADDRESS,
                    "port": PORT,
                    "proxyErrors": {"detail": "full"},
                }
            ],
            "destinations": [destination.document() for destination in self.destinations],
            "routes": [route.document() for route in self.routes],
            # In a group, so that attempts are numbered.
            "groups": [
                {
                    "id": "all",
                    "name": "all",
                    "routeIds": [route.id for route in self.routes],
                    "includeAttemptCount": True,
                }
            ],
            "middlewares": [],
        }
        name = f"snapshot {self.number}"
        return {"id": name, "name": name, "createdAt": "2024-01-01T00:00:00Z", "snapshot": content}
