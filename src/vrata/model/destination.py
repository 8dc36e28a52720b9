"""Destinations: named upstream services with their endpoints and how to treat them."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import model_validator

from vrata.model.balancing import EndpointBalancing
from vrata.model.circuit_breaker import CircuitBreaker
from vrata.model.duration import Duration
from vrata.model.entity import Entity
from vrata.model.errors import Problem, broken
from vrata.model.health_check import HealthCheck
from vrata.model.host import Host, host_and_port
from vrata.model.number import U32, Percentage, Port, Within
from vrata.model.outlier_detection import OutlierDetection
from vrata.model.part import ListOf, Part
from vrata.model.tls import DestinationTls


class Endpoint(Part):
    """One backend of a destination."""

    host: Host
    """IP address or host name."""
    port: Port
    """TCP port."""
    weight: Annotated[int, Within(1, 1000)] = 1
    """Its share among the endpoints of the destination."""

    @property
    def address(self) -> str:
        """The endpoint's identifier everywhere: `host:port`, an IPv6 address in brackets."""
        return host_and_port(self.host, self.port)


class DestinationTimeouts(Part):
    """Limits of each stage of a request to the upstream; `0s` waits without limit."""

    request: Duration = Duration("30s")
    """The whole request, retries included, unless the route has a limit of its own."""
    connect: Duration = Duration("5s")
    """Opening the TCP connection."""
    dual_stack_fallback: Duration = Duration("300ms")
    """Head start of the first address family before the other one is tried as well (RFC 8305)."""
    tls_handshake: Duration = Duration("5s")
    """TLS handshake."""
    response_header: Duration = Duration("10s")
    """From the end of the request to the first byte of the response."""
    expect_continue: Duration = Duration("1s")
    """Wait for `100 Continue`; the body is sent after it in any case."""
    idle_connection: Duration = Duration("90s")
    """How long an unused connection is kept."""


class Discovery(Part):
    """Finding endpoints at run time."""

    type: Literal["kubernetes", "dns"]
    """Where endpoints come from: the EndpointSlices of the Service that `host` names, or the addresses (A and AAAA
    records) that it has in the DNS."""


class DestinationOptions(Part):
    """How requests to a destination are treated."""

    explicit_zeros: ClassVar[frozenset[str]] = frozenset({"panic_threshold"})

    timeouts: DestinationTimeouts = DestinationTimeouts()
    """Limits in time."""
    tls: DestinationTls = DestinationTls()
    """TLS towards the endpoints."""
    endpoint_balancing: EndpointBalancing = EndpointBalancing()
    """Which endpoint takes a request."""
    circuit_breaker: CircuitBreaker | None = None
    """Limits of the burden; absent = none."""
    health_check: HealthCheck | None = None
    """Probes; absent = none."""
    outlier_detection: OutlierDetection | None = None
    """Ejection by real responses; absent = none."""
    panic_threshold: Percentage = 1
    """With fewer than this percentage of the endpoints available, all of them take requests; a stated 0 = never."""
    discovery: Discovery | None = None
    """Finding endpoints; absent = only those that are listed."""
    http2: bool = False
    """Speak HTTP/2 to the endpoints, as gRPC needs: over TLS as far as they agree to it, else in any case."""
    max_conns_per_host: U32 = 0
    """Connections to one endpoint at once; 0 = any number."""
    max_requests_per_connection: U32 = 0
    """Requests over one connection, after which it is closed; 0 = any number."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.health_check is not None and self.health_check.type == "grpc" and not self.http2:
            raise broken(Problem("healthCheck.type", 'must not be "grpc" unless http2 is true: gRPC needs HTTP/2'))
        return self


class Destination(Entity):
    """An upstream service. Routes refer to it by ID."""

    kind: ClassVar[str] = "destination"
    collection: ClassVar[str] = "destinations"

    host: Host
    """Host of the service: the only endpoint if none are listed, and the TLS server name."""
    port: Port
    """Port of the service."""
    endpoints: ListOf[Endpoint] = ()
    """Backends; if there are any, `host:port` itself is not connected to."""
    options: DestinationOptions = DestinationOptions()
    """Everything else."""

    @property
    def static_endpoints(self) -> tuple[Endpoint, ...]:
        """The listed endpoints, or the destination's own `host:port` if none are."""
        return self.endpoints or (Endpoint(host=self.host, port=self.port),)
