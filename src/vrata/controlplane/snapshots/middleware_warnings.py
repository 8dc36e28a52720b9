"""Settings of middlewares that nothing can come of: origins that no browser sends, overrides of what does not run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?")
_OVERRIDDEN: Final = {"headers": "headers", "extProc": "extProc", "python": "python"}
"""Members of an override that hold settings, with the type of middleware whose settings they are."""


def middleware_warnings(entities: Entities) -> Iterator[Finding]:
    """Everything of that kind in a snapshot."""
    for middleware in entities.of("middleware"):
        if middleware["type"] == "cors":
            yield from _of_origins(middleware)
    types = {middleware["id"]: middleware["type"] for middleware in entities.of("middleware")}
    routes = {route["id"]: route for route in entities.of("route")}
    run_by_groups: dict[str, set[str]] = {}
    for group in entities.of("group"):
        members = [routes[route_id] for route_id in group.get("routeIds", ()) if route_id in routes]
        run = set(group.get("middlewareIds", ()))
        for member in members:
            run_by_groups.setdefault(member["id"], set()).update(run)
        run.update(*(member.get("middlewareIds", ()) for member in members))
        yield from _of_overrides("group", group, types, run)
    for route in routes.values():
        run = {*route.get("middlewareIds", ()), *run_by_groups.get(route["id"], ())}
        yield from _of_overrides("route", route, types, run)


def _of_origins(middleware: Document) -> Iterator[Finding]:
    for index, origin in enumerate(middleware["cors"].get("allowOrigins", ())):
        value = origin["value"]
        # A page without an origin of its own, such as one from a file, sends `null`.
        if origin.get("regex") or value in ("*", "null") or _ORIGIN.fullmatch(value):
            continue
        reason = "is no origin as browsers write it: scheme://host, with a port if need be, in lower case, and no path"
        yield finding("middleware", middleware, f"cors.allowOrigins[{index}].value", reason)


def _of_overrides(kind: str, document: Document, types: dict[str, str], run: set[str]) -> Iterator[Finding]:
    """Overrides of *document*, where the middlewares *run* act."""
    for middleware_id, override in document.get("middlewareOverrides", {}).items():
        if middleware_id not in types:
            continue  # is told of as a reference to what is not there
        path = f"middlewareOverrides.{middleware_id}"
        if middleware_id not in run:
            yield finding(kind, document, path, f"has no effect: this {kind} does not run that middleware")
            continue
        for member, wanted in _OVERRIDDEN.items():
            if member in override and types[middleware_id] != wanted:
                reason = f"has no effect on a middleware of type {types[middleware_id]}"
                yield finding(kind, document, f"{path}.{member}", reason)
