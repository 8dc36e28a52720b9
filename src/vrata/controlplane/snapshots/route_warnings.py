"""Routes that no request ever comes to, because another one with the same match is asked first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vrata.controlplane import json_text
from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding


def route_warnings(entities: Entities) -> Iterator[Finding]:
    """Routes hidden by one with an equal match, among those without a group and within each group.

    Only equal matches are compared: whether one condition covers another cannot be decided for expressions.
    """
    routes = {route["id"]: route for route in entities.of("route")}
    alone = set(routes)
    for group in entities.of("group"):
        present = [route_id for route_id in dict.fromkeys(group.get("routeIds", ())) if route_id in routes]
        alone.difference_update(present)
        where = f'in group "{group["name"]}" ({group["id"]})'
        yield from _hidden((routes[route_id] for route_id in present), f"comes first {where}")
    yield from _hidden((routes[route_id] for route_id in sorted(alone)), "wins by its ID")


def _hidden(routes: Iterable[Document], why: str) -> Iterator[Finding]:
    """The routes that have an equal match with one before them, which *why* explains."""
    first: dict[bytes, Document] = {}
    for route in routes:
        before = first.setdefault(_conditions(route), route)
        if before is not route:
            who = f'route "{before["name"]}" ({before["id"]})'
            yield finding("route", route, "match", f"no request comes here: {who} has the same match and {why}")


def _conditions(route: Document) -> bytes:
    """The same for routes whose conditions are the same, however they are written."""
    match = {member: value for member, value in route.get("match", {}).items() if value}
    if match.get("pathPrefix") == "/":
        del match["pathPrefix"]
    for member in ("methods", "hostnames"):
        if member in match:
            match[member] = sorted(set(match[member]))
    return json_text.encode(dict(sorted(match.items())))
