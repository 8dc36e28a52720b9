"""What ``rateLimit`` middlewares ask for and do not get."""

from __future__ import annotations

from collections.abc import Iterator

from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding
from vrata.model.middleware.rate_limit import DEFAULT_RATE
from vrata.wire.http1.interpreted_head import HIDDEN


def rate_limit_warnings(entities: Entities) -> Iterator[Finding]:
    """Settings without effect, headers that nobody sees, and claims that nobody has verified where the limit acts."""
    chains = list(_chains(entities))
    verifiers = {middleware["id"] for middleware in entities.of("middleware") if middleware["type"] == "jwt"}
    for middleware in entities.of("middleware"):
        if middleware["type"] != "rateLimit":
            continue
        settings = middleware["rateLimit"]
        if settings.get("requestsPerSecond", DEFAULT_RATE) <= 0:
            reason = f"means the default of {DEFAULT_RATE:g}; to let nobody pass take a direct response or inlineAuthz"
            yield finding("middleware", middleware, "rateLimit.requestsPerSecond", reason)
        if "onStoreFailure" in settings and settings.get("store") != "redis":
            yield finding("middleware", middleware, "rateLimit.onStoreFailure", 'has no effect unless store is "redis"')
        header = settings.get("key", {}).get("header", "")
        if header.lower().encode("ascii", "replace") in HIDDEN:
            reason = f"{header} is no header that keys see, so requests are limited by their client's address"
            if header.lower() == "host":
                reason += "; the host is the cel key request.host"
            yield finding("middleware", middleware, "rateLimit.key.header", reason)
        if settings.get("key", {}).get("claim"):
            for route, chain in chains:
                if middleware["id"] in chain and verifiers.isdisjoint(chain[: chain.index(middleware["id"])]):
                    who = f'route "{route["name"]}" ({route["id"]})'
                    reason = f"{who} has no jwt middleware before it, so requests are limited by their client's address"
                    yield finding("middleware", middleware, "rateLimit.key.claim", reason)
                    break


def _chains(entities: Entities) -> Iterator[tuple[Document, list[str]]]:
    """Each route with the middlewares that it runs, outermost first, once for every group that it is in."""
    routes = {route["id"]: route for route in entities.of("route")}
    alone = set(routes)
    for group in entities.of("group"):
        for route_id in group.get("routeIds", ()):
            route = routes.get(route_id)
            if route is not None:
                alone.discard(route_id)
                yield route, [*group.get("middlewareIds", ()), *route.get("middlewareIds", ())]
    for route_id in sorted(alone):
        yield routes[route_id], list(routes[route_id].get("middlewareIds", ()))
