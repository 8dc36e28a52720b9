"""Workloads: the one table of what is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GRPC_PATH = "/unary.grpc"
"""Of a unary call: each side sends one message."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the proxies are configured with: everything to one backend, over *routes* routes."""

    routes: int = 1
    """1 is a catch-all; N are the path prefixes ``/service-0`` to ``/service-<N-1>``."""
    tls: bool = False
    http2: bool = False
    """Clients speak HTTP/2: with prior knowledge, or over TLS by ALPN."""
    upstream_http2: bool = False
    """The backend speaks HTTP/2, with prior knowledge."""
    grpc: bool = False
    """The backend answers calls of gRPC, whose status is in trailers."""
    fresh: bool = False
    """Not to be shared with another workload: the proxies start anew, so that memory can be compared."""

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def protocol(self) -> str:
        """What clients speak, for people."""
        return f"{self.scheme}, HTTP/{2 if self.http2 else 1.1}"

    def prefixes(self) -> list[str]:
        """The path prefixes of the routes."""
        return ["/"] if self.routes == 1 else [f"/service-{number}" for number in range(self.routes)]


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of request, and how it is sent."""

    name: str
    title: str
    site: Site = Site()
    path: str = "/bytes/128"
    """Below each of the site's prefixes."""
    answer_bytes: int = 128
    method: str = "GET"
    body_bytes: int = 0
    connections: int = 32
    reconnect: bool = False
    """Each request on a connection of its own."""
    streams: int = 1
    """Requests under way at once on each connection of HTTP/2."""
    rate: int = 0
    """Requests per second, spread over all connections; 0 is as many as the proxy answers."""
    beside: str = ""
    """The workload to take turns with, so that the two can be compared as two proxies are: within a round."""
    quick: bool = False
    """Part of the quick form."""

    def paths(self) -> list[str]:
        """The paths to request in turn."""
        return [prefix.rstrip("/") + self.path for prefix in self.site.prefixes()]

    @property
    def content(self) -> bytes:
        """What each request brings."""
        return self._message(self.body_bytes)

    @property
    def answer(self) -> bytes:
        """What each is answered with."""
        return self._message(self.answer_bytes)

    def _message(self, size: int) -> bytes:
        # Of gRPC: not compressed, its length in four bytes.
        return (b"\0" + size.to_bytes(4, "big") if self.site.grpc else b"") + b"x" * size


WORKLOADS = (
    Workload("get-128b", "GET 128 B", quick=True),
    Workload("get-10kb", "GET 10 KB", path="/bytes/10240", answer_bytes=10240, quick=True),
    Workload("post-1kb", "POST 1 KB", method="POST", body_bytes=1024, quick=True),
    Workload("get-1mb", "GET 1 MB", path="/bytes/1048576", answer_bytes=1048576, connections=8),
    Workload("new-connection", "GET 128 B, a new connection per request", reconnect=True),
    Workload("routes-1000", "GET 128 B, 1,000 routes", site=Site(routes=1000), beside="get-128b", quick=True),
    Workload(
        "idle-1000",
        "1,000 mostly idle connections, 2,000 requests/s",
        site=Site(fresh=True),
        connections=1000,
        rate=2000,
    ),
    Workload("tls-keepalive", "GET 128 B over TLS, keep-alive", site=Site(tls=True)),
)


def select(
    names: Iterable[str] = (), *, quick: bool = False, table: Sequence[Workload] = WORKLOADS
) -> tuple[Workload, ...]:
    """The named workloads in the order of the *table*; without names, all of them or those of the quick form.

    Raises ``ValueError`` for a name that is not in the table.
    """
    wanted = set(names)
    unknown = wanted - {workload.name for workload in table}
    if unknown:
        known = ", ".join(workload.name for workload in table)
        raise ValueError(f"no such workload: {', '.join(sorted(unknown))}; there are: {known}")
    if wanted:
        return tuple(workload for workload in table if workload.name in wanted)
    return tuple(workload for workload in table if workload.quick or not quick)


Lane = tuple[Workload, ...]
"""Workloads that take turns, proxy by proxy."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lanes that are measured, one after the other, on the same running proxies."""

    lanes: tuple[Lane, ...]

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Of all lanes."""
        return tuple(workload for lane in self.lanes for workload in lane)

    @property
    def sites(self) -> tuple[Site, ...]:
        """What is to be configured: each proxy runs once for each of these."""
        return tuple(dict.fromkeys(workload.site for workload in self.workloads))


def batches(workloads: Iterable[Workload]) -> list[Batch]:
    """Arrange *workloads*, in the order given, so that proxies are started as rarely as possible."""
    lanes: dict[str, Lane] = {}
    for workload in workloads:
        leader = workload.beside if workload.beside in lanes else workload.name
        lanes[leader] = (*lanes.get(leader, ()), workload)
    found: dict[tuple[Site, str], tuple[Lane, ...]] = {}
    for leader, lane in lanes.items():
        site = lane[0].site
        key = (site, leader if site.fresh else "")
        found[key] = (*found.get(key, ()), lane)
    return [Batch(members) for members in found.values()]
