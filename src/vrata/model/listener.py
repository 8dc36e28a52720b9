"""Listeners: the ports on which a proxy takes requests."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from vrata.model.duration import Duration
from vrata.model.entity import Entity
from vrata.model.errors import Problem, broken
from vrata.model.host import Host, Network, host_and_port
from vrata.model.number import U32, Port
from vrata.model.part import ListOf, Part
from vrata.model.reference import unless_reference
from vrata.model.text import HeaderName, HeaderValue, NonEmpty, ProbePath, check_path
from vrata.model.tls import ListenerTls

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""
SIZE_BUCKETS = (100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0)
"""Bytes."""


def _check_metrics_path(text: str) -> None:
    check_path(text)
    if text == "/":
        raise ValueError('must not be "/": it would hide every route')


def _increasing(buckets: tuple[float, ...]) -> tuple[float, ...]:
    for lower, upper in pairwise(buckets):
        if upper <= lower:
            raise ValueError(f"must be strictly increasing, but {upper:g} follows {lower:g}")
    return buckets


Buckets = Annotated[ListOf[float], AfterValidator(_increasing)]
"""Upper limits of a histogram's buckets."""


def _check_ratio(ratio: float) -> float:
    if not 0 <= ratio <= 1:
        raise ValueError(f"must be a number from 0 to 1, got {ratio:g}")
    return ratio


class ListenerTimeouts(Part):
    """How long a listener waits for its clients; `0s` waits without limit."""

    client_header: Duration = Duration("10s")
    """From the start of a request to the end of its headers."""
    client_request: Duration = Duration("60s")
    """From the start of a request to the end of its body."""
    client_response: Duration = Duration("60s")
    """From the first byte of a response to its last."""
    idle_between_requests: Duration = Duration("120s")
    """From a response to the next request on the connection."""


class MetricsCollect(Part):
    """Dimensions of metrics that are collected."""

    route: bool = True
    """Count by route."""
    destination: bool = True
    """Count by destination."""
    endpoint: bool = False
    """Count by endpoint; many endpoints make many series."""
    middleware: bool = True
    """Count by middleware."""
    listener: bool = True
    """Count for the listener as a whole."""


class Histograms(Part):
    """Buckets of the histograms."""

    duration_buckets: Buckets = DURATION_BUCKETS
    """Seconds, strictly increasing."""
    size_buckets: Buckets = SIZE_BUCKETS
    """Bytes, strictly increasing."""


class Metrics(Part):
    """Prometheus metrics of a listener; the presence of the object turns them on."""

    path: Annotated[str, AfterValidator(unless_reference(_check_metrics_path))] = "/metrics"
    """Where the listener serves them."""
    collect: MetricsCollect = MetricsCollect()
    """What is collected."""
    histograms: Histograms = Histograms()
    """Buckets."""


_RESERVED = frozenset({"connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"})


def _check_not_reserved(name: str) -> None:
    if name.lower() in _RESERVED:
        raise ValueError(f'must not be "{name}": that is set for each request')


class TracingHeader(Part):
    """A header of the requests that bring spans to their collector."""

    name: Annotated[HeaderName, AfterValidator(unless_reference(_check_not_reserved))]
    """Name of the header."""
    value: HeaderValue
    """Its value, such as a key."""


class Tracing(Part):
    """Spans of a listener's requests, sent by OTLP; the presence of the object turns them on."""

    explicit_zeros: ClassVar[frozenset[str]] = frozenset({"sampling_ratio"})

    destination_id: NonEmpty
    """ID of the destination that takes them: a collector that speaks OTLP over HTTP."""
    path: ProbePath = "/v1/traces"
    """Where it does."""
    headers: ListOf[TracingHeader] = ()
    """Further headers for it."""
    sampling_ratio: Annotated[float, AfterValidator(_check_ratio)] = 1.0
    """Which part of the traces that begin here is recorded, from 0 to 1."""
    parent_based: bool = True
    """A request whose `traceparent` says whether its parent is recorded follows that; `false`: the ratio decides."""
    service_name: NonEmpty = "vrata"
    """What spans say that they are of."""


class ProxyErrors(Part):
    """Error answers that the proxy makes itself."""

    detail: Literal["minimal", "standard", "full"] = "standard"
    """How much an error answer tells its client."""


class ProxyProtocol(Part):
    """The PROXY protocol, by which a balancer in front says for whom a connection speaks."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"mode"})

    mode: Literal["off", "required"] = "off"
    """`required`: every connection begins with a header of version 1 or 2, else it is closed."""
    trusted_peers: ListOf[Network] = ()
    """Who may connect then, by IP address or CIDR range; needed unless the mode is `off`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode == "required" and not self.trusted_peers:
            raise broken(Problem("trustedPeers", 'is required when mode is "required"'))
        return self


class Listener(Entity):
    """A TCP port that takes requests. Every listener serves all routes."""

    kind: ClassVar[str] = "listener"
    collection: ClassVar[str] = "listeners"
    always_shown: ClassVar[frozenset[str]] = frozenset({"id", "address"})

    address: Host = "0.0.0.0"
    """IP address or host name to bind."""
    port: Port
    """TCP port to bind."""
    proxy_protocol: ProxyProtocol = ProxyProtocol()
    """Headers of the PROXY protocol in front of everything else, TLS included."""
    tls: ListenerTls | None = None
    """TLS termination; absent = plaintext."""
    http2: bool = False
    """Speak HTTP/2 as well: by ALPN with TLS, with prior knowledge or by upgrade without."""
    server_name: HeaderValue = ""
    """Value of the Server header of every response; absent = left as it is."""
    path_normalization: Literal["none", "base", "mergeSlashes"] = "none"
    """What becomes of a request's path before anything looks at it, and how it goes on: `base` decodes what need not
    be encoded, removes dot segments, and refuses what servers read differently; `mergeSlashes` also makes several
    slashes one; `none` leaves it as it was sent."""
    trusted_proxies: ListOf[Network] = ()
    """Proxies in front of this one, by IP address or CIDR range: what they say of their clients is believed (Forwarded,
    X-Forwarded-For, -Proto, -Host and -Port); absent = nobody is."""
    max_request_headers_kb: U32 = Field(default=0, alias="maxRequestHeadersKB")
    """Limit of all header lines of a request, in units of 1024 bytes; 0 = the built-in limit."""
    max_connections: U32 = 0
    """Client connections that may be open at once in the whole proxy; any more are closed at once. 0 = any number."""
    timeouts: ListenerTimeouts = ListenerTimeouts()
    """Limits of what clients may take."""
    metrics: Metrics | None = None
    """Prometheus metrics; absent = none."""
    tracing: Tracing | None = None
    """Spans of requests; absent = none."""
    proxy_errors: ProxyErrors = ProxyErrors()
    """Error answers."""

    @property
    def bind_address(self) -> str:
        """Address and port as `host:port`, an IPv6 address in brackets."""
        return host_and_port(self.address, self.port)


__all__ = [
    "DURATION_BUCKETS",
    "SIZE_BUCKETS",
    "Histograms",
    "Listener",
    "ListenerTimeouts",
    "Metrics",
    "MetricsCollect",
    "ProxyErrors",
    "ProxyProtocol",
    "Tracing",
    "TracingHeader",
]
