"""The table of what is measured with HTTP/2, and the ratios Vrata is to reach."""

from __future__ import annotations

from bench.comparison.goals import Goal
from bench.comparison.workload import GRPC_PATH, Site, Workload

_SITES = {
    "h1": (Site(http2=True), "to HTTP/1.1"),
    "h2": (Site(http2=True, upstream_http2=True), "to HTTP/2"),
    "tls-h1": (Site(tls=True, http2=True), "over TLS to HTTP/1.1"),
}
_METHODS = {"get": ("GET", 0, "GET 128 B"), "post": ("POST", 1024, "POST 1 KB")}
_QUICK = {"h1-get-1x100", "h1-get-16x32", "h2-get-1x100", "h2-post-16x32"}


def _workload(site: str, method: str, connections: int, streams: int) -> Workload:
    found, way = _SITES[site]
    verb, size, what = _METHODS[method]
    name = f"{site}-{method}-{connections}x{streams}"
    return Workload(
        name,
        f"HTTP/2 {way}, {what}, {connections} x {streams} streams",
        site=found,
        method=verb,
        body_bytes=size,
        connections=connections,
        streams=streams,
        quick=name in _QUICK,
    )


WORKLOADS = (
    *(
        _workload(site, method, connections, streams)
        for site in ("h1", "h2")
        for method in _METHODS
        for connections in (1, 16)
        for streams in (32, 100)
    ),
    _workload("tls-h1", "get", 1, 100),
    _workload("tls-h1", "get", 16, 32),
    Workload(
        "grpc-unary",
        "gRPC unary, 128 B each way, one connection, 100 calls in flight",
        site=Site(http2=True, upstream_http2=True, grpc=True),
        path=GRPC_PATH,
        method="POST",
        body_bytes=128,
        connections=1,
        streams=100,
        quick=True,
    ),
)

GOALS = (
    *(Goal(workload.name, "cpu_us", limit, "envoy") for limit in (1.0, 0.5) for workload in WORKLOADS),
    Goal("grpc-unary", "p99_ms", 1.0, "envoy"),
)
"""1.0 is what must be, 0.5 what is wanted."""
