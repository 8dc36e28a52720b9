"""How the table of match cases is written.

A section is one configuration and rows, each a request and the route that takes it::

    section("4.3", "a prefix covers whole segments", {"api": {"pathPrefix": "/api"}},
        ("/api/users", "api"),
        ("/apikeys", NONE))

Routes are given by ID with their match, groups by ID with their members. A request is its target, or :func:`at` with
more of it. ``group/route`` is a route reached through a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.brute_force_router import Configuration, WireRequest
from tests.support.gateway import route

NONE = "none"

Request = str | WireRequest


@dataclass(frozen=True)
class Section:
    rule: str
    """The section of the routing specification."""
    title: str
    configuration: Configuration
    rows: tuple[tuple[WireRequest, str], ...]


@dataclass(frozen=True)
class Case:
    """One row, with everything that it needs."""

    name: str
    configuration: Configuration
    request: WireRequest
    taken: str


def section(
    rule: str,
    title: str,
    routes: Mapping[str, dict[str, Any]],
    *rows: tuple[Request, str],
    groups: Mapping[str, dict[str, Any]] | None = None,
) -> Section:
    configuration = Configuration(
        tuple(route(name, match, directResponse={"status": 200, "body": name}) for name, match in routes.items()),
        tuple({"id": name, "name": name, **members} for name, members in (groups or {}).items()),
    )
    return Section(rule, title, configuration, tuple((wire(request), taken) for request, taken in rows))


def at(
    target: str = "/",
    *,
    method: str = "GET",
    host: str = "proxy.test",
    headers: tuple[tuple[str, str], ...] = (),
    **fields: str,
) -> WireRequest:
    """A request; *fields* are header fields, with an underscore for every hyphen."""
    named = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    return WireRequest(target, method, host, (*headers, *named))


def wire(request: Request) -> WireRequest:
    return WireRequest(request) if isinstance(request, str) else request


def cases(sections: list[Section]) -> list[Case]:
    return [
        Case(f"{each.rule} {each.title}: {at} {request.brief} -> {taken}", each.configuration, request, taken)
        for each in sections
        for at, (request, taken) in enumerate(each.rows, 1)
    ]
